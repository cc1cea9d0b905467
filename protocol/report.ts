/** What a verification answers, whatever was verified: its checks in order, and what they prove. */
import { CheckFailed, type Check, type Outcome } from './checks.ts';

/** `ok`: every check held or was waived. `rpcUnreachable`: some check could not run because the RPC did not answer. */
export interface Report<Name extends string> {
  readonly ok: boolean;
  readonly checks: readonly Check<Name>[];
  readonly proved: readonly string[];
  readonly notProved: readonly string[];
  readonly rpcUnreachable: boolean;
}

/** Whether checks let pass what they are about. */
export function passes(checks: readonly Check<string>[]): boolean {
  return checks.every(({ status }) => status === 'held' || status === 'waived');
}

/**
 * The report on something that cannot be read: its first check, the format, failed, and no other was run.
 * @param what with its article, as in "what was given is not a receipt"
 */
export function unreadReport<Name extends string>(
  [format, ...rest]: readonly [Name, ...Name[]],
  what: string,
  problem: string,
): Report<Name> {
  return {
    ok: false,
    checks: [
      { name: format, status: 'failed', detail: problem },
      ...rest.map((name) => ({ name, status: 'not-run', detail: 'it could not be read' }) as const),
    ],
    proved: [],
    notProved: [`Anything: what was given is not ${what}.`],
    rpcUnreachable: false,
  };
}

/** Runs a check that needs no chain, and adds its outcome. What it throws besides CheckFailed is a bug and goes on. */
export function runCheck<Name extends string>(checks: Check<Name>[], name: Name, check: () => Outcome): void {
  let outcome: Outcome;
  try {
    outcome = check();
  } catch (error) {
    if (!(error instanceof CheckFailed)) throw error;
    outcome = { status: 'failed', detail: error.message };
  }
  checks.push({ name, ...outcome });
}
