/** From drafts to answers: store them, then say for each where it stands and promise its seal. */
import { z } from 'zod';
import type { PromiseTerms } from '../../protocol/promise.ts';
import type { KeyCaller } from '../access/caller.ts';
import { Problem } from '../http/problems.ts';
import { count, dateTime, hex, unixSeconds } from '../http/shapes.ts';
import type { Accepted } from './accept.ts';
import type { Batcher, BatchResult } from './batcher.ts';
import type { LogIdentities, LogIdentity } from './log-identity.ts';
import type { PromiseSigner } from './promise.ts';
import type { RecordDraft } from './record.ts';
import { leafLevel, levelShape, sealLevels, type Level } from './seals.ts';
import { sealTerms } from './stored-record.ts';
import type { TenantPools } from '../http/tenant-pools.ts';

/** The answer for a record that stands in the log. */
export const recordAnswer = z
  .object({
    id: z.string(),
    status: z.enum(['accepted', 'duplicate']).describe('duplicate: it stood there already, with the same bytes'),
    level: levelShape,
    leafIndex: count,
    leafHash: hex(32),
    receivedAt: dateTime,
    sealBy: unixSeconds.describe('Unix seconds by which a seal covers it'),
    promise: z
      .object({ origin: z.string(), leafIndex: count, leafHash: hex(32), sealBy: unixSeconds, signature: hex(64) })
      .meta({ id: 'Promise', description: 'Signed with this API’s Ed25519 key: an unkept promise is provable.' }),
  })
  .meta({ id: 'RecordAnswer' });

export type RecordAnswer = z.infer<typeof recordAnswer>;

export interface IngestDependencies {
  pools: TenantPools;
  batcher: Batcher;
  logIdentity: LogIdentities;
  promises: PromiseSigner;
}

export function createIngest({ pools, batcher, logIdentity, promises }: IngestDependencies) {
  /**
   * Stores records of one caller; answers after COMMIT.
   * @returns for each draft, in order, its answer, or the Problem (409, 422) why it is not stored
   * @throws Problem 503 when nothing can be said of any of them
   */
  return async function ingest(caller: KeyCaller, drafts: readonly RecordDraft[]): Promise<(RecordAnswer | Problem)[]> {
    // Before the write: once it is committed, nothing may stand between it and its answer but the duplicates' levels.
    const log = await pools.use(caller, (pool) => logIdentity.current(pool, caller.tenant, caller.logOrdinal));
    const results = await batcher.submit(caller, drafts);
    const duplicates = results.filter((result) => 'outcome' in result && result.outcome === 'duplicate') as Accepted[];
    const levels = await levelsOf(caller, log, duplicates);

    const standing = results.filter(stands).map(({ leafIndex, leafHash, receivedAt }): PromiseTerms => {
      const { sealBy } = sealTerms(receivedAt, log.periodSeconds);
      return { origin: log.origin, leafIndex, leafHash, sealBy };
    });
    const signed = await promises.sign(standing);
    let next = 0;
    return results.map((result, index) => {
      if (!stands(result)) return refusal(result);
      const { outcome: status, leafIndex, leafHash, receivedAt } = result;
      const promise = signed[next++]!;
      return {
        id: drafts[index]!.id,
        status,
        level: (status === 'duplicate' && levels.get(sealTerms(receivedAt, log.periodSeconds).period)) || 'accepted',
        leafIndex,
        leafHash,
        receivedAt: new Date(receivedAt).toISOString(),
        sealBy: promise.sealBy,
        promise,
      };
    });
  };

  /** The levels of records that stood already, by their period. */
  async function levelsOf(
    caller: KeyCaller,
    log: LogIdentity,
    records: readonly Accepted[],
  ): Promise<Map<number, Level>> {
    if (records.length === 0) return new Map();
    const periods = new Set(records.map(({ receivedAt }) => sealTerms(receivedAt, log.periodSeconds).period));
    const seals = await pools.use(caller, (pool) => sealLevels(pool, log.schema, [...periods]));
    return new Map([...seals].map(([period, level]) => [period, leafLevel({ level })]));
  }
}

type Standing = Accepted & { outcome: RecordAnswer['status'] };

/** Whether the record stands in the log, by this call or an earlier one. */
function stands(result: BatchResult): result is Standing {
  return 'outcome' in result && (result.outcome === 'accepted' || result.outcome === 'duplicate');
}

function refusal(result: Exclude<BatchResult, Standing>): Problem {
  if ('refused' in result) {
    return new Problem('invalid-record', 'The database refused this record.', { cause: result.refused });
  }
  if (result.outcome === 'erased') {
    return new Problem('erased', 'The record with this id was erased; its id stays taken.');
  }
  return new Problem('id-conflict', 'A record with this id and other bytes stands in the log; it is unchanged.');
}

export type Ingest = ReturnType<typeof createIngest>;
