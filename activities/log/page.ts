/**
 * A page of leaves for hashing: all entries in one value and all stored leaf hashes in another, so that a page costs the driver
 * two decodings and not three for every leaf (docs/performance.md).
 */
import type { Pool } from 'pg';
import { HASH_SIZE, type Sha256 } from '../../protocol/hash.ts';
import { equalBytes } from '../../protocol/hex.ts';
import { failure } from '../failures.ts';

/**
 * Leaf hashes of [from, to), recomputed from the entries and compared with what was stored: 32 bytes each, one behind the other.
 * @throws failure record-missing, record-altered
 */
export async function readLeafHashes(
  pool: Pool,
  schema: string,
  from: number,
  to: number,
  sha256: Sha256,
): Promise<Uint8Array> {
  // Before each entry its length and the prefix of a leaf's hash (RFC 9162 section 2.1.1): what is hashed lies there as it is.
  // The limit says how few they are: without it the planner expects a share of the log, which for a large one that was not
  // analysed yet means parallel workers and a sort for every page.
  const { rows } = await pool.query<{ leaves: number; entries: Buffer; hashes: Buffer }>(
    `SELECT count(*) AS leaves,
            coalesce(string_agg(int4send(octet_length(entry)) || '\\x00'::bytea || entry, '' ORDER BY leaf_index), '') AS entries,
            coalesce(string_agg(leaf_hash, '' ORDER BY leaf_index), '') AS hashes
       FROM (SELECT leaf_index, entry, leaf_hash FROM ${schema}.records
              WHERE leaf_index >= $1 ORDER BY leaf_index LIMIT $2::bigint - $1::bigint) page
      WHERE leaf_index < $2`,
    [from, to],
  );
  const { leaves, entries, hashes: stored } = rows[0]!;
  if (leaves !== to - from) throw failure('record-missing', { index: await firstMissing(pool, schema, from, to) });

  const hashes = new Uint8Array(leaves * HASH_SIZE);
  let at = 0;
  for (let leaf = 0; leaf < leaves; leaf++) {
    const start = at + 4;
    at = start + 1 + entries.readInt32BE(at);
    hashes.set(sha256(entries.subarray(start, at)), leaf * HASH_SIZE);
  }
  if (!equalBytes(hashes, stored)) throw failure('record-altered', { index: from + firstDifference(hashes, stored) });
  return hashes;
}

/** The first leaf whose stored hash is another. A stored hash of another length is itself the first that differs. */
function firstDifference(hashes: Uint8Array, stored: Uint8Array): number {
  const differs = hashes.findIndex((byte, at) => byte !== stored[at]);
  return differs === -1 ? hashes.length / HASH_SIZE - 1 : Math.floor(differs / HASH_SIZE);
}

async function firstMissing(pool: Pool, schema: string, from: number, to: number): Promise<number> {
  const { rows } = await pool.query<{ index: number }>(
    `SELECT g AS index FROM generate_series($1::bigint, $2::bigint - 1) AS g
      WHERE NOT EXISTS (SELECT FROM ${schema}.records r WHERE r.leaf_index = g) ORDER BY g LIMIT 1`,
    [from, to],
  );
  return rows[0]?.index ?? from;
}
