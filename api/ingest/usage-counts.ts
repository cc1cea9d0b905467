/** What of a tenant's usage is counted here, in memory, and handed in every so often: approximate, and said to be. */
import type { Logger } from 'pino';
import type { Caller } from '../access/caller.ts';
import { errorFacts } from '../http/log.ts';
import type { TenantLogin, TenantPools } from '../http/tenant-pools.ts';

const HOUR_MILLISECONDS = 3_600_000;

interface Counts {
  owner: TenantLogin;
  /** Unix milliseconds of its hour's beginning. */
  hour: number;
  rejected: number;
  receipts: number;
}

export interface UsageCounts {
  /** A request of a known caller was answered with a 4xx. */
  rejected(caller: Caller): void;
  receiptRead(caller: Caller): void;
  /** Hands in what was counted since the last time; what cannot be handed in now is tried again. */
  flush(): Promise<void>;
}

export interface UsageCountsDependencies {
  pools: TenantPools;
  log: Logger;
  /** Unix milliseconds. */
  now?: () => number;
}

export function createUsageCounts({ pools, log, now = Date.now }: UsageCountsDependencies): UsageCounts {
  let counted = new Map<string, Counts>();

  function countsOf({ tenant, loginVersion }: TenantLogin, hour: number): Counts {
    const name = `${tenant} ${hour}`;
    const counts = counted.get(name) ?? { owner: { tenant, loginVersion }, hour, rejected: 0, receipts: 0 };
    counts.owner.loginVersion = loginVersion;
    counted.set(name, counts);
    return counts;
  }
  const current = (caller: Caller): Counts => countsOf(caller, now() - (now() % HOUR_MILLISECONDS));

  async function handIn({ owner, hour, rejected, receipts }: Counts): Promise<void> {
    try {
      await pools.use(owner, (pool) =>
        pool.query('SELECT kiff.note_usage($1, $2, $3)', [new Date(hour), rejected, receipts]),
      );
    } catch (error) {
      const kept = countsOf(owner, hour);
      kept.rejected += rejected;
      kept.receipts += receipts;
      log.warn({ tenant: owner.tenant, ...errorFacts(error) }, 'usage.not-handed-in');
    }
  }

  return {
    rejected: (caller) => void current(caller).rejected++,
    receiptRead: (caller) => void current(caller).receipts++,
    async flush() {
      const due = counted;
      counted = new Map();
      // One after the other: it is in no hurry, and a thousand tenants must not take all connections at once.
      for (const counts of due.values()) await handIn(counts);
    },
  };
}
