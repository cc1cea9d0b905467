/**
 * secp256k1 signatures: one canonical form, 65 bytes r || s || v with low s and v 27 or 28 (design section 5). KMS
 * answers DER, half the time with high s and never with v; `normalizeSignature` is the only way from there to here.
 */
import { secp256k1 } from '@noble/curves/secp256k1.js';
import { keccak_256 } from '@noble/hashes/sha3.js';
import { concatBytes, fromHex, toHex, type Hex } from './hex.ts';

/**
 * Why a signature was refused. `length`, `encoding`: not the form asked for. `range`: r or s outside 1..n-1. `high-s`,
 * `recovery-id`: readable, but not canonical. `unrecoverable`: no public key fits. `wrong-signer`: another key made it.
 */
export type SignatureFault =
  'length' | 'encoding' | 'range' | 'high-s' | 'recovery-id' | 'unrecoverable' | 'wrong-signer';

/** A refused signature. `fault` is stable; the message is for people and names no bytes. */
export class SignatureError extends Error {
  readonly fault: SignatureFault;

  constructor(fault: SignatureFault, message: string) {
    super(message);
    this.name = 'SignatureError';
    this.fault = fault;
  }
}

/** An ECDSA signature as numbers, both in 1..n-1. */
export interface RawSignature {
  readonly r: bigint;
  readonly s: bigint;
}

const ORDER: bigint = secp256k1.Point.Fn.ORDER;
const HALF_ORDER: bigint = ORDER / 2n;

function bigintOf(bytes: Uint8Array): bigint {
  return BigInt(toHex(bytes));
}

function wordOf(value: bigint): Uint8Array {
  return fromHex(`0x${value.toString(16).padStart(64, '0')}`, 32);
}

function inRange(r: bigint, s: bigint): RawSignature {
  if (r < 1n || r >= ORDER || s < 1n || s >= ORDER) throw new SignatureError('range', 'r or s is outside 1..n-1');
  return { r, s };
}

/**
 * Reads the canonical form. `yParity` is v - 27.
 * @throws SignatureError for anything but 65 bytes of lower-case hex with r, s in 1..n-1, low s and v 27 or 28.
 */
export function parseSignature(signature: string): RawSignature & { readonly yParity: 0 | 1 } {
  let bytes: Uint8Array;
  try {
    bytes = fromHex(signature);
  } catch {
    throw new SignatureError('encoding', 'the signature is not lower-case 0x hex');
  }
  if (bytes.length !== 65) throw new SignatureError('length', `the signature has ${bytes.length} bytes, not 65`);
  const { r, s } = inRange(bigintOf(bytes.subarray(0, 32)), bigintOf(bytes.subarray(32, 64)));
  if (s > HALF_ORDER) throw new SignatureError('high-s', 's is in the upper half of the order');
  const v = bytes[64];
  if (v !== 27 && v !== 28) throw new SignatureError('recovery-id', `v is ${v}, not 27 or 28`);
  return { r, s, yParity: v === 27 ? 0 : 1 };
}

/** Address of an uncompressed public key (65 bytes, 0x04 first): the last 20 bytes of keccak256 of its coordinates. */
export function addressOfPublicKey(publicKey: Uint8Array): Hex {
  if (publicKey.length !== 65 || publicKey[0] !== 4) throw new TypeError('expected 65 bytes that start with 0x04');
  // Parsing refuses a point off the curve: such bytes are no key, and their hash would be an address nobody can use.
  secp256k1.Point.fromBytes(publicKey);
  return toHex(keccak_256(publicKey.subarray(1)).subarray(12));
}

function recover(digest: Uint8Array, { r, s }: RawSignature, yParity: 0 | 1): Hex | undefined {
  let publicKey: Uint8Array;
  try {
    publicKey = new secp256k1.Signature(r, s, yParity).recoverPublicKey(digest).toBytes(false);
  } catch {
    // No curve point has this r, or the key would be the point at infinity.
    return undefined;
  }
  return addressOfPublicKey(publicKey);
}

/**
 * The address whose key made `signature` over the 32-byte `digest`, lower case.
 * @throws SignatureError when it is not canonical or no key fits; TypeError when the digest is not 32 bytes of hex.
 */
export function recoverSigner(digest: Hex, signature: string): Hex {
  const message = fromHex(digest, 32);
  const parsed = parseSignature(signature);
  const signer = recover(message, parsed, parsed.yParity);
  if (signer === undefined) throw new SignatureError('unrecoverable', 'no public key fits the signature');
  return signer;
}

/**
 * Reads a DER `SEQUENCE { INTEGER r, INTEGER s }` strictly: definite short lengths, minimal positive integers in
 * 1..n-1, nothing left over (X.690 sections 8.3 and 10.1). High s is allowed here; that is what DER comes with.
 * @throws SignatureError
 */
export function parseDerSignature(der: Uint8Array): RawSignature {
  const fail = (what: string): never => {
    throw new SignatureError('encoding', `not a strict DER signature: ${what}`);
  };
  // 2 + 2 * (2 + 33) bytes at most, so every length fits the short form.
  if (der.length < 8 || der.length > 72)
    throw new SignatureError('length', `a DER signature has no ${der.length} bytes`);
  if (der[0] !== 0x30 || der[1] !== der.length - 2) fail('the sequence does not span the bytes');
  const integerAt = (at: number): { value: bigint; end: number } => {
    const length = der[at + 1] ?? 0;
    const end = at + 2 + length;
    if (der[at] !== 0x02 || length === 0 || length > 33 || end > der.length) fail('an integer is malformed');
    const first = der[at + 2] ?? 0;
    const second = der[at + 3] ?? 0;
    if (first >= 0x80) fail('an integer is negative');
    if (first === 0 && length > 1 && second < 0x80) fail('an integer is not minimal');
    return { value: bigintOf(der.subarray(at + 2, end)), end };
  };
  const r = integerAt(2);
  const s = integerAt(r.end);
  if (s.end !== der.length) fail('bytes are left over');
  return inRange(r.value, s.value);
}

/**
 * Turns a DER signature into the canonical form: lowers s, and finds v as the one that recovers to `expectedAddress`.
 * @throws SignatureError `wrong-signer` when neither does (another key's signature, or one over another digest).
 */
export function normalizeSignature(der: Uint8Array, digest: Hex, expectedAddress: Hex): Hex {
  const message = fromHex(digest, 32);
  const { r, s } = parseDerSignature(der);
  const low = { r, s: s > HALF_ORDER ? ORDER - s : s };
  for (const yParity of [0, 1] as const) {
    if (recover(message, low, yParity) === expectedAddress) {
      return toHex(concatBytes(wordOf(low.r), wordOf(low.s), new Uint8Array([27 + yParity])));
    }
  }
  throw new SignatureError('wrong-signer', 'the signature does not recover to the expected signer');
}
