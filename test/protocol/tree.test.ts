import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import fc from 'fast-check';
import { extendTiles } from '../../protocol/extend.ts';
import { EMPTY_ROOT, hashChildren, hashLeaf } from '../../protocol/hash.ts';
import { toHex } from '../../protocol/hex.ts';
import { consistencyProof, inclusionProof, verifyConsistency, verifyInclusion } from '../../protocol/proof.ts';
import { consistencyNodes, inclusionNodes, rootNodes } from '../../protocol/subtree.ts';
import { edgeTiles, rootFromTiles, TileSet, tilesForNodes } from '../../protocol/tile.ts';
import { ReferenceTree, testLeaf, testLeaves } from './reference-tree.ts';
import { grow, nativeSha256, Store } from './tile-store.ts';

const SMALL = 600;
const LARGE = 1_000_000;

function sameHashes(actual: readonly Uint8Array[], expected: readonly Uint8Array[]): boolean {
  return actual.length === expected.length && actual.every((bytes, at) => Buffer.compare(bytes, expected[at]!) === 0);
}

describe('tree hashes', () => {
  it('are those of RFC 9162 section 2.1.1', () => {
    const entry = new TextEncoder().encode('entry 7');
    assert.deepEqual(hashLeaf(entry), testLeaf(7));
    const [left, right] = [testLeaf(1), testLeaf(2)];
    const node = hash('sha256', Buffer.concat([Buffer.of(1), left, right]), 'buffer');
    assert.deepEqual(Buffer.from(hashChildren(left, right)), node);
    assert.equal(toHex(EMPTY_ROOT), `0x${hash('sha256', '')}`);
    assert.equal(
      toHex(hashLeaf(new Uint8Array(0))),
      '0x6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
    );
  });
});

describe(`the tree against a naive one, all sizes to ${SMALL}`, function () {
  this.timeout(60_000);
  const reference = new ReferenceTree(testLeaves(SMALL));
  const store = new Store();
  const all = (): TileSet => new TileSet(store.rows.values(), nativeSha256);

  before(() => {
    grow(store, reference.leaves, 77);
  });

  it('has the same roots, from exactly the tiles that are planned', () => {
    for (let size = 0; size <= SMALL; size++) {
      const root = rootFromTiles(store.forNodes(rootNodes(size), size), size);
      assert.equal(toHex(root), toHex(reference.root(size)), `size ${size}`);
      assert.deepEqual(tilesForNodes(rootNodes(size), size).toReversed(), edgeTiles(size));
    }
  });

  it('has the same inclusion proofs for every leaf of every size, and they verify', () => {
    const tiles = all();
    for (let size = 1; size <= SMALL; size++) {
      const root = toHex(reference.root(size));
      for (let index = 0; index < size; index++) {
        const proof = inclusionProof(tiles, index, size);
        if (!sameHashes(proof, reference.inclusion(index, size))) assert.fail(`leaf ${index} of ${size}`);
        // Each size has its proofs verified on a part of the leaves that differs from size to size.
        if (size > 130 && (index + size) % 13 !== 0) continue;
        const claim = { leafIndex: index, treeSize: size, inclusion: proof.map(toHex), root };
        assert.ok(verifyInclusion({ ...claim, leafHash: toHex(testLeaf(index)) }), `leaf ${index} of ${size}`);
      }
    }
  });

  it('has the same consistency proofs, for every pair to 130 and one in seventeen beyond, and they verify', () => {
    const tiles = all();
    for (let size2 = 1; size2 <= SMALL; size2++) {
      for (let size1 = 1; size1 <= size2; size1++) {
        if (size2 > 130 && (size1 * 3 + size2) % 17 !== 0) continue;
        const proof = consistencyProof(tiles, size1, size2);
        if (!sameHashes(proof, reference.consistency(size1, size2))) assert.fail(`${size1} to ${size2}`);
        const [root1, root2] = [toHex(reference.root(size1)), toHex(reference.root(size2))];
        assert.ok(verifyConsistency({ size1, root1, size2, root2, proof: proof.map(toHex) }), `${size1} to ${size2}`);
      }
    }
  });

  it('needs no more than the tiles that are planned for a proof', () => {
    const size = fc.integer({ min: 1, max: SMALL });
    fc.assert(
      fc.property(size, fc.nat(), (treeSize, seed) => {
        const index = seed % treeSize;
        const inclusion = store.forNodes(inclusionNodes(index, treeSize), treeSize);
        assert.ok(sameHashes(inclusionProof(inclusion, index, treeSize), reference.inclusion(index, treeSize)));
        const size1 = index + 1;
        const consistency = store.forNodes(consistencyNodes(size1, treeSize), treeSize);
        assert.ok(sameHashes(consistencyProof(consistency, size1, treeSize), reference.consistency(size1, treeSize)));
      }),
      { numRuns: 500 },
    );
  });

  it('grows the same from any size, in any steps, over tiles that an unfinished growth left wider', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 300 }), { maxLength: 6 }), fc.nat(SMALL), (steps, start) => {
        // Edge tiles in their widest stored form: their tail lies beyond `start` and must not be read.
        const wide = edgeTiles(start).map(({ level, index }) => store.rows.get(`${level}/${index}`)!);
        const tree = extendTiles(start, new TileSet(wide));
        const own = new Store();
        let size = start;
        for (const step of steps) {
          const end = Math.min(SMALL, size + step);
          tree.append(reference.leaves.slice(size, end));
          size = end;
          assert.equal(tree.size, size);
          assert.equal(toHex(tree.root()), toHex(reference.root(size)));
          own.write(tree.drain());
        }
        assert.deepEqual(tree.drain(), [], 'nothing is handed out twice');
        for (const [key, tile] of own.rows) {
          const full = store.rows.get(key)!;
          assert.deepEqual(tile.hashes, full.hashes.slice(0, tile.hashes.length), `tile ${key}`);
        }
        for (const ref of edgeTiles(size)) {
          const drained = own.rows.get(`${ref.level}/${ref.index}`);
          if (drained !== undefined) assert.equal(drained.hashes.length, 32 * ref.width);
          else assert.ok(edgeTiles(start).some((old) => old.level === ref.level && old.width === ref.width));
        }
      }),
      { numRuns: 100 },
    );
  });

  it('takes a native hash in place of its own', () => {
    const portable = extendTiles(0, new TileSet([]));
    const native = extendTiles(0, new TileSet([]), nativeSha256);
    portable.append(reference.leaves);
    native.append(reference.leaves);
    assert.deepEqual(portable.drain(), native.drain());
    let calls = 0;
    const counted = new TileSet(store.rows.values(), (bytes) => {
      calls++;
      return nativeSha256(bytes);
    });
    assert.equal(toHex(rootFromTiles(counted, 255)), toHex(reference.root(255)));
    assert.ok(calls > 0);
  });
});

