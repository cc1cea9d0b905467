/** Verification against tampering. Long because both verifiers are put through the same attacks, side by side. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { EMPTY_ROOT, hashChildren } from '../../protocol/hash.ts';
import { toHex, type Hex } from '../../protocol/hex.ts';
import {
  verifyConsistency,
  verifyInclusion,
  type ConsistencyClaim,
  type InclusionClaim,
} from '../../protocol/proof.ts';
import { ReferenceTree, testLeaf, testLeaves } from './reference-tree.ts';

const SIZE = 150;
const reference = new ReferenceTree(testLeaves(SIZE));
const GARBAGE: Hex = `0x${'ab'.repeat(32)}`;

function inclusionClaim(leafIndex: number, treeSize: number): InclusionClaim {
  return {
    leafHash: toHex(testLeaf(leafIndex)),
    leafIndex,
    treeSize,
    inclusion: reference.inclusion(leafIndex, treeSize).map(toHex),
    root: toHex(reference.root(treeSize)),
  };
}

function consistencyClaim(size1: number, size2: number): ConsistencyClaim {
  return {
    size1,
    root1: toHex(reference.root(size1)),
    size2,
    root2: toHex(reference.root(size2)),
    proof: reference.consistency(size1, size2).map(toHex),
  };
}

/** The hash with one bit flipped, for each of its 256 bits. */
function oneBitOff(hash: Hex): Hex[] {
  return Array.from({ length: 256 }, (_, bit) => {
    const bytes = new Uint8Array(Buffer.from(hash.slice(2), 'hex'));
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    return toHex(bytes);
  });
}

/** Every list that is one step of tampering away: a bit flipped, an element lost, repeated, put in, or two exchanged. */
function* tampered(proof: readonly Hex[], extra: readonly Hex[]): Generator<readonly Hex[]> {
  for (const [at, hash] of proof.entries()) {
    for (const flipped of oneBitOff(hash)) yield proof.with(at, flipped);
    yield proof.toSpliced(at, 1);
    if (at > 0) yield proof.with(at, proof[at - 1]!).with(at - 1, hash);
  }
  for (let at = 0; at <= proof.length; at++) {
    for (const inserted of [...extra, ...proof]) yield proof.toSpliced(at, 0, inserted);
  }
  if (proof.length > 1) yield proof.toReversed();
}

/** Values that no hash field may hold, whatever type the caller claims. */
const NOT_A_HASH: readonly unknown[] = [
  '',
  '0x',
  '0x00',
  `0x${'00'.repeat(31)}`,
  `0x${'00'.repeat(33)}`,
  `0x${'AB'.repeat(32)}`,
  'ab'.repeat(32),
  `0x${'0g'.repeat(32)}`,
  null,
  undefined,
  0,
  {},
  new Uint8Array(32),
];

const NOT_A_COUNT: readonly unknown[] = [-1, 0.5, Number.NaN, Infinity, 2 ** 53, 2 ** 64, '5', 5n, null, undefined, {}];

describe('verifyInclusion', () => {
  it('refuses every tampered proof', () => {
    for (const [index, size] of [
      [0, 2],
      [2, 3],
      [4, 7],
      [6, 7],
      [99, 100],
      [37, 150],
    ] as const) {
      const claim = inclusionClaim(index, size);
      assert.ok(verifyInclusion(claim));
      let count = 0;
      for (const inclusion of tampered(claim.inclusion, [claim.root, claim.leafHash, GARBAGE])) {
        assert.equal(verifyInclusion({ ...claim, inclusion }), false, `leaf ${index} of ${size}, variant ${count}`);
        count++;
      }
      assert.ok(count > 256 * claim.inclusion.length);
      for (const leafHash of oneBitOff(claim.leafHash)) assert.equal(verifyInclusion({ ...claim, leafHash }), false);
      for (const root of oneBitOff(claim.root)) assert.equal(verifyInclusion({ ...claim, root }), false);
    }
  });

  it('refuses a true proof for any other leaf of the tree', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: SIZE }), fc.nat(), fc.nat(), (size, a, b) => {
        const claim = inclusionClaim(a % size, size);
        const leafIndex = b % size;
        assert.equal(verifyInclusion({ ...claim, leafIndex }), leafIndex === claim.leafIndex);
      }),
      { numRuns: 1000 },
    );
  });

  it('refuses hashes beyond the root', () => {
    const [leaf, sibling] = [testLeaf(1), testLeaf(0)];
    const claim = { leafHash: toHex(leaf), inclusion: [toHex(sibling)], root: toHex(hashChildren(sibling, leaf)) };
    assert.ok(verifyInclusion({ ...claim, leafIndex: 1, treeSize: 2 }));
    assert.equal(verifyInclusion({ ...claim, leafIndex: 0, treeSize: 1 }), false);
  });

  it('refuses an inner node passed off as a leaf', () => {
    const claim = inclusionClaim(3, 8);
    const leafHash = toHex(reference.hash(2, 4));
    assert.ok(verifyInclusion({ ...claim, leafHash, leafIndex: 1, treeSize: 4, inclusion: claim.inclusion.slice(1) }));
    assert.equal(verifyInclusion({ ...claim, leafHash, inclusion: claim.inclusion.slice(1) }), false);
  });

  it('answers false to whatever is malformed', () => {
    const claim = inclusionClaim(37, 150) as unknown as Record<string, unknown>;
    const verify = (changed: object): boolean => verifyInclusion({ ...claim, ...changed } as unknown as InclusionClaim);
    assert.ok(verify({}));
    for (const bad of NOT_A_HASH) {
      assert.equal(verify({ leafHash: bad }), false);
      assert.equal(verify({ root: bad }), false);
      assert.equal(verify({ inclusion: [bad, ...(claim['inclusion'] as Hex[]).slice(1)] }), false);
    }
    for (const bad of NOT_A_COUNT) {
      assert.equal(verify({ leafIndex: bad }), false);
      assert.equal(verify({ treeSize: bad }), false);
    }
    for (const bad of [null, undefined, 'x', 3, {}, { length: 8 }]) assert.equal(verify({ inclusion: bad }), false);
    for (const bad of [null, undefined, 7, 'claim', {}, []]) {
      assert.equal(verifyInclusion(bad as InclusionClaim), false);
    }
    assert.equal(verify({ leafIndex: 150 }), false);
    assert.equal(verify({ inclusion: Array.from({ length: 100_000 }, () => GARBAGE) }), false);
  });
});

