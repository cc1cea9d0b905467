/** Public keys as key services hand them out: DER SubjectPublicKeyInfo, read by its exact prefix. */
import { fromHex, toHex } from './hex.ts';

/** Everything before the key itself, and the key's bytes: RFC 5480 with SEC 2, and RFC 8410. */
const KINDS = {
  secp256k1: { prefix: fromHex('0x3056301006072a8648ce3d020106052b8104000a034200'), size: 65 },
  ed25519: { prefix: fromHex('0x302a300506032b6570032100'), size: 32 },
} as const;

/**
 * The key in a SubjectPublicKeyInfo: an uncompressed point (65 bytes), or an Ed25519 key (32 bytes).
 * @throws TypeError when it is of another kind or form
 */
export function keyOfSpki(spki: Uint8Array, kind: keyof typeof KINDS): Uint8Array {
  const { prefix, size } = KINDS[kind];
  if (spki.length !== prefix.length + size || toHex(spki.subarray(0, prefix.length)) !== toHex(prefix)) {
    throw new TypeError(`the public key is not one of ${kind}`);
  }
  return spki.subarray(prefix.length);
}
