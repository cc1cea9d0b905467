/** Where the tests keep tiles, and how a tree grows into it. */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { extendTiles } from '../../protocol/extend.ts';
import type { TreeNode } from '../../protocol/subtree.ts';
import { TileSet, tilesForNodes, type Tile, type TileRef } from '../../protocol/tile.ts';

/** Node's SHA-256: the large tree is built with it, as a server would. */
export function nativeSha256(bytes: Uint8Array): Uint8Array {
  return hash('sha256', bytes, 'buffer');
}

/** Stored tiles, as a database keeps them: one row for each (level, index), the last one written. */
export class Store {
  readonly rows = new Map<string, Tile>();

  write(tiles: readonly Tile[]): void {
    for (const tile of tiles) this.rows.set(`${tile.level}/${tile.index}`, tile);
  }

  /** Exactly these tiles at exactly these widths, so that a computation that wants more fails. */
  read(refs: readonly TileRef[]): TileSet {
    return new TileSet(
      refs.map(({ level, index, width }) => {
        const row = this.rows.get(`${level}/${index}`);
        assert.ok(row !== undefined && row.hashes.length >= 32 * width, `tile ${level}/${index} is stored`);
        return { level, index, hashes: row.hashes.subarray(0, 32 * width) };
      }),
    );
  }

  forNodes(nodes: readonly TreeNode[], size: number): TileSet {
    return this.read(tilesForNodes(nodes, size));
  }
}

/** Grows a tree from nothing in steps of `chunk` leaves, stores what each step changed, and returns the root. */
export function grow(store: Store, leaves: readonly Uint8Array[], chunk: number): Uint8Array {
  const tree = extendTiles(0, new TileSet([]), nativeSha256);
  for (let at = 0; at < leaves.length; at += chunk) {
    tree.append(leaves.slice(at, at + chunk));
    const tiles = tree.drain();
    // Only what changed is written: the tiles that were filled, and one partial tile on each level.
    assert.ok(tiles.length <= chunk / 255 + 4, `${tiles.length} tiles for ${chunk} leaves`);
    store.write(tiles);
  }
  return tree.root();
}
