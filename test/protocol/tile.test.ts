import assert from 'node:assert/strict';
import fc from 'fast-check';
import { extendTiles } from '../../protocol/extend.ts';
import { toHex } from '../../protocol/hex.ts';
import { consistencyProof, inclusionProof } from '../../protocol/proof.ts';
import { consistencyNodes, inclusionNodes, rootNodes, type TreeNode } from '../../protocol/subtree.ts';
import { edgeTiles, rootFromTiles, TileError, TileSet, tilesForNodes } from '../../protocol/tile.ts';
import { ReferenceTree, testLeaf, testLeaves } from './reference-tree.ts';
import { grow, Store } from './tile-store.ts';

/** How many leaves complete subtrees cover together. */
const leaves = (nodes: TreeNode[]): bigint => nodes.reduce((sum, { level }) => sum + (1n << BigInt(level)), 0n);

/** Accepts the TileError that names this tile. */
function fault(code: string, level: number, index: number): (error: unknown) => boolean {
  return (error) =>
    error instanceof TileError && error.code === code && error.tile.level === level && error.tile.index === index;
}

describe('planning', () => {
  it('holds beyond 32 bits, to 2^53 - 1', () => {
    const max = Number.MAX_SAFE_INTEGER;
    assert.equal(rootNodes(max).length, 53);
    assert.deepEqual(rootNodes(2 ** 52), [{ level: 52, index: 0 }]);
    assert.deepEqual(edgeTiles(max), [
      ...Array.from({ length: 6 }, (_, level) => ({ level, index: 2 ** (45 - 8 * level) - 1, width: 255 })),
      { level: 6, index: 0, width: 31 },
    ]);
    const count = fc.integer({ min: 1, max });
    fc.assert(
      fc.property(count, fc.nat({ max }), (size, seed) => {
        const index = seed % size;
        for (const nodes of [rootNodes(size), inclusionNodes(index, size), consistencyNodes(index + 1, size)]) {
          for (const { level, index: at } of nodes) {
            assert.ok(Number.isSafeInteger(at) && BigInt(at + 1) << BigInt(level) <= BigInt(size));
          }
          assert.ok(tilesForNodes(nodes, size).length <= 14);
        }
        // The root's subtrees cover every leaf once; so do an inclusion proof's, but for the leaf itself.
        assert.equal(leaves(rootNodes(size)), BigInt(size));
        assert.equal(leaves(inclusionNodes(index, size)), BigInt(size) - 1n);
      }),
    );
  });

  for (const bad of [-1, 0.5, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY, '3' as unknown as number]) {
    it(`refuses ${JSON.stringify(bad)} (${bad}) as an index or a size`, () => {
      const tiles = new TileSet([]);
      for (const ask of [
        () => rootFromTiles(tiles, bad),
        () => rootNodes(bad),
        () => edgeTiles(bad),
        () => extendTiles(bad, tiles),
        () => inclusionProof(tiles, bad, 10),
        () => inclusionProof(tiles, 0, bad),
        () => consistencyProof(tiles, bad, 10),
        () => consistencyProof(tiles, 1, bad),
      ]) {
        assert.throws(ask, RangeError);
      }
    });
  }

  it('refuses a leaf outside the tree, a first tree larger than the second, and a proof from nothing', () => {
    const tiles = new TileSet([]);
    assert.throws(() => inclusionProof(tiles, 10, 10), RangeError);
    assert.throws(() => inclusionProof(tiles, 0, 0), RangeError);
    assert.throws(() => consistencyProof(tiles, 11, 10), RangeError);
    assert.throws(() => consistencyProof(tiles, 0, 10), RangeError);
    assert.deepEqual(consistencyProof(tiles, 0, 0), []);
    assert.throws(() => tilesForNodes([{ level: 3, index: 1 }], 15), RangeError);
    assert.equal(tilesForNodes([{ level: 3, index: 1 }], 16).length, 1);
  });
});

describe('a tile set', () => {
  const reference = new ReferenceTree(testLeaves(700));
  const store = new Store();

  before(() => {
    grow(store, reference.leaves, 700);
  });

  function without(key: string, width?: number): TileSet {
    const tiles = [...store.rows.entries()].flatMap(([name, tile]) => {
      if (name !== key) return [tile];
      return width === undefined ? [] : [{ ...tile, hashes: tile.hashes.subarray(0, 32 * width) }];
    });
    return new TileSet(tiles);
  }

  it('names the tile that is missing or too short', () => {
    assert.throws(() => inclusionProof(without('0/1'), 300, 700), fault('missing', 0, 1));
    assert.throws(() => inclusionProof(without('0/1', 200), 300, 700), fault('short', 0, 1));
    assert.throws(() => rootFromTiles(without('1/0'), 700), fault('missing', 1, 0));
    assert.throws(() => rootFromTiles(without('0/2', 187), 700), fault('short', 0, 2));
    assert.throws(() => extendTiles(700, without('0/2', 187)), fault('short', 0, 2));
    assert.throws(() => extendTiles(700, without('1/0')), fault('missing', 1, 0));
    assert.equal(
      toHex(rootFromTiles(without('0/1'), 700)),
      toHex(reference.root(700)),
      'a full tile below is not needed',
    );
  });

  it('refuses bytes that are not 1 to 256 hashes', () => {
    for (const length of [0, 31, 33, 32 * 257]) {
      assert.throws(
        () => new TileSet([{ level: 0, index: 4, hashes: new Uint8Array(length) }]),
        fault('malformed', 0, 4),
      );
    }
  });

  it('keeps the wider of two versions, and its own copy of the bytes', () => {
    const tile = store.rows.get('0/2')!;
    const narrow = { ...tile, hashes: tile.hashes.slice(0, 32) };
    const wide = { ...tile, hashes: tile.hashes.slice() };
    for (const pair of [
      [narrow, wide],
      [wide, narrow],
    ]) {
      const tiles = new TileSet([...pair, store.rows.get('1/0')!]);
      assert.equal(toHex(rootFromTiles(tiles, 700)), toHex(reference.root(700)));
    }
    const tiles = new TileSet([wide, store.rows.get('1/0')!]);
    wide.hashes.fill(0);
    assert.equal(toHex(rootFromTiles(tiles, 700)), toHex(reference.root(700)));
  });

  it('does not grow beyond 2^53 - 1 leaves', () => {
    const max = Number.MAX_SAFE_INTEGER;
    const edge = edgeTiles(max).map((ref) => ({ ...ref, hashes: new Uint8Array(32 * ref.width) }));
    const tree = extendTiles(max, new TileSet(edge));
    assert.throws(() => tree.append([testLeaf(0)]), RangeError);
    assert.equal(tree.size, max);
    assert.deepEqual(tree.drain(), []);
  });

  it('refuses leaf hashes of another length before taking them in', () => {
    const tree = extendTiles(0, new TileSet([]));
    assert.throws(() => tree.append([testLeaf(0), new Uint8Array(31)]), TypeError);
    assert.equal(tree.size, 1);
    assert.equal(toHex(tree.root()), toHex(testLeaf(0)));
  });
});
