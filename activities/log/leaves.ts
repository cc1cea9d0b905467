/** Leaves as they are stored, read page by page in short statements and held against everything that is stored twice. */
import type { Pool } from 'pg';
import { hashLeaf, type Sha256 } from '../../protocol/hash.ts';
import { equalBytes } from '../../protocol/hex.ts';
import { failure } from '../failures.ts';

/** Leaves of one page: about 3 MiB of entries, well under a second. */
export const LEAF_PAGE = 8_192;

export interface StoredLeaf {
  /** Hash of the entry, computed here. */
  hash: Uint8Array;
  /** Unix milliseconds. */
  receivedAt: number;
}

/**
 * Leaves [from, to) with their hashes computed anew. Gaps, entries that do not hash to their leaf, and columns beside the
 * entry that say something else than it are found by their index.
 * @throws failure record-missing, record-altered
 */
export async function readLeaves(
  pool: Pool,
  schema: string,
  from: number,
  to: number,
  sha256: Sha256,
): Promise<StoredLeaf[]> {
  const { rows } = await pool.query<{
    leaf_index: number;
    entry: Buffer;
    leaf_hash: Buffer;
    received_at: number | null;
    fits: boolean;
  }>(
    `SELECT r.leaf_index, r.entry, r.leaf_hash,
            CASE WHEN isfinite(r.received_at) THEN (extract(epoch FROM r.received_at) * 1000)::bigint END AS received_at,
            coalesce(substring(r.entry FROM 1 FOR octet_length(start.bytes)) = start.bytes, false) AS fits
       FROM ${schema}.records r,
            LATERAL (SELECT convert_to('{"v":1,"id":"' || r.id || '","received_at":"' ||
              to_char(r.received_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') || '","key":"', 'UTF8') AS bytes) start
      WHERE r.leaf_index >= $1 AND r.leaf_index < $2 ORDER BY r.leaf_index`,
    [from, to],
  );
  const leaves: StoredLeaf[] = [];
  for (let index = from; index < to; index++) {
    const row = rows[index - from];
    if (row?.leaf_index !== index) throw failure('record-missing', { index });
    const hash = hashLeaf(row.entry, sha256);
    if (row.received_at === null || !row.fits || !equalBytes(hash, row.leaf_hash))
      throw failure('record-altered', { index });
    leaves.push({ hash, receivedAt: row.received_at });
  }
  return leaves;
}