describe('verifyConsistency', () => {
  it('refuses every tampered proof', () => {
    for (const [size1, size2] of [
      [1, 2],
      [3, 4],
      [4, 7],
      [6, 7],
      [64, 100],
      [99, 150],
    ] as const) {
      const claim = consistencyClaim(size1, size2);
      assert.ok(verifyConsistency(claim));
      let count = 0;
      for (const proof of tampered(claim.proof, [claim.root1, claim.root2, GARBAGE])) {
        assert.equal(verifyConsistency({ ...claim, proof }), false, `${size1} to ${size2}, variant ${count}`);
        count++;
      }
      assert.ok(count > 256 * claim.proof.length);
      for (const root1 of oneBitOff(claim.root1)) assert.equal(verifyConsistency({ ...claim, root1 }), false);
      for (const root2 of oneBitOff(claim.root2)) assert.equal(verifyConsistency({ ...claim, root2 }), false);
      assert.equal(verifyConsistency({ ...claim, size1: size2, size2: size1 }), false);
    }
  });

  it('refuses a tree that does not extend the first one', () => {
    const forked = new ReferenceTree(testLeaves(SIZE));
    (forked.leaves as Uint8Array[])[40] = testLeaf(SIZE + 1);
    for (const size2 of [64, 65, 127, 150]) {
      const proof = forked.consistency(60, size2).map(toHex);
      const claim = { size1: 60, size2, root2: toHex(forked.root(size2)), proof };
      assert.ok(verifyConsistency({ ...claim, root1: toHex(forked.root(60)) }));
      assert.equal(verifyConsistency({ ...claim, root1: toHex(reference.root(60)) }), false);
    }
  });

  it('refuses hashes beyond the roots', () => {
    const more = testLeaf(SIZE + 2);
    const above = (size: number): Hex => toHex(hashChildren(more, reference.root(size)));
    const { proof } = consistencyClaim(3, 4);
    const claim = { size1: 3, root1: above(3), size2: 4, root2: above(4), proof: [...proof, toHex(more)] };
    assert.equal(verifyConsistency(claim), false);
    // The same hashes are a true proof one level higher, where the left half of the tree is `more`.
    assert.ok(verifyConsistency({ ...claim, size1: 7, size2: 8 }));
  });

  it('refuses a first tree that is larger than the second, whatever the hashes', () => {
    const [first, second] = [testLeaf(1), testLeaf(2)];
    const proof = [toHex(first), toHex(second)];
    const root2 = toHex(hashChildren(first, second));
    assert.equal(verifyConsistency({ size1: 3, root1: toHex(first), size2: 2, root2, proof }), false);
  });

  it('takes equal sizes for consistent if the roots are equal and the proof is empty', () => {
    const root = toHex(reference.root(9));
    const claim = { size1: 9, root1: root, size2: 9, root2: root, proof: [] };
    assert.ok(verifyConsistency(claim));
    assert.equal(verifyConsistency({ ...claim, root2: toHex(reference.root(10)) }), false);
    assert.equal(verifyConsistency({ ...claim, proof: [root] }), false);
  });

  it('takes nothing for the start of a tree, except of the empty one itself', () => {
    const empty = toHex(EMPTY_ROOT);
    assert.ok(verifyConsistency({ size1: 0, root1: empty, size2: 0, root2: empty, proof: [] }));
    assert.equal(verifyConsistency({ size1: 0, root1: GARBAGE, size2: 0, root2: GARBAGE, proof: [] }), false);
    for (const proof of [[], [empty], [toHex(reference.root(5))]]) {
      assert.equal(
        verifyConsistency({ size1: 0, root1: empty, size2: 5, root2: toHex(reference.root(5)), proof }),
        false,
      );
    }
  });

  it('answers false to whatever is malformed', () => {
    const claim = consistencyClaim(99, 150) as unknown as Record<string, unknown>;
    const verify = (changed: object): boolean =>
      verifyConsistency({ ...claim, ...changed } as unknown as ConsistencyClaim);
    assert.ok(verify({}));
    for (const bad of NOT_A_HASH) {
      assert.equal(verify({ root1: bad }), false);
      assert.equal(verify({ root2: bad }), false);
      const proof = claim['proof'] as Hex[];
      for (let at = 0; at < proof.length; at++) assert.equal(verify({ proof: proof.with(at, bad as Hex) }), false);
      assert.equal(verifyConsistency({ ...consistencyClaim(64, 150), root1: bad as Hex }), false);
    }
    for (const bad of NOT_A_COUNT) {
      assert.equal(verify({ size1: bad }), false);
      assert.equal(verify({ size2: bad }), false);
    }
    for (const bad of [null, undefined, 'x', 3, {}, { length: 8 }]) assert.equal(verify({ proof: bad }), false);
    for (const bad of [null, undefined, 7, 'claim', {}, []]) {
      assert.equal(verifyConsistency(bad as ConsistencyClaim), false);
    }
    assert.equal(verify({ proof: Array.from({ length: 100_000 }, () => GARBAGE) }), false);
  });
});
