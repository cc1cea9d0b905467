/**
 * Stored tiles and leaves held against a root that is known to be true, and the first one that does not fit, by name.
 *
 * Downwards, everything is certain: a root vouches for the tiles on the tree's right edge, a tile for the full tiles below it,
 * a tile of level 0 for its leaves. Only when the edge itself does not give the root, who is wrong is found from below.
 */
import { hash } from 'node:crypto';
import type { Pool } from 'pg';
import { fullTileHash } from '../../protocol/extend.ts';
import { HASH_SIZE, type Sha256 } from '../../protocol/hash.ts';
import { equalBytes } from '../../protocol/hex.ts';
import { edgeTiles, rootFromTiles, TILE_WIDTH, type TileId, type TileRef, type TileSet } from '../../protocol/tile.ts';
import { failure } from '../failures.ts';
import { tenantSchema } from '../../sql/login.ts';
import { LEAF_PAGE, readLeaves } from './leaves.ts';
import { namingTiles, readTiles } from './tiles.ts';

/** Node's own SHA-256: about twice as fast for a tree's many small inputs as the portable one. */
export const sha256: Sha256 = (bytes) => hash('sha256', bytes, 'buffer');

/** A tree as somebody vouches for it. */
export interface KnownTree {
  readonly size: number;
  readonly root: Uint8Array;
}

/**
 * The tiles on the right edge of a known tree, which give its root.
 * @returns null when they do not, although every tile agrees with what lies below it: then it is the root that is another's
 * @throws failure tile-altered, record-altered, record-missing when what is wrong can be named
 */
export async function knownEdge(pool: Pool, tenantId: string, { size, root }: KnownTree): Promise<TileSet | null> {
  const edge = edgeTiles(size);
  const tiles = await readTiles(pool, tenantId, edge);
  if (
    equalBytes(
      namingTiles(() => rootFromTiles(tiles, size)),
      root,
    )
  )
    return tiles;
  for (const tile of edge) await requireFromBelow(pool, tenantId, tile, tiles);
  return null;
}

/**
 * Holds leaves [from, to) of a known tree, and every tile above them, against its root.
 * @param edge what `knownEdge` gave for this tree
 * @param to at most its size
 * @throws failure tile-altered, record-altered, record-missing
 */
export async function requireLeaves(
  pool: Pool,
  tenantId: string,
  tree: { readonly size: number; readonly edge: TileSet },
  { from, to }: { readonly from: number; readonly to: number },
): Promise<void> {
  if (from >= to) return;
  const above = tilesAbove(from, to, tree.size);
  const tiles = await readTiles(pool, tenantId, above);
  for (const tile of above.toReversed()) {
    const hashes = namingTiles(() => tiles.hashes(tile));
    const { level, index, width } = tile;
    const vouched =
      width < TILE_WIDTH
        ? equalBytes(hashes, tree.edge.hashes(tile))
        : equalBytes(
            fullTileHash(hashes, sha256),
            hashAt(tiles, { level: level + 1, index: Math.floor(index / TILE_WIDTH) }, index % TILE_WIDTH),
          );
    if (!vouched) throw failure('tile-altered', { level, index });
  }
  for (let page = from; page < to; page += LEAF_PAGE) {
    const leaves = await readLeaves(pool, tenantSchema(tenantId), page, Math.min(to, page + LEAF_PAGE), sha256);
    for (const [offset, leaf] of leaves.entries()) {
      const index = page + offset;
      const known = hashAt(tiles, { level: 0, index: Math.floor(index / TILE_WIDTH) }, index % TILE_WIDTH);
      if (!equalBytes(leaf.hash, known)) throw failure('record-altered', { index });
    }
  }
}

/** Holds a tile against what lies below it, down to the entries, and follows the first difference to where it begins. */
async function requireFromBelow(pool: Pool, tenantId: string, tile: TileRef, tiles: TileSet): Promise<void> {
  const { level, index, width } = tile;
  const hashes = namingTiles(() => tiles.hashes(tile));
  const first = index * TILE_WIDTH;
  if (level === 0) {
    const leaves = await readLeaves(pool, tenantSchema(tenantId), first, first + width, sha256);
    for (const [at, leaf] of leaves.entries()) {
      if (!equalBytes(leaf.hash, hashIn(hashes, at))) throw failure('tile-altered', { level, index });
    }
    return;
  }
  const children = Array.from({ length: width }, (_, at) => ({
    level: level - 1,
    index: first + at,
    width: TILE_WIDTH,
  }));
  const below = await readTiles(pool, tenantId, children);
  for (const [at, child] of children.entries()) {
    const childHash = fullTileHash(
      namingTiles(() => below.hashes(child)),
      sha256,
    );
    if (equalBytes(childHash, hashIn(hashes, at))) continue;
    await requireFromBelow(pool, tenantId, child, below);
    throw failure('tile-altered', { level, index });
  }
}

/** All tiles of the tree of `size` leaves that lie above leaves [from, to), lowest level first. */
function tilesAbove(from: number, to: number, size: number): TileRef[] {
  const tiles: TileRef[] = [];
  let first = Math.floor(from / TILE_WIDTH);
  let last = Math.floor((to - 1) / TILE_WIDTH);
  for (let level = 0, hashes = size; hashes > 0; level++, hashes = Math.floor(hashes / TILE_WIDTH)) {
    for (let index = first; index <= last && index * TILE_WIDTH < hashes; index++) {
      tiles.push({ level, index, width: Math.min(TILE_WIDTH, hashes - index * TILE_WIDTH) });
    }
    first = Math.floor(first / TILE_WIDTH);
    last = Math.floor(last / TILE_WIDTH);
  }
  return tiles;
}

function hashAt(tiles: TileSet, tile: TileId, at: number): Uint8Array {
  return hashIn(
    namingTiles(() => tiles.hashes({ ...tile, width: at + 1 })),
    at,
  );
}

function hashIn(hashes: Uint8Array, at: number): Uint8Array {
  return hashes.subarray(at * HASH_SIZE, (at + 1) * HASH_SIZE);
}
