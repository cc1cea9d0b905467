/**
 * The tree as RFC 9162 section 2.1 writes it down: recursive, over all leaves, hashed by Node. It shares no code and no
 * idea with protocol/, so that agreement means something. Subtrees are remembered, so that large trees can be asked about.
 */
import { hash } from 'node:crypto';

const NODE = Buffer.of(1);

/** The hash of leaf number `index` in the trees of these tests. */
export function testLeaf(index: number): Uint8Array {
  return new Uint8Array(hash('sha256', `\0entry ${index}`, 'buffer'));
}

export function testLeaves(count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, index) => testLeaf(index));
}

/** Largest power of two below n (n > 1), by counting up. */
function split(n: number): number {
  let k = 1;
  while (k * 2 < n) k *= 2;
  return k;
}

export class ReferenceTree {
  readonly leaves: readonly Uint8Array[];
  readonly #known = new Map<number, Buffer>();
  readonly #rememberFrom: number;

  /** @param rememberFrom subtrees of fewer leaves are hashed anew each time, which keeps large trees small in memory. */
  constructor(leaves: readonly Uint8Array[], rememberFrom = 2) {
    this.#rememberFrom = rememberFrom;
    this.leaves = leaves;
  }

  /** MTH(D[begin:end]). */
  hash(begin: number, end: number): Buffer {
    const width = end - begin;
    if (width === 0) return hash('sha256', '', 'buffer');
    if (width === 1) return Buffer.from(this.leaves[begin] ?? assertNever());
    const key = begin * 2 ** 21 + end;
    let known = this.#known.get(key);
    if (known === undefined) {
      const k = split(width);
      const parts = [NODE, this.hash(begin, begin + k), this.hash(begin + k, end)];
      known = hash('sha256', Buffer.concat(parts, 65), 'buffer');
      if (width >= this.#rememberFrom) this.#known.set(key, known);
    }
    return known;
  }

  root(size: number): Buffer {
    return this.hash(0, size);
  }

  /** PATH(m, D[begin:end]), m counted from `begin`. */
  path(m: number, begin: number, end: number): Buffer[] {
    if (end - begin === 1) return [];
    const k = split(end - begin);
    return m < k
      ? [...this.path(m, begin, begin + k), this.hash(begin + k, end)]
      : [...this.path(m - k, begin + k, end), this.hash(begin, begin + k)];
  }

  /** SUBPROOF(m, D[begin:end], whole). */
  subproof(m: number, begin: number, end: number, whole: boolean): Buffer[] {
    if (m === end - begin) return whole ? [] : [this.hash(begin, end)];
    const k = split(end - begin);
    return m <= k
      ? [...this.subproof(m, begin, begin + k, whole), this.hash(begin + k, end)]
      : [...this.subproof(m - k, begin + k, end, false), this.hash(begin, begin + k)];
  }

  inclusion(index: number, size: number): Buffer[] {
    return this.path(index, 0, size);
  }

  consistency(size1: number, size2: number): Buffer[] {
    return this.subproof(size1, 0, size2, true);
  }
}

function assertNever(): never {
  throw new Error('the reference tree was asked beyond its leaves');
}
