/**
 * Who asks for what its tenant does not have leaves a trace in the tenant's audit trail: perhaps it is another tenant's.
 * Nobody here may know whether it is: the answer is the same 404, and the trace says what was asked for and by whom.
 */
import type { Logger } from 'pino';
import { tenantSchema } from '../../sql/login.ts';
import type { Caller } from '../access/caller.ts';
import { errorFacts } from '../http/log.ts';
import { Problem } from '../http/problems.ts';
import type { TenantPools } from '../http/tenant-pools.ts';

/** One event in this time for each caller and kind of thing; how often it came again is in the next one. */
const WINDOW_MILLISECONDS = 60_000;

/** Callers that are remembered; the ones that asked first make room. */
const CALLERS = 10_000;

type Kind = 'record' | 'key' | 'wallet' | 'log';

interface Counted {
  caller: Caller;
  askedFor: string;
  until: number;
  /** Since the last event. */
  times: number;
}

export interface Refusals {
  /**
   * The 404 for a thing that the caller's tenant does not have. The first of a minute stands in the audit trail before
   * this resolves.
   * @throws Problem unavailable when it cannot be written
   */
  notFound(caller: Caller, kind: Kind, id: string): Promise<Problem>;
  /** Writes down what was only counted so far, of windows that are over; of all of them when `all` is given. */
  flush(all?: boolean): Promise<void>;
}

const DETAIL: Record<Kind, string> = {
  record: 'This log has no record with that id.',
  key: 'This tenant has no key with that id.',
  wallet: 'No wallet is linked to that actor.',
  log: 'There is no such log here, or it is not public.',
};

export interface RefusalsDependencies {
  pools: TenantPools;
  log: Logger;
  /** Unix milliseconds. */
  now?: () => number;
}

export function createRefusals({ pools, log, now = Date.now }: RefusalsDependencies): Refusals {
  const counted = new Map<string, Counted>();

  function write({ caller, askedFor, times }: Counted): Promise<unknown> {
    return pools.use(caller, (pool) =>
      pool.query(`SELECT ${tenantSchema(caller.tenant)}.note_refusal($1, $2, $3)`, [askedFor, caller.by, times]),
    );
  }

  /** What was counted and cannot be written is told to the operator. */
  async function writeLater(entry: Counted): Promise<void> {
    if (entry.times === 0) return;
    try {
      await write(entry);
    } catch (error) {
      log.warn({ tenant: entry.caller.tenant, times: entry.times, ...errorFacts(error) }, 'refusals.not-written');
    }
  }

  return {
    async notFound(caller, kind, id) {
      const name = `${caller.tenant} ${caller.by} ${kind}`;
      const known = counted.get(name);
      if (known !== undefined && known.until > now()) {
        known.times++;
      } else {
        const first = { caller, askedFor: `${kind} ${id}`, until: now() + WINDOW_MILLISECONDS, times: 0 };
        counted.delete(name);
        counted.set(name, first);
        await write({ ...first, times: 1 + (known?.times ?? 0) });
      }
      for (const [oldest, entry] of counted) {
        if (counted.size <= CALLERS) break;
        counted.delete(oldest);
        void writeLater(entry);
      }
      return new Problem('not-found', DETAIL[kind]);
    },
    async flush(all = false) {
      for (const [name, entry] of counted) {
        if (!all && entry.until > now()) continue;
        counted.delete(name);
        await writeLater(entry);
      }
    },
  };
}
