/**
 * A tree that only grows and of which only the root is wanted: no more is held than the complete subtrees under the root
 * (RFC 9162 section 2.1.1), one for each bit of the size.
 */
import { sha256 } from '@noble/hashes/sha2.js';
import { EMPTY_ROOT, HASH_SIZE, type Sha256 } from './hash.ts';
import { checkSize, rootNodes } from './subtree.ts';

export class CompactRange {
  #size: number;
  /** Left to right: the largest subtree first. */
  readonly #nodes: Uint8Array[];
  readonly #sha256: Sha256;
  readonly #message = new Uint8Array(1 + 2 * HASH_SIZE);

  /**
   * @param nodes the subtrees that `rootNodes(size)` names, 32 bytes each
   * @throws RangeError on a size outside 0…2^53-1; TypeError when the subtrees are not as many as the size has
   */
  constructor(size = 0, nodes: readonly Uint8Array[] = [], hash: Sha256 = sha256) {
    this.#size = checkSize(size);
    if (nodes.length !== rootNodes(size).length)
      throw new TypeError(`a tree of ${size} has another number of subtrees`);
    this.#nodes = [...nodes];
    this.#sha256 = hash;
    this.#message[0] = 1;
  }

  /** Leaves so far. */
  get size(): number {
    return this.#size;
  }

  /** Appends the hash of a leaf (32 bytes, not copied). */
  append(leafHash: Uint8Array): void {
    let hash = leafHash;
    // Each trailing one bit of the size is a subtree that this leaf makes complete.
    for (let size = this.#size; size % 2 === 1; size = (size - 1) / 2) hash = this.#children(this.#nodes.pop()!, hash);
    this.#nodes.push(hash);
    this.#size++;
  }

  /** Root of the tree as it is now. */
  root(): Uint8Array {
    const nodes = [...this.#nodes];
    let root = nodes.pop();
    while (root !== undefined && nodes.length > 0) root = this.#children(nodes.pop()!, root);
    return root ?? EMPTY_ROOT;
  }

  #children(left: Uint8Array, right: Uint8Array): Uint8Array {
    this.#message.set(left, 1);
    this.#message.set(right, 1 + HASH_SIZE);
    return this.#sha256(this.#message);
  }
}
