/**
 * Growing a tree by n leaves in O(n) time and, drained as it goes, in constant memory: only the partial tile of each
 * level is held, a full one is handed out at once and enters the level above as one hash.
 */
import { sha256 } from '@noble/hashes/sha2.js';
import { HASH_SIZE, type Sha256 } from './hash.ts';
import { checkSize } from './subtree.ts';
import { edgeTiles, rootFromTiles, TILE_WIDTH, TileSet, type Tile } from './tile.ts';

interface Edge {
  index: number;
  width: number;
  hashes: Uint8Array;
  changed: boolean;
}

/** Root of a full tile: the hash that enters the level above. */
export function fullTileHash(hashes: Uint8Array, sha: Sha256): Uint8Array {
  const row = new Uint8Array(hashes);
  // RFC 9162 section 2.1.1: 0x01 || left || right. Siblings lie side by side, so a pair is one copy into one buffer.
  const message = Uint8Array.of(1, ...row.subarray(0, 2 * HASH_SIZE));
  for (let bytes = row.length; bytes > HASH_SIZE; bytes /= 2) {
    for (let at = 0; at < bytes; at += 2 * HASH_SIZE) {
      message.set(row.subarray(at, at + 2 * HASH_SIZE), 1);
      row.set(sha(message), at / 2);
    }
  }
  return row.slice(0, HASH_SIZE);
}

/** A tree that is being extended. Made by `extendTiles`. */
class TreeExtension {
  #size: number;
  readonly #edges: Edge[] = [];
  readonly #sha256: Sha256;
  #full: Tile[] = [];

  constructor(size: number, tiles: TileSet, hash: Sha256) {
    this.#sha256 = hash;
    this.#size = checkSize(size);
    for (const tile of edgeTiles(size)) {
      const edge = this.#edge(tile.level);
      edge.width = tile.width;
      edge.hashes.set(tiles.hashes(tile));
    }
  }

  /** Leaves so far. */
  get size(): number {
    return this.#size;
  }

  /**
   * Appends leaf hashes (32 bytes each; copied). What came before a bad one stays appended.
   * @throws TypeError on a hash of another length; RangeError beyond 2^53-1 leaves.
   */
  append(leafHashes: Iterable<Uint8Array>): void {
    for (const leafHash of leafHashes) {
      if (leafHash.length !== HASH_SIZE) throw new TypeError(`a leaf hash has 32 bytes, not ${leafHash.length}`);
      checkSize(this.#size + 1);
      let hash: Uint8Array | undefined = leafHash;
      for (let level = 0; hash !== undefined; level++) hash = this.#push(level, hash);
      this.#size++;
    }
  }

  /** Root of the tree as it is now. */
  root(): Uint8Array {
    const edges = this.#edges.flatMap((edge, level) => (edge.width > 0 ? [edgeTile(level, edge)] : []));
    return rootFromTiles(new TileSet(edges, this.#sha256), this.#size);
  }

  /**
   * The tiles that changed since the last call, by level and index, each in its present (widest) form. Storing them all
   * stores the tree; a partial one comes again, wider, after more leaves.
   */
  drain(): Tile[] {
    const tiles = this.#full;
    this.#full = [];
    for (const [level, edge] of this.#edges.entries()) {
      if (edge.changed) tiles.push(edgeTile(level, edge));
      edge.changed = false;
    }
    return tiles.toSorted((a, b) => a.level - b.level || a.index - b.index);
  }

  /** The partial tile of a level, made (empty) when a level is first reached. */
  #edge(level: number): Edge {
    let edge = this.#edges[level];
    while (edge === undefined) {
      const hashes = Math.floor(this.#size / TILE_WIDTH ** (this.#edges.length + 1));
      this.#edges.push({ index: hashes, width: 0, hashes: new Uint8Array(TILE_WIDTH * HASH_SIZE), changed: false });
      edge = this.#edges[level];
    }
    return edge;
  }

  /** Puts a hash at the end of a level; returns the hash for the level above if that filled its tile. */
  #push(level: number, hash: Uint8Array): Uint8Array | undefined {
    const edge = this.#edge(level);
    edge.hashes.set(hash, edge.width * HASH_SIZE);
    edge.width++;
    edge.changed = true;
    if (edge.width < TILE_WIDTH) return undefined;
    const { index, hashes } = edge;
    this.#full.push({ level, index, hashes });
    this.#edges[level] = { index: index + 1, width: 0, hashes: new Uint8Array(hashes.length), changed: false };
    return fullTileHash(hashes, this.#sha256);
  }
}

export type { TreeExtension };

function edgeTile(level: number, edge: Edge): Tile {
  return { level, index: edge.index, hashes: edge.hashes.slice(0, edge.width * HASH_SIZE) };
}

/**
 * Starts to extend the tree of `size` leaves. `tiles` must hold what `edgeTiles(size)` names (nothing for size 0); wider
 * versions, left by an extension that was not finished, do no harm: only the prefix for `size` is read. `hash` is SHA-256;
 * a server hands in its native one.
 * @throws RangeError on a size outside 0…2^53-1; TileError if an edge tile is missing or too short.
 */
export function extendTiles(size: number, tiles: TileSet, hash: Sha256 = sha256): TreeExtension {
  return new TreeExtension(size, tiles, hash);
}
