/**
 * Merkle-hash: from collected periods to roots. Every leaf is read again and hashed again, so a record that was altered or
 * removed after it was accepted is found here, by its index, before anything is signed. (The signer reads them once more, and
 * the tiles: it takes nothing from here.)
 */
import type { Pool } from 'pg';
import { extendTiles, type TreeExtension } from '../../protocol/extend.ts';
import { parseEntry } from '../../protocol/entry.ts';
import { HASH_SIZE } from '../../protocol/hash.ts';
import { unixMillis } from '../../protocol/period.ts';
import { edgeTiles, TileSet, type Tile } from '../../protocol/tile.ts';
import { failure } from '../failures.ts';
import { tenantSchema } from '../../sql/login.ts';
import { knownEdge, sha256 } from './audit.ts';
import { readLeafHashes } from './page.ts';
import { namingTiles, readTiles, storedSize, writeTiles } from './tiles.ts';

/** Leaves read and hashed between two heartbeats: about 3 MiB of entries, well under a second. */
const CHUNK = 8_192;

interface SealRow {
  seq: number;
  tree_size: number;
  root: Buffer | null;
}

interface CutRow extends SealRow {
  /** Unix seconds: where the period ends. */
  period_end: number;
}

/**
 * Computes and stores the root of every collected seal up to `throughSeq`, in order. Safe to repeat, to interrupt
 * anywhere and to run twice at once: tiles only grow, the first root stands, and what is stored is not done again.
 * @param heartbeat called after every chunk with the tree size that is stored
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
  const { rows: open } = await pool.query<CutRow>(
    `SELECT s.seq, s.tree_size, s.root, s.period + d.period_seconds AS period_end
       FROM ${schema}.seals s, kiff.deployment d WHERE s.level = 'collected' AND s.seq <= $1 ORDER BY s.seq`,
    [throughSeq],
  );
  const first = open[0];
  if (first === undefined) return 0;
  const { rows: before } = await pool.query<CutRow>(
    `SELECT s.seq, s.tree_size, s.root, s.period + d.period_seconds AS period_end
       FROM ${schema}.seals s, kiff.deployment d WHERE s.seq = $1`,
    [first.seq - 1],
  );
  await requireCuts(pool, schema, [...before, ...open]);
  const tree = await resume(pool, tenantId, before[0], first);

  // While a page is hashed, the next one is read, and the tiles of the one before it are written. They are written in order, so
  // what is stored is always a whole tree of some size.
  const pages = pagesOf(tree.size, open);
  let reading = nextPage(pool, schema, pages);
  let writing = Promise.resolve();
  const store = async (tiles: Tile[], size: number): Promise<void> => {
    await writeTiles(pool, tenantId, tiles);
    heartbeat(size);
  };
  try {
    for (const seal of open) {
      while (tree.size < seal.tree_size) {
        const hashes = await reading;
        reading = nextPage(pool, schema, pages);
        tree.append(hashesOf(hashes));
        await writing;
        writing = store(tree.drain(), tree.size);
        writing.catch(() => undefined);
      }
      await writing;
      await pool.query(`SELECT ${schema}.record_root($1, $2)`, [seal.seq, Buffer.from(tree.root())]);
    }
  } finally {
    // Nothing of this goes on after its end.
    await Promise.allSettled([reading, writing]);
  }
  return open.length;
}

const NOTHING = new Uint8Array(0);

/** Leaves [from, to). */
interface Page {
  from: number;
  to: number;
}

/** The pages from a size on. None reaches beyond a seal. */
function* pagesOf(size: number, seals: readonly SealRow[]): Generator<Page, void> {
  for (const { tree_size: end } of seals) {
    for (; size < end; size = Math.min(end, size + CHUNK)) yield { from: size, to: Math.min(end, size + CHUNK) };
  }
}

/** Begins to read the next page; of none, nothing. */
function nextPage(pool: Pool, schema: string, pages: Iterator<Page, void>): Promise<Uint8Array> {
  const { done, value } = pages.next();
  if (done === true || value === undefined) return Promise.resolve(NOTHING);
  const reading = readLeafHashes(pool, schema, value.from, value.to, sha256);
  // It is looked at when its turn comes.
  reading.catch(() => undefined);
  return reading;
}

function* hashesOf(packed: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < packed.length; at += HASH_SIZE) yield packed.subarray(at, at + HASH_SIZE);
}

/**
 * Each cut stands where the entries' own times say: the last leaf before it is of the period or earlier, the next one is
 * not; and none lies beyond the head. A leaf that is not there is for `readLeafHashes` to find.
 */
async function requireCuts(pool: Pool, schema: string, seals: readonly CutRow[]): Promise<void> {
  const { rows: heads } = await pool.query<{ size: number }>(`SELECT size FROM ${schema}.log_head`);
  const size = heads[0]?.size ?? 0;
  const { rows } = await pool.query<{ leaf_index: number; entry: Buffer }>(
    `SELECT leaf_index, entry FROM ${schema}.records WHERE leaf_index = ANY ($1::bigint[])`,
    [[...new Set(seals.flatMap(({ tree_size }) => [tree_size - 1, tree_size]))]],
  );
  const received = new Map(rows.map((row) => [row.leaf_index, receivedAt(row.leaf_index, row.entry)]));
  for (const { seq, tree_size, period_end } of seals) {
    const before = received.get(tree_size - 1) ?? -Infinity;
    const next = received.get(tree_size) ?? Infinity;
    if (tree_size > size || before >= period_end * 1000 || next < period_end * 1000)
      throw failure('seal-altered', { seq });
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

/**
 * The tree at the last hashed seal, whose right-edge tiles must still give that seal's root; or beyond it, where an earlier
 * attempt on the next one was interrupted.
 */
async function resume(pool: Pool, tenantId: string, last: SealRow | undefined, next: SealRow): Promise<TreeExtension> {
  let size = 0;
  let edge = new TileSet([]);
  if (last !== undefined) {
    const known =
      last.root === null ? null : await knownEdge(pool, tenantId, { size: last.tree_size, root: last.root });
    if (known === null) throw failure('seal-altered', { seq: last.seq });
    edge = known;
    size = last.tree_size;
  }
  const stored = Math.min(await storedSize(pool, tenantId), next.tree_size);
  if (stored > size) {
    size = stored;
    edge = await readTiles(pool, tenantId, edgeTiles(size));
  }
  return namingTiles(() => extendTiles(size, edge, sha256));
}
