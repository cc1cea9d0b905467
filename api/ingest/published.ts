/**
 * A log as it is published (c2sp.org/tlog-tiles): its signed checkpoints and what they cover. The database's functions
 * (sql/product/028-public-log.sql) say whose log the session may read and how much of it; nothing here widens that.
 */
import { createHash } from 'node:crypto';
import { toHex, type Hex } from '../../protocol/hex.ts';
import { consistencyProof, inclusionProof } from '../../protocol/proof.ts';
import { publishedCheckpoint } from '../../protocol/seal-line.ts';
import { consistencyNodes, inclusionNodes, rootNodes, type TreeNode } from '../../protocol/subtree.ts';
import { rootFromTiles, TILE_WIDTH, TileError, TileSet, tilesForNodes, type TileRef } from '../../protocol/tile.ts';
import { encodeBundle } from '../../protocol/tlog-tiles.ts';
import { Problem } from '../http/problems.ts';
import type { Queryable } from '../http/tenant-pools.ts';

/** One log of a tenant; 1 is the first. */
export interface LogName {
  tenant: string;
  ordinal: number;
}

/** Bytes of a hash. */
const HASH = 32;

/** Levels that tiles of the largest tree (2^48 leaves) have, and more. */
const MAX_LEVEL = 7;

/** RFC 9162 section 2.1.1: what a leaf's hash begins with. */
const LEAF_PREFIX = Uint8Array.of(0);

interface SealRow {
  log_id: Buffer;
  seq: number;
  period: number;
  tree_size: number;
  level: string;
  root: Buffer;
  checkpoint: string;
  /** Null, all of them, where the tenant's signature is not there. */
  prev: Buffer | null;
  epoch: number | null;
  signer: Buffer | null;
  signature: Buffer | null;
}

/** A checkpoint as it is handed out. */
export interface Published {
  size: number;
  text: string;
  /** Whether it will be the same for good: a seal that is not final may be taken back by a succession, and signed anew. */
  final: boolean;
}

/** The checkpoint of a seal, or the newest one when `seq` is null; undefined when there is none that is published. */
export async function readCheckpoint(
  db: Queryable,
  { tenant, ordinal }: LogName,
  seq: number | null,
): Promise<Published | undefined> {
  const { rows } = await db.query<SealRow>('SELECT * FROM kiff.published_checkpoint($1, $2, $3)', [
    tenant,
    ordinal,
    seq,
  ]);
  const row = rows[0];
  if (row === undefined) return undefined;
  const { tree_size: size, checkpoint, prev, epoch, signer, signature } = row;
  const final = row.level === 'final';
  if (prev === null || epoch === null || signer === null || signature === null) {
    return { size, text: checkpoint, final };
  }
  const text = publishedCheckpoint(checkpoint, {
    logId: toHex(row.log_id),
    seq: row.seq,
    period: row.period,
    treeSize: size,
    root: toHex(row.root),
    prev: toHex(prev),
    epoch,
    signer: toHex(signer),
    signature: toHex(signature),
  });
  return { size, text, final };
}

/** The operator's statement that the log has ended; undefined while it goes on. */
export async function readEnd(db: Queryable, { tenant, ordinal }: LogName): Promise<string | undefined> {
  const { rows } = await db.query<{ statement: string }>('SELECT * FROM kiff.published_end($1, $2)', [tenant, ordinal]);
  return rows[0]?.statement;
}

interface TileRow {
  level: number;
  index: number;
  width: number;
  hashes: Buffer | null;
}

/**
 * Tiles by name, as wide as the newest published checkpoint has them. What it does not cover is not among them.
 * @throws Problem log-damaged when one that is covered is not stored, or not all of it
 */
async function readTiles(
  db: Queryable,
  { tenant, ordinal }: LogName,
  tiles: readonly Pick<TileRef, 'level' | 'index'>[],
): Promise<{ level: number; index: number; hashes: Buffer }[]> {
  const { rows } = await db.query<TileRow>('SELECT * FROM kiff.published_tiles($1, $2, $3, $4)', [
    tenant,
    ordinal,
    tiles.map(({ level }) => level),
    tiles.map(({ index }) => index),
  ]);
  return rows.map(({ level, index, width, hashes }) => {
    if (hashes?.length !== width * HASH) throw damaged();
    return { level, index, hashes };
  });
}

/**
 * A tile, or its first hashes when a partial one is asked for; undefined when no published checkpoint covers it.
 * @throws Problem log-damaged
 */
export async function readTile(db: Queryable, log: LogName, tile: TileRef): Promise<Buffer | undefined> {
  if (tile.level > MAX_LEVEL) return undefined;
  const [found] = await readTiles(db, log, [tile]);
  return found === undefined || found.hashes.length < tile.width * HASH
    ? undefined
    : found.hashes.subarray(0, tile.width * HASH);
}

