/** Inclusion and consistency proofs: made from tiles, and verified from hex alone (RFC 9162 sections 2.1.3 and 2.1.4). */
import { EMPTY_ROOT, HASH_SIZE, hashChildren } from './hash.ts';
import { equalBytes, fromHex, isHex, toHex, type Hex } from './hex.ts';
import { consistencyRanges, inclusionRanges } from './subtree.ts';
import type { TileSet } from './tile.ts';

/**
 * Inclusion proof of leaf `index` in the tree of `size` leaves (RFC 9162 section 2.1.3.1), from the tiles that
 * `tilesForNodes(inclusionNodes(index, size), size)` names.
 * @throws RangeError unless 0 ≤ index < size ≤ 2^53-1; TileError if a tile is missing or too short.
 */
export function inclusionProof(tiles: TileSet, index: number, size: number): Uint8Array[] {
  return inclusionRanges(index, size).map((range) => tiles.rangeHash(range));
}

/**
 * Consistency proof between the trees of `size1` and `size2` leaves (RFC 9162 section 2.1.4.1), from the tiles that
 * `tilesForNodes(consistencyNodes(size1, size2), size2)` names. Empty if the sizes are equal.
 * @throws RangeError unless 1 ≤ size1 ≤ size2 ≤ 2^53-1, or both are 0; TileError if a tile is missing or too short.
 */
export function consistencyProof(tiles: TileSet, size1: number, size2: number): Uint8Array[] {
  return consistencyRanges(size1, size2).map((range) => tiles.rangeHash(range));
}

/** What `verifyInclusion` is given. Hashes are 32 bytes of lower-case `0x` hex; index and size are counts of leaves. */
export interface InclusionClaim {
  readonly leafHash: Hex;
  readonly leafIndex: number;
  readonly treeSize: number;
  readonly inclusion: readonly Hex[];
  readonly root: Hex;
}

/** What `verifyConsistency` is given. Hashes are 32 bytes of lower-case `0x` hex; sizes are counts of leaves. */
export interface ConsistencyClaim {
  readonly size1: number;
  readonly root1: Hex;
  readonly size2: number;
  readonly root2: Hex;
  readonly proof: readonly Hex[];
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** The two numbers that a verification walks up with, shifted together: positions among the nodes of one level. */
class Climb {
  first: number;
  last: number;

  constructor(first: number, last: number) {
    this.first = first;
    this.last = last;
  }

  /** Whether the next hash of the proof stands on the left. */
  get siblingIsLeft(): boolean {
    return this.first % 2 === 1 || this.first === this.last;
  }

  up(): void {
    this.first = Math.floor(this.first / 2);
    this.last = Math.floor(this.last / 2);
  }

  /** Skips the levels on which the right edge has no sibling. */
  skip(): void {
    while (this.first % 2 === 0 && this.first !== 0) this.up();
  }
}

/**
 * Whether `leafHash` is leaf `leafIndex` of the tree of `treeSize` leaves with root `root` (RFC 9162 section 2.1.3.2).
 * Input from anywhere: whatever is malformed, negative, huge, too long or too short gives false; nothing throws.
 */
export function verifyInclusion(claim: InclusionClaim): boolean {
  if (typeof claim !== 'object' || claim === null) return false;
  const { leafHash, leafIndex, treeSize, inclusion, root } = claim;
  if (!isSize(leafIndex) || !isSize(treeSize) || leafIndex >= treeSize) return false;
  if (!isHex(leafHash, HASH_SIZE) || !isHex(root, HASH_SIZE) || !Array.isArray(inclusion)) return false;

  const climb = new Climb(leafIndex, treeSize - 1);
  let hash = fromHex(leafHash);
  for (const sibling of inclusion as readonly unknown[]) {
    if (climb.last === 0 || !isHex(sibling, HASH_SIZE)) return false;
    if (climb.siblingIsLeft) {
      hash = hashChildren(fromHex(sibling), hash);
      climb.skip();
    } else {
      hash = hashChildren(hash, fromHex(sibling));
    }
    climb.up();
  }
  return climb.last === 0 && toHex(hash) === root;
}

/**
 * Whether the tree of `size2` leaves with root `root2` extends the tree of `size1` leaves with root `root1`
 * (RFC 9162 section 2.1.4.2). Input from anywhere: malformed input gives false; nothing throws.
 *
 * Equal sizes: true if the roots are equal and the proof is empty, and for size 0 only if the root is the one that every
 * empty tree has. From size 0 to a larger one the answer is false: the RFC defines no proof, so nothing was proved. Who
 * starts from nothing accepts any tree, knowingly, without asking here.
 */
export function verifyConsistency(claim: ConsistencyClaim): boolean {
  if (typeof claim !== 'object' || claim === null) return false;
  const { size1, root1, size2, root2, proof } = claim;
  if (!isSize(size1) || !isSize(size2) || size1 > size2) return false;
  if (!isHex(root1) || !isHex(root2) || !Array.isArray(proof)) return false;
  if (size1 === size2) {
    // The length of the roots is not looked at here: the statement is that they are one and the same.
    return proof.length === 0 && root1 === root2 && (size1 > 0 || equalBytes(fromHex(root1), EMPTY_ROOT));
  }
  if (size1 === 0 || proof.length === 0) return false;

  const climb = new Climb(size1 - 1, size2 - 1);
  while (climb.first % 2 === 1) climb.up();
  // A first tree that is complete is itself the subtree to start from; its root is not repeated in the proof.
  const path: readonly unknown[] = climb.first === 0 ? [root1, ...proof] : proof;
  const [start, ...rest] = path;
  if (!isHex(start, HASH_SIZE)) return false;
  let hash1 = fromHex(start);
  let hash2 = hash1;
  for (const sibling of rest) {
    if (climb.last === 0 || !isHex(sibling, HASH_SIZE)) return false;
    const other = fromHex(sibling);
    if (climb.siblingIsLeft) {
      hash1 = hashChildren(other, hash1);
      hash2 = hashChildren(other, hash2);
      climb.skip();
    } else {
      hash2 = hashChildren(hash2, other);
    }
    climb.up();
  }
  return climb.last === 0 && toHex(hash1) === root1 && toHex(hash2) === root2;
}
