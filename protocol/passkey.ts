/**
 * Assertions of passkeys (WebAuthn level 3, section 7.2), as far as anybody can check them: the challenge, that a user was there and
 * verified, and the signature under the key that is given.
 */
import { ed25519 } from '@noble/curves/ed25519.js';
import { p256 } from '@noble/curves/nist.js';
import { sha256 } from '@noble/hashes/sha2.js';
import type { PasskeyApproval } from './certificate.ts';
import { concatBytes, equalBytes, fromHex, utf8, type Hex } from './hex.ts';

/**
 * COSE algorithms that a passkey of custody may have: EdDSA, ES256, RS256. One list for the page that asks, for both that judge, and for
 * `verifies` below: what an approval was taken from, a certificate has to be able to show.
 */
export const PASSKEY_ALGORITHMS: readonly number[] = [-8, -7, -257];

/** Bits of authenticatorData's flags (section 6.1). */
const USER_PRESENT = 0x01;
const USER_VERIFIED = 0x04;

/** What is wrong with an assertion over a digest, or undefined. */
export function assertionFault(approval: PasskeyApproval, digest: Hex): string | undefined {
  let client: unknown;
  try {
    client = JSON.parse(approval.clientDataJSON);
  } catch {
    return 'its client data is not JSON';
  }
  const { type, challenge } = (client ?? {}) as { type?: unknown; challenge?: unknown };
  if (type !== 'webauthn.get') return 'it is no assertion';
  if (challenge !== base64url(fromHex(digest, 32))) return 'its challenge is not the approval of this handover';
  const data = fromHex(approval.authenticatorData);
  // RP id hash, flags, counter.
  const flags = data[32];
  if (data.length < 37 || flags === undefined) return 'its authenticator data is too short';
  if ((flags & USER_PRESENT) === 0 || (flags & USER_VERIFIED) === 0) return 'no user was verified';
  const signed = concatBytes(data, sha256(utf8(approval.clientDataJSON)));
  const key = coseKey(fromHex(approval.publicKey));
  if (key === undefined) return 'its public key is none that can be read';
  return verifies(key, fromHex(approval.signature), signed) ? undefined : 'its signature is not the passkey’s';
}

function verifies(key: Map<number, number | Uint8Array>, signature: Uint8Array, signed: Uint8Array): boolean {
  const bytes = (label: number): Uint8Array => {
    const value = key.get(label);
    return value instanceof Uint8Array ? value : new Uint8Array();
  };
  try {
    const algorithm = key.get(3);
    if (algorithm === -7) {
      const point = concatBytes(Uint8Array.of(4), bytes(-2), bytes(-3));
      return p256.verify(signature, signed, point, { format: 'der', lowS: false });
    }
    if (algorithm === -8) return ed25519.verify(signature, signed, bytes(-2));
    return algorithm === -257 && rsaVerifies(bytes(-1), bytes(-2), signature, sha256(signed));
  } catch {
    return false; // no point, no signature: not the passkey's
  }
}

/** DigestInfo of SHA-256 (RFC 8017, section 9.2, note 1). */
const SHA256_INFO = fromHex('0x3031300d060960864801650304020105000420');

/** RSASSA-PKCS1-v1_5 (RFC 8017, section 8.2.2). */
function rsaVerifies(modulus: Uint8Array, exponent: Uint8Array, signature: Uint8Array, hash: Uint8Array): boolean {
  const size = modulus.length;
  const n = integerOf(modulus);
  const s = integerOf(signature);
  if (size < 128 || size > 1_024 || exponent.length > 4 || signature.length !== size || s >= n) return false;
  const info = concatBytes(SHA256_INFO, hash);
  const padding = new Uint8Array(size - info.length - 3).fill(0xff);
  const expected = concatBytes(Uint8Array.of(0, 1), padding, Uint8Array.of(0), info);
  return power(s, integerOf(exponent), n) === integerOf(expected);
}

function integerOf(bytes: Uint8Array): bigint {
  let value = 0n;
  for (const byte of bytes) value = value * 256n + BigInt(byte);
  return value;
}

function power(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let result = 1n;
  let square = base % modulus;
  for (let left = exponent; left > 0n; left /= 2n) {
    if (left % 2n === 1n) result = (result * square) % modulus;
    square = (square * square) % modulus;
  }
  return result;
}

/** A COSE_Key as authenticators write it: one CBOR map of integers and byte strings. Undefined for anything else. */
function coseKey(cbor: Uint8Array): Map<number, number | Uint8Array> | undefined {
  let at = 0;
  const head = (): { major: number; value: number } | undefined => {
    const first = cbor[at++];
    if (first === undefined) return undefined;
    const small = first & 0x1f;
    if (small < 24) return { major: first >> 5, value: small };
    if (small > 25) return undefined; // nothing in a key is longer than 65,535 bytes
    let value = 0;
    for (let length = small === 24 ? 1 : 2; length > 0; length--) {
      const next = cbor[at++];
      if (next === undefined) return undefined;
      value = value * 256 + next;
    }
    return { major: first >> 5, value };
  };
  const item = (): number | Uint8Array | undefined => {
    const read = head();
    if (read === undefined) return undefined;
    if (read.major === 0) return read.value;
    if (read.major === 1) return -1 - read.value;
    if (read.major !== 2 || at + read.value > cbor.length) return undefined;
    at += read.value;
    return cbor.subarray(at - read.value, at);
  };
  const map = head();
  if (map === undefined || map.major !== 5) return undefined;
  const key = new Map<number, number | Uint8Array>();
  for (let members = 0; members < map.value; members++) {
    const label = item();
    const value = item();
    if (typeof label !== 'number' || value === undefined || key.has(label)) return undefined;
    key.set(label, value);
  }
  return at === cbor.length ? key : undefined;
}

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

/** base64url without padding (RFC 4648, section 5), as WebAuthn writes challenges. */
function base64url(bytes: Uint8Array): string {
  let encoded = '';
  for (let at = 0; at < bytes.length; at += 3) {
    const [a = 0, b = 0, c = 0] = bytes.subarray(at, at + 3);
    const bits = a * 65_536 + b * 256 + c;
    const digits = Math.min(3, bytes.length - at) + 1;
    for (let digit = 0; digit < digits; digit++) encoded += ALPHABET[Math.floor(bits / 64 ** (3 - digit)) % 64];
  }
  return encoded;
}

/** Whether two approvals are of two different passkeys. */
export function samePasskey(a: PasskeyApproval, b: PasskeyApproval): boolean {
  return a.credentialId === b.credentialId || equalBytes(fromHex(a.publicKey), fromHex(b.publicKey));
}