describe(`the tree against a naive one, random sizes to ${LARGE}`, function () {
  this.timeout(60_000);
  let reference: ReferenceTree;
  const store = new Store();

  before(() => {
    // Any 32 bytes serve as a leaf hash, and a million of them are made faster without hashing.
    const pool = Buffer.alloc(32 * LARGE, 'leaf');
    const leaves = Array.from({ length: LARGE }, (_, index) => {
      pool.writeUInt32BE(index, 32 * index);
      return pool.subarray(32 * index, 32 * (index + 1));
    });
    reference = new ReferenceTree(leaves, 128);
    assert.equal(toHex(grow(store, reference.leaves, 10_000)), toHex(reference.root(LARGE)));
  });

  it('has the same roots and proofs, each from a handful of tiles', () => {
    const size = fc.oneof(
      fc.integer({ min: 1, max: LARGE }),
      fc.integer({ min: 1, max: 15 }).map((n) => n * 65_536),
      fc.tuple(fc.integer({ min: 8, max: 19 }), fc.integer({ min: -1, max: 1 })).map(([bit, off]) => 2 ** bit + off),
    );
    fc.assert(
      fc.property(size, fc.nat(), fc.nat(), (size2, a, b) => {
        const [index, size1] = [a % size2, 1 + (b % size2)];
        const root2 = toHex(rootFromTiles(store.forNodes(rootNodes(size2), size2), size2));
        assert.equal(root2, toHex(reference.root(size2)));

        const inclusionRefs = tilesForNodes(inclusionNodes(index, size2), size2);
        const inclusion = inclusionProof(store.read(inclusionRefs), index, size2);
        assert.ok(sameHashes(inclusion, reference.inclusion(index, size2)));
        const leafHash = toHex(reference.leaves[index]!);
        const claim = { leafHash, leafIndex: index, treeSize: size2, inclusion: inclusion.map(toHex), root: root2 };
        assert.ok(verifyInclusion(claim));
        assert.equal(verifyInclusion({ ...claim, leafHash: toHex(reference.leaves[(index + 1) % LARGE]!) }), false);

        const consistencyRefs = tilesForNodes(consistencyNodes(size1, size2), size2);
        const proof = consistencyProof(store.read(consistencyRefs), size1, size2);
        assert.ok(sameHashes(proof, reference.consistency(size1, size2)));
        const root1 = toHex(reference.root(size1));
        assert.ok(verifyConsistency({ size1, root1, size2, root2, proof: proof.map(toHex) }));

        // Three levels of tiles; on each, the tile on the way down and the one on the right edge.
        assert.ok(inclusionRefs.length <= 6, `${inclusionRefs.length} tiles`);
        assert.ok(consistencyRefs.length <= 6, `${consistencyRefs.length} tiles`);
      }),
      { numRuns: 300 },
    );
  });

  it('stores every tile once, all but the right edge full', () => {
    const expected = [LARGE, Math.floor(LARGE / 256), Math.floor(LARGE / 65_536)];
    assert.equal(
      store.rows.size,
      expected.reduce((sum, hashes) => sum + Math.ceil(hashes / 256), 0),
    );
    for (const { level, index, hashes } of store.rows.values()) {
      assert.equal(hashes.length / 32, Math.min(256, expected[level]! - index * 256));
    }
  });
});
