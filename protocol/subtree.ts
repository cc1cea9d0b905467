/**
 * Which complete subtrees a root or a proof is made of: RFC 9162 sections 2.1.3.1 and 2.1.4.1, planned on numbers alone.
 *
 * A tree of `size` leaves is walked as ranges of leaves. A range that a proof names is either complete (its length a
 * power of two, and aligned to it) or the ragged right edge of the tree, which is a row of complete subtrees of falling
 * height. Sizes run to 2^53 - 1, so no 32-bit operator ever touches one.
 */

/** A complete subtree: the hash over the leaves `index * 2^level` up to, not including, `(index + 1) * 2^level`. */
export interface TreeNode {
  readonly level: number;
  readonly index: number;
}

/** Leaves `begin` up to, not including, `end`. */
export interface LeafRange {
  readonly begin: number;
  readonly end: number;
}

/**
 * Passes a tree size (or any count of leaves) on.
 * @throws RangeError unless it is an integer in 0…2^53-1.
 */
export function checkSize(size: number, name = 'size'): number {
  if (!Number.isSafeInteger(size) || size < 0) throw new RangeError(`${name} must be an integer in 0…2^53-1`);
  return size;
}

/** Exponent of the largest power of two that is not above `n`, for n in 1…2^53-1 (`Math.log2` rounds up near 2^53). */
function floorLog2(n: number): number {
  const high = Math.floor(n / 2 ** 32);
  return high > 0 ? 63 - Math.clz32(high) : 31 - Math.clz32(n);
}

/** The largest power of two strictly below `n`, for n ≥ 2: where RFC 9162 splits a tree of n leaves. */
function splitPoint(n: number): number {
  return 2 ** floorLog2(n - 1);
}

/**
 * The complete subtrees that make up a range, left to right. The range must begin at a multiple of the smallest power of
 * two that is not below its length, as every range of a walk from the root does.
 */
export function rangeNodes({ begin, end }: LeafRange): TreeNode[] {
  const nodes: TreeNode[] = [];
  for (let at = begin; at < end;) {
    const level = floorLog2(end - at);
    const width = 2 ** level;
    nodes.push({ level, index: at / width });
    at += width;
  }
  return nodes;
}

/**
 * The ranges whose hashes are the inclusion proof of leaf `index` in the tree of `size` leaves, in the proof's order
 * (RFC 9162 section 2.1.3.1: from the leaf's sibling up).
 * @throws RangeError unless 0 ≤ index < size ≤ 2^53-1.
 */
export function inclusionRanges(index: number, size: number): LeafRange[] {
  checkSize(size);
  if (checkSize(index, 'index') >= size) throw new RangeError('index must be below size');
  const ranges: LeafRange[] = [];
  let begin = 0;
  let end = size;
  while (end - begin > 1) {
    const middle = begin + splitPoint(end - begin);
    if (index < middle) {
      ranges.push({ begin: middle, end });
      end = middle;
    } else {
      ranges.push({ begin, end: middle });
      begin = middle;
    }
  }
  return ranges.toReversed();
}

/**
 * The ranges whose hashes are the consistency proof between the trees of `size1` and `size2` leaves, in the proof's
 * order (RFC 9162 section 2.1.4.1). None if the sizes are equal.
 * @throws RangeError unless 1 ≤ size1 ≤ size2 ≤ 2^53-1, or both are 0: between nothing and a tree there is nothing to prove.
 */
export function consistencyRanges(size1: number, size2: number): LeafRange[] {
  checkSize(size2, 'size2');
  if (checkSize(size1, 'size1') > size2) throw new RangeError('size1 must not be above size2');
  if (size1 === size2) return [];
  if (size1 === 0) throw new RangeError('there is no consistency proof from size 0');
  const ranges: LeafRange[] = [];
  let begin = 0;
  let end = size2;
  while (end !== size1) {
    const middle = begin + splitPoint(end - begin);
    if (size1 <= middle) {
      ranges.push({ begin: middle, end });
      end = middle;
    } else {
      ranges.push({ begin, end: middle });
      begin = middle;
    }
  }
  // The walk ended on a subtree that both trees share. If it is the whole first tree, the verifier holds its root already.
  if (begin > 0) ranges.push({ begin, end });
  return ranges.toReversed();
}

/**
 * The complete subtrees under the root of the tree of `size` leaves, left to right; none for size 0.
 * @throws RangeError on a size outside 0…2^53-1.
 */
export function rootNodes(size: number): TreeNode[] {
  return rangeNodes({ begin: 0, end: checkSize(size) });
}

/** The complete subtrees that an inclusion proof is computed from. Throws as `inclusionRanges` does. */
export function inclusionNodes(index: number, size: number): TreeNode[] {
  return inclusionRanges(index, size).flatMap(rangeNodes);
}

/** The complete subtrees that a consistency proof is computed from. Throws as `consistencyRanges` does. */
export function consistencyNodes(size1: number, size2: number): TreeNode[] {
  return consistencyRanges(size1, size2).flatMap(rangeNodes);
}