/**
 * An entry bundle; undefined when no published checkpoint covers it. It is kept by caches for good, so each entry is held
 * against its leaf hash first.
 * @throws Problem log-damaged
 */
export async function readBundle(
  db: Queryable,
  log: LogName,
  { index, width }: Omit<TileRef, 'level'>,
): Promise<Uint8Array | undefined> {
  const leaves = await readTile(db, log, { level: 0, index, width });
  if (leaves === undefined) return undefined;
  const from = index * TILE_WIDTH;
  const { rows } = await db.query<{ leaf_index: number; entry: Buffer }>(
    'SELECT * FROM kiff.published_entries($1, $2, $3, $4)',
    [log.tenant, log.ordinal, from, from + width],
  );
  const sound = rows.every(({ leaf_index, entry }, at) => {
    const hash = createHash('sha256').update(LEAF_PREFIX).update(entry).digest();
    return leaf_index === from + at && hash.equals(leaves.subarray(at * HASH, (at + 1) * HASH));
  });
  if (rows.length !== width || !sound) throw damaged();
  return encodeBundle(rows.map(({ entry }) => entry));
}

/** The tree of a size that is published: what proofs in it are computed from. */
interface Tree {
  root: Hex;
  tiles: TileSet;
}

/** @throws Problem log-damaged; TileError */
async function readTree(db: Queryable, log: LogName, size: number, nodes: readonly TreeNode[]): Promise<Tree> {
  const needed = tilesForNodes([...nodes, ...rootNodes(size)], size);
  const tiles = new TileSet(await readTiles(db, log, needed), (bytes) => createHash('sha256').update(bytes).digest());
  return { root: toHex(rootFromTiles(tiles, size)), tiles };
}

/** The size itself, or that of the newest checkpoint. @throws Problem not-found when none that is published is so large */
async function publishedSize(db: Queryable, log: LogName, size: number | undefined): Promise<number> {
  const newest = await readCheckpoint(db, log, null);
  if (newest === undefined || (size !== undefined && size > newest.size)) {
    throw new Problem('not-found', 'No published checkpoint of this log covers that size.');
  }
  return size ?? newest.size;
}

/** Runs a computation on stored tiles. @throws Problem log-damaged when one cannot be used */
async function proving<T>(compute: () => Promise<T>): Promise<T> {
  try {
    return await compute();
  } catch (error) {
    if (error instanceof TileError) throw damaged(error);
    throw error;
  }
}

/**
 * An inclusion proof (RFC 9162 section 2.1.3.1) in the tree of `size`, the newest published one unless given.
 * @throws Problem not-found when the leaf or the size is not published; log-damaged
 */
export async function proveInclusion(
  db: Queryable,
  log: LogName,
  { leaf, size }: { leaf: number; size: number | undefined },
): Promise<{ leafIndex: number; leafHash: Hex; treeSize: number; inclusion: Hex[]; root: Hex }> {
  const treeSize = await publishedSize(db, log, size);
  if (leaf >= treeSize) throw new Problem('not-found', 'The tree of that size has no such leaf.');
  return proving(async () => {
    const nodes = inclusionNodes(leaf, treeSize);
    const { root, tiles } = await readTree(db, log, treeSize, [...nodes, { level: 0, index: leaf }]);
    const leafHash = toHex(tiles.nodeHash({ level: 0, index: leaf }));
    return { leafIndex: leaf, leafHash, treeSize, inclusion: inclusionProof(tiles, leaf, treeSize).map(toHex), root };
  });
}

/**
 * A consistency proof (RFC 9162 section 2.1.4.1) between two sizes, 1 ≤ from ≤ to; the newest published one unless `to` is given.
 * @throws Problem not-found when a size is not published; invalid-parameter when `from` is beyond `to`; log-damaged
 */
export async function proveConsistency(
  db: Queryable,
  log: LogName,
  { from, to }: { from: number; to: number | undefined },
): Promise<{ size1: number; root1: Hex; size2: number; root2: Hex; proof: Hex[] }> {
  const size2 = await publishedSize(db, log, to);
  if (from > size2) {
    if (to !== undefined) throw new Problem('invalid-parameter', 'from must not be beyond to.');
    throw new Problem('not-found', 'No published checkpoint of this log covers that size.');
  }
  return proving(async () => {
    const nodes = [...consistencyNodes(from, size2), ...rootNodes(from)];
    const { root: root2, tiles } = await readTree(db, log, size2, nodes);
    const root1 = toHex(rootFromTiles(tiles, from));
    return { size1: from, root1, size2, root2, proof: consistencyProof(tiles, from, size2).map(toHex) };
  });
}

function damaged(cause?: unknown): Problem {
  return new Problem('log-damaged', 'The stored log is not what was sealed; nothing false is handed out.', { cause });
}
