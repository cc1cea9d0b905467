/**
 * Merkle-hash: from collected periods to roots. Every leaf since the last sealed size is read again and hashed again, so
 * a record that was altered or removed after it was accepted is found here, by its index, before anything is signed.
 */
import type { Pool } from 'pg';
import { extendTiles, type TreeExtension } from '../../protocol/extend.ts';
import { parseEntry } from '../../protocol/entry.ts';
import { hashLeaf } from '../../protocol/hash.ts';
import { equalBytes } from '../../protocol/hex.ts';
import { unixMillis } from '../../protocol/period.ts';
import { TileSet } from '../../protocol/tile.ts';
import { failure } from '../failures.ts';
import { tenantSchema } from '../../sql/login.ts';
import { knownEdge, sha256 } from './audit.ts';
import { writeTiles } from './tiles.ts';

/** Leaves read and hashed between two heartbeats: about 3 MiB of entries, well under a second. */
const CHUNK = 8_192;

interface SealRow {
  seq: number;
  tree_size: number;
  root: Buffer | null;
}

interface CollectedRow extends SealRow {
  /** Unix seconds: where the period ends. */
  period_end: number;
}

/**
 * Computes and stores the root of every collected seal up to `throughSeq`, in order. Safe to repeat, to interrupt
 * anywhere and to run twice at once: tiles only grow, and the first root stands.
 * @param heartbeat called after every chunk with the tree size reached
 * @returns how many roots were written
 * @throws failure record-missing, record-altered, tile-altered, seal-altered, root-conflict
 */
export async function hashCollectedSeals(
  pool: Pool,
  tenantId: string,
  throughSeq: number,
  heartbeat: (treeSize: number) => void,
): Promise<number> {
  const schema = tenantSchema(tenantId);
  const { rows: open } = await pool.query<CollectedRow>(
    `SELECT s.seq, s.tree_size, s.root, s.period + d.period_seconds AS period_end
       FROM ${schema}.seals s, kiff.deployment d WHERE s.level = 'collected' AND s.seq <= $1 ORDER BY s.seq`,
    [throughSeq],
  );
  const first = open[0];
  if (first === undefined) return 0;
  await requireCuts(pool, schema, open);

  const { rows: before } = await pool.query<SealRow>(
    `SELECT seq, tree_size, root FROM ${schema}.seals WHERE seq = $1`,
    [first.seq - 1],
  );
  const tree = await resume(pool, tenantId, before[0]);

  for (const seal of open) {
    while (tree.size < seal.tree_size) {
      const leaves = await readLeaves(pool, schema, tree.size, Math.min(seal.tree_size, tree.size + CHUNK));
      tree.append(leaves);
      await writeTiles(pool, tenantId, tree.drain());
      heartbeat(tree.size);
    }
    await pool.query(`SELECT ${schema}.record_root($1, $2)`, [seal.seq, Buffer.from(tree.root())]);
  }
  return open.length;
}

/**
 * Each cut stands where the entries' own times say: the last leaf before it is of the period or earlier, the next one is
 * not. A leaf that is not there is `readLeaves`' to find.
 */
async function requireCuts(pool: Pool, schema: string, seals: readonly CollectedRow[]): Promise<void> {
  const { rows } = await pool.query<{ leaf_index: number; entry: Buffer }>(
    `SELECT leaf_index, entry FROM ${schema}.records WHERE leaf_index = ANY ($1::bigint[])`,
    [[...new Set(seals.flatMap(({ tree_size }) => [tree_size - 1, tree_size]))]],
  );
  const received = new Map(rows.map((row) => [row.leaf_index, receivedAt(row.leaf_index, row.entry)]));
  for (const { seq, tree_size, period_end } of seals) {
    const before = received.get(tree_size - 1) ?? -Infinity;
    const next = received.get(tree_size) ?? Infinity;
    if (before >= period_end * 1000 || next < period_end * 1000) throw failure('seal-altered', { seq });
  }
}

/** An entry's time, Unix milliseconds. */
function receivedAt(index: number, entry: Buffer): number {
  try {
    return unixMillis(parseEntry(entry.toString('utf8')).receivedAt);
  } catch (error) {
    if (error instanceof TypeError) throw failure('record-altered', { index });
    throw error;
  }
}

/** The tree at the last hashed seal, from its right-edge tiles, which must still give that seal's root. */
async function resume(pool: Pool, tenantId: string, last: SealRow | undefined): Promise<TreeExtension> {
  if (last === undefined) return extendTiles(0, new TileSet([]), sha256);
  const { seq, tree_size: size, root } = last;
  const edge = root === null ? null : await knownEdge(pool, tenantId, { size, root });
  if (edge === null) throw failure('seal-altered', { seq });
  return extendTiles(size, edge, sha256);
}

/** Leaf hashes of [from, to), recomputed from the entries and compared with what was stored. */
async function readLeaves(pool: Pool, schema: string, from: number, to: number): Promise<Uint8Array[]> {
  const { rows } = await pool.query<{ leaf_index: number; entry: Buffer; leaf_hash: Buffer }>(
    `SELECT leaf_index, entry, leaf_hash FROM ${schema}.records
      WHERE leaf_index >= $1 AND leaf_index < $2 ORDER BY leaf_index`,
    [from, to],
  );
  const leaves: Uint8Array[] = [];
  for (let index = from; index < to; index++) {
    const row = rows[index - from];
    if (row?.leaf_index !== index) throw failure('record-missing', { index });
    const leaf = hashLeaf(row.entry, sha256);
    if (!equalBytes(leaf, row.leaf_hash)) throw failure('record-altered', { index });
    leaves.push(leaf);
  }
  return leaves;
}
