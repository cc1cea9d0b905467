import { p256 } from '@noble/curves/nist.js';
import { secp256k1 } from '@noble/curves/secp256k1.js';
import { createHash, createPrivateKey, createPublicKey, randomBytes, sign as nodeSign } from 'node:crypto';
import type { SignatureFaults } from './signature-faults.ts';
import { encodeEcdsa, spoil } from './signature-faults.ts';

/** What can be created. Others exist at AWS; here they are refused by name. */
export const keySpecs = {
  ECC_SECG_P256K1: { usages: ['SIGN_VERIFY'], signingAlgorithms: ['ECDSA_SHA_256'] },
  ECC_NIST_P256: { usages: ['SIGN_VERIFY', 'KEY_AGREEMENT'], signingAlgorithms: ['ECDSA_SHA_256'] },
  ECC_NIST_EDWARDS25519: { usages: ['SIGN_VERIFY'], signingAlgorithms: ['ED25519_SHA_512', 'ED25519_PH_SHA_512'] },
  SYMMETRIC_DEFAULT: { usages: ['ENCRYPT_DECRYPT'], signingAlgorithms: [] },
} as const satisfies Record<string, { usages: readonly string[]; signingAlgorithms: readonly string[] }>;

export type KeySpec = keyof typeof keySpecs;
export type KeyUsage = (typeof keySpecs)[KeySpec]['usages'][number];

export const keySpecNames = Object.keys(keySpecs) as [KeySpec, ...KeySpec[]];
export const keyUsageNames = ['SIGN_VERIFY', 'KEY_AGREEMENT', 'ENCRYPT_DECRYPT'] as const satisfies readonly KeyUsage[];

// SubjectPublicKeyInfo up to the key's own bytes: RFC 5480 (uncompressed point follows), RFC 8410 (32 bytes follow).
const spkiPrefix = {
  ECC_SECG_P256K1: Buffer.from('3056301006072a8648ce3d020106052b8104000a034200', 'hex'),
  ECC_NIST_P256: Buffer.from('3059301306072a8648ce3d020106082a8648ce3d030107034200', 'hex'),
};
// PrivateKeyInfo of an Ed25519 seed, RFC 8410 section 7.
const ed25519Pkcs8Prefix = Buffer.from('302e020100300506032b657004220420', 'hex');

function ed25519PrivateKey(seed: Uint8Array) {
  return createPrivateKey({ key: Buffer.concat([ed25519Pkcs8Prefix, seed]), format: 'der', type: 'pkcs8' });
}

function curveOf(spec: 'ECC_SECG_P256K1' | 'ECC_NIST_P256') {
  return spec === 'ECC_SECG_P256K1' ? secp256k1 : p256;
}

/** New private key material: 32 bytes (a scalar, an Ed25519 seed, or a symmetric key that nothing here uses). */
export function generateSecret(spec: KeySpec): Uint8Array {
  return spec === 'ECC_SECG_P256K1' || spec === 'ECC_NIST_P256'
    ? curveOf(spec).utils.randomSecretKey()
    : randomBytes(32);
}

/** The public key as KMS gives it: DER SubjectPublicKeyInfo; null for a symmetric key. */
export function publicKeyDer(spec: KeySpec, secret: Uint8Array): Uint8Array | null {
  switch (spec) {
    case 'SYMMETRIC_DEFAULT':
      return null;
    case 'ECC_NIST_EDWARDS25519':
      return createPublicKey(ed25519PrivateKey(secret)).export({ format: 'der', type: 'spki' });
    case 'ECC_SECG_P256K1':
    case 'ECC_NIST_P256':
      return Buffer.concat([spkiPrefix[spec], curveOf(spec).getPublicKey(secret, false)]);
  }
}

/**
 * ECDSA, DER. `RAW` is hashed with SHA-256 first, `DIGEST` is signed as given (Node's own crypto would hash it once more). The nonce is
 * hedged, so the same digest gives another signature every time, and s is left where it falls: in the upper half of the order every
 * second time, as with KMS.
 */
export function signEcdsa(
  spec: 'ECC_SECG_P256K1' | 'ECC_NIST_P256',
  secret: Uint8Array,
  message: Uint8Array,
  messageType: 'RAW' | 'DIGEST',
  faults: SignatureFaults,
): Uint8Array {
  const curve = curveOf(spec);
  const digest = messageType === 'RAW' ? createHash('sha256').update(message).digest() : message;
  const key = faults.otherKey ? curve.utils.randomSecretKey() : secret;
  return encodeEcdsa(curve.Point.Fn.ORDER, faults, () => {
    const bytes = curve.sign(digest, key, { prehash: false, lowS: false, extraEntropy: true });
    return curve.Signature.fromBytes(bytes);
  });
}

/** Ed25519 (RFC 8032, pure): 64 bytes over the message itself. */
export function signEd25519(secret: Uint8Array, message: Uint8Array, faults: SignatureFaults): Uint8Array {
  const key = ed25519PrivateKey(faults.otherKey ? randomBytes(32) : secret);
  return spoil(nodeSign(null, message, key), faults);
}
