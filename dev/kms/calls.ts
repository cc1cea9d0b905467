import type { Target } from './faults.ts';

/** How often one caller had one outcome with one action on one key. `outcome` is `ok` or the error's name. */
export interface CallCount extends Target {
  /** The caller's ARN; null when the request was not authenticated. */
  readonly caller: string | null;
  readonly outcome: string;
  readonly count: number;
}

export interface CallCounter {
  record(call: Omit<CallCount, 'count'>): void;
  list(): CallCount[];
  reset(): void;
}

/** Counts since start or the last reset; never persisted. */
export function createCallCounter(): CallCounter {
  const counts = new Map<string, CallCount>();
  return {
    record: ({ action, keyId, caller, outcome }) => {
      const name = JSON.stringify([action, keyId, caller, outcome]);
      counts.set(name, { action, keyId, caller, outcome, count: (counts.get(name)?.count ?? 0) + 1 });
    },
    list: () => [...counts.values()],
    reset: () => counts.clear(),
  };
}
