/** Appends one batch to a tenant's log: one call of the database function `accept` (design section 4). */
import type { Queryable } from '../http/tenant-pools.ts';
import pg from 'pg';
import type { Hex } from '../../protocol/hex.ts';
import { tenantSchema } from '../../sql/login.ts';
import { unavailable } from '../http/problems.ts';
import { byteaArray, integerArray, textArray } from '../../sql/binary-array.ts';
import type { RecordDraft } from './record.ts';

/** What became of one record. `erased` and `conflict` leave the log as it was. */
export interface Accepted {
  outcome: 'accepted' | 'duplicate' | 'conflict' | 'erased';
  leafIndex: number;
  leafHash: Hex;
  /** Unix milliseconds. */
  receivedAt: number;
}

interface AcceptRow {
  outcome: Accepted['outcome'];
  leaf_index: number;
  leaf_hash: string;
  received_at: number;
}

/**
 * Answers one result per record, in order, after COMMIT (`synchronous_commit` is on).
 * @param drafts at most 1,000
 * @throws Problem unavailable when the database's clock is behind the log's head; a pg error as it came (tenant-pools.ts
 *   translates those that say that the database is away: whether the batch was committed is unknown then)
 */
export async function acceptBatch(
  db: Queryable,
  tenant: string,
  keyId: string,
  drafts: readonly RecordDraft[],
): Promise<Accepted[]> {
  try {
    const { rows } = await db.query<AcceptRow>({
      name: 'accept',
      text: `SELECT outcome, leaf_index, encode(leaf_hash, 'hex') AS leaf_hash,
                    (extract(epoch FROM received_at) * 1000)::bigint AS received_at
               FROM ${tenantSchema(tenant)}.accept($1::text[], $2::bytea[], $3::integer[], $4::bytea[], $5::bytea[], $6)
              ORDER BY ord`,
      values: [
        textArray(drafts.map((draft) => draft.id)),
        byteaArray(drafts.map((draft) => draft.body)),
        integerArray(drafts.map((draft) => draft.recordOffset)),
        byteaArray(drafts.map((draft) => draft.salt)),
        byteaArray(drafts.map((draft) => draft.commitment)),
        keyId,
      ],
    });
    if (rows.length !== drafts.length) throw new Error(`accept answered ${rows.length} of ${drafts.length} records`);
    return rows.map((row) => ({
      outcome: row.outcome,
      leafIndex: row.leaf_index,
      leafHash: `0x${row.leaf_hash}`,
      receivedAt: row.received_at,
    }));
  } catch (error) {
    // The log's head is ahead of the clock: refusing is right until the clock has caught up.
    if (error instanceof pg.DatabaseError && error.code === 'KF002') throw unavailable(error);
    throw error;
  }
}

/** Whether the batch was refused because of what is in it (22 data, 23 constraint, KF001 shape), not because of us. */
export function isRefusedForData(error: unknown): boolean {
  return error instanceof pg.DatabaseError && /^(?:22|23|54|KF001)/.test(error.code ?? '');
}
