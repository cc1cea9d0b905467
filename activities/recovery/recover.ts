/**
 * An operator's recovery: compare first, then do one thing, and only what the comparison allows. Every action is safe to repeat.
 */
import type { Pool } from 'pg';
import type { EndReason } from '../../protocol/ending.ts';
import { failureType } from '../failures.ts';
import { compareLog, type CompareDependencies, type Comparison } from './compare.ts';
import type { CurrentLog } from './directory.ts';
import { endByOperator, type Ended, type EndDependencies } from './end.ts';
import { createDoors, freezeByOperator, unfreeze } from './freeze.ts';
import { rebuildJournal, type Rebuilt, type RebuildDependencies } from './rebuild.ts';

export interface RecoveryDependencies extends CompareDependencies, EndDependencies, RebuildDependencies {
  journalPool: Pool;
  /** The name that the processes are configured for. */
  incarnation: string;
}

export interface Standing {
  /** Whether each database was opened under the configured name. */
  open: { product: boolean; journal: boolean };
  logs: Comparison[];
}

/** What was asked for cannot be done as things stand; the message says why, for the operator. */
export class Refused extends Error {
  override name = 'Refused';
}

export type Recovery = ReturnType<typeof createRecovery>;

export function createRecovery(deps: RecoveryDependencies) {
  const { pool, journalPool, directory, incarnation } = deps;
  const doors = createDoors(pool, journalPool, incarnation);

  async function logOf(origin: string): Promise<CurrentLog> {
    const logs = await directory.current();
    const log = logs.find((candidate) => candidate.origin === origin);
    if (log !== undefined) return log;
    const ended = (await directory.ended()).some((candidate) => candidate.origin === origin);
    throw new Refused(ended ? `${origin} has ended already` : `there is no log ${origin}`);
  }

  return {
    /** Compares every log, or one of them with every record of it. Changes nothing. */
    async compare(origin: string | null = null): Promise<Standing> {
      const logs = origin === null ? await directory.current() : [await logOf(origin)];
      const compared: Comparison[] = [];
      for (const log of logs) {
        compared.push(await compareLog(deps, log, origin !== null || log.frozenReason !== null));
      }
      return { open: await doors.standing(), logs: compared };
    },

    /** Rebuilds the journal. It stays closed until it is declared. */
    async rebuild(): Promise<Rebuilt[]> {
      return rebuildJournal(deps);
    },

    /**
     * Opens the databases under the configured name. A log that differs is frozen, so that what is opened is what agrees.
     * @returns the logs that were frozen now
     * @throws Refused while the journal does not know what is on chain
     */
    async declare(): Promise<Comparison[]> {
      const frozen: Comparison[] = [];
      const logs: Comparison[] = [];
      for (const log of await directory.current()) logs.push(await compareLog(deps, log, log.frozenReason !== null));
      const behind = logs.find((compared) => compared.journalBehind);
      if (behind !== undefined) {
        throw new Refused(`the journal does not know seals of ${behind.log.origin}: rebuild it first (--rebuild)`);
      }
      for (const compared of logs) {
        const [difference] = compared.differences;
        if (difference === undefined || compared.log.frozenReason !== null) continue;
        await freezeByOperator(pool, compared.log.tenantId, difference.reason);
        frozen.push(compared);
      }
      await doors.open();
      return frozen;
    },

    /** Takes a log's freeze away. @throws Refused when something differs, or it is not frozen */
    async resume(origin: string): Promise<Comparison> {
      const compared = await compareLog(deps, await logOf(origin), true);
      if (compared.ended)
        throw new Refused(`the end of ${origin} is journaled: the signer signs nothing for it any more`);
      if (compared.differences.length > 0)
        throw new Refused(`${origin} still differs; see kiff recover --log ${origin}`);
      if (!(await unfreeze(pool, compared.log.tenantId))) throw new Refused(`${origin} is not frozen`);
      return compared;
    },

    /**
     * Ends a log and begins the tenant's next one.
     * @param reason that of its freeze unless given
     * @throws Refused when it has ended already, or has neither freeze nor reason
     */
    async end(origin: string, reason: EndReason | null): Promise<Ended> {
      const log = await logOf(origin);
      const because = reason ?? (log.frozenReason as EndReason | null);
      if (because === null) throw new Refused(`${origin} is not frozen: say --reason why it ends`);
      let compared = await compareLog(deps, log, false);
      if (compared.journalBehind) throw new Refused(`the journal does not know seals of ${origin}: rebuild it first`);
      // It may have been sealed until now. From here on nothing new of it is signed or sent.
      await freezeByOperator(pool, log.tenantId, because);
      for (;;) {
        const { lastGood } = compared;
        try {
          return await endByOperator(deps, compared, because);
        } catch (error) {
          if (failureType(error) !== 'end-not-ordered') throw error;
          // What was on its way to the chain has become final since, and is the last good seal now.
          compared = await compareLog(deps, log, false);
          if (compared.lastGood.seq === lastGood.seq) throw error;
        }
      }
    },
  };
}
