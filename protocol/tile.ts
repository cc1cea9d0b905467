/**
 * The tree as tiles (c2sp.org/tlog-tiles): tile `index` of level L holds up to 256 hashes, the roots of the complete
 * subtrees of 256^L leaves, from number 256 × index on. A hash enters level L + 1 only when its tile of level L is full, so a
 * tile only ever grows at its end, and the tile kept for a large tree serves every smaller one by its prefix.
 *
 * Reading goes in two steps, so that this file needs no I/O: plan the subtrees (subtree.ts), name the tiles that hold
 * them (`tilesForNodes`), fetch those, and compute from the `TileSet`.
 */
import { sha256 } from '@noble/hashes/sha2.js';
import { EMPTY_ROOT, HASH_SIZE, hashChildren, type Sha256 } from './hash.ts';
import { checkSize, rangeNodes, type LeafRange, type TreeNode } from './subtree.ts';

/** Hashes in a full tile. */
export const TILE_WIDTH = 256;

/** Tree levels that one tile level spans: 2^8 = 256. */
const TILE_HEIGHT = 8;

/** Where a tile is. */
export interface TileId {
  readonly level: number;
  readonly index: number;
}

/** A tile as it is for one tree size: the first `width` hashes (1…256) of it are needed. */
export interface TileRef extends TileId {
  readonly width: number;
}

/** A tile with its hashes: 32 × w bytes, w in 1…256. */
export interface Tile extends TileId {
  readonly hashes: Uint8Array;
}

/** What is wrong with a tile that was handed in: not there, too few hashes for what is asked, or not whole hashes. */
export type TileFault = 'missing' | 'short' | 'malformed';

/** A tile that is needed cannot be used. For a server it means that stored tiles are gone or damaged, never a user's fault. */
export class TileError extends Error {
  override readonly name = 'TileError';
  readonly code: TileFault;
  readonly tile: TileId;

  constructor(code: TileFault, tile: TileId) {
    super(`tile ${tile.level}/${tile.index} is ${code}`);
    this.code = code;
    this.tile = { level: tile.level, index: tile.index };
  }
}

/** The tile that holds a complete subtree, and which of its hashes (`first`, `count`) hash up to it. */
function locate(node: TreeNode): TileId & { first: number; count: number } {
  const level = Math.floor(node.level / TILE_HEIGHT);
  const count = 2 ** (node.level % TILE_HEIGHT);
  const start = node.index * count;
  return { level, index: Math.floor(start / TILE_WIDTH), first: start % TILE_WIDTH, count };
}

/** How many hashes a tile holds in the tree of `size` leaves: 0…256. */
function widthAt(tile: TileId, size: number): number {
  const hashes = Math.floor(size / TILE_WIDTH ** tile.level) - tile.index * TILE_WIDTH;
  return Math.min(TILE_WIDTH, Math.max(0, hashes));
}

/**
 * The tiles that hold `nodes`, each once, with their width in the tree of `size` leaves.
 * @throws RangeError if a node is no complete subtree of that tree.
 */
export function tilesForNodes(nodes: Iterable<TreeNode>, size: number): TileRef[] {
  checkSize(size);
  const tiles = new Map<string, TileRef>();
  for (const node of nodes) {
    const { level, index, first, count } = locate(node);
    const width = widthAt({ level, index }, size);
    if (!(first + count <= width)) {
      throw new RangeError(`subtree ${node.level}/${node.index} is not complete in a tree of size ${size}`);
    }
    tiles.set(`${level}/${index}`, { level, index, width });
  }
  return [...tiles.values()];
}

/**
 * The partial tiles on the right edge of the tree of `size` leaves, one per level at most, lowest level first: all that
 * its root is computed from, and all that it takes to extend it.
 * @throws RangeError on a size outside 0…2^53-1.
 */
export function edgeTiles(size: number): TileRef[] {
  const tiles: TileRef[] = [];
  for (let level = 0, hashes = checkSize(size); hashes > 0; level++, hashes = Math.floor(hashes / TILE_WIDTH)) {
    const width = hashes % TILE_WIDTH;
    if (width > 0) tiles.push({ level, index: Math.floor(hashes / TILE_WIDTH), width });
  }
  return tiles;
}

/**
 * Tiles that were fetched. The bytes are copied in, and inner hashes are kept once computed, so that many proofs from one
 * set cost little more than one. Of two versions of a tile the wider one counts. A server may hand in its native SHA-256.
 * @throws TileError `malformed` unless every tile is 1…256 whole hashes.
 */
export class TileSet {
  readonly #tiles = new Map<string, Uint8Array>();
  readonly #inner = new Map<string, Uint8Array>();

  readonly #sha256: Sha256;

  constructor(tiles: Iterable<Tile>, hash: Sha256 = sha256) {
    this.#sha256 = hash;
    for (const tile of tiles) {
      const { level, index, hashes } = tile;
      const width = hashes.length / HASH_SIZE;
      if (!Number.isInteger(width) || width < 1 || width > TILE_WIDTH) throw new TileError('malformed', tile);
      const held = this.#tiles.get(`${level}/${index}`);
      if (held === undefined || held.length < hashes.length)
        this.#tiles.set(`${level}/${index}`, new Uint8Array(hashes));
    }
  }

  /**
   * Bytes of the first `width` hashes of a tile.
   * @throws TileError `missing` or `short`.
   */
  hashes({ level, index, width }: TileRef): Uint8Array {
    const held = this.#tiles.get(`${level}/${index}`);
    if (held === undefined) throw new TileError('missing', { level, index });
    if (held.length < width * HASH_SIZE) throw new TileError('short', { level, index });
    return held.subarray(0, width * HASH_SIZE);
  }

  /**
   * Hash of a complete subtree.
   * @throws TileError `missing` or `short`.
   */
  nodeHash(node: TreeNode): Uint8Array {
    const { level, index, first, count } = locate(node);
    if (count === 1) return this.hashes({ level, index, width: first + 1 }).subarray(first * HASH_SIZE);
    const key = `${node.level}/${node.index}`;
    let hash = this.#inner.get(key);
    if (hash === undefined) {
      const below = { level: node.level - 1, index: node.index * 2 };
      const right = { level: below.level, index: below.index + 1 };
      hash = hashChildren(this.nodeHash(below), this.nodeHash(right), this.#sha256);
      this.#inner.set(key, hash);
    }
    return hash;
  }

  /**
   * Hash over a range of a walk from the root (see subtree.ts). A ragged range is folded from its right end: the tree over
   * it splits off the largest complete subtree on the left, again and again.
   * @throws TileError `missing` or `short`.
   */
  rangeHash(range: LeafRange): Uint8Array {
    let hash: Uint8Array | undefined;
    for (const node of rangeNodes(range).toReversed()) {
      const left = this.nodeHash(node);
      hash = hash === undefined ? left : hashChildren(left, hash, this.#sha256);
    }
    return hash ?? EMPTY_ROOT;
  }
}

/**
 * Root of the tree of `size` leaves, from the tiles that `tilesForNodes(rootNodes(size), size)` names.
 * @throws RangeError on a size outside 0…2^53-1; TileError if a tile is missing or too short.
 */
export function rootFromTiles(tiles: TileSet, size: number): Uint8Array {
  return tiles.rangeHash({ begin: 0, end: checkSize(size) });
}
