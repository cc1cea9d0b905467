/**
 * Passkeys of the conformance kit: keys and assertions that are always the same for a name. ES256 signs as RFC 6979 has it, Ed25519
 * and RSASSA-PKCS1-v1_5 have no chance in them; the RSA key is made of primes that are found from the name.
 */
import { p256 } from '@noble/curves/nist.js';
import { checkPrimeSync, createHash, createPrivateKey, sign, type KeyObject } from 'node:crypto';
import type { Hex, PasskeyApproval } from '../protocol/index.ts';
import { bytesOf, operatorOf } from '../test/protocol/receipt-factory.ts';

/** A key as an authenticator has it. */
export interface Passkey {
  readonly credentialId: string;
  /** COSE_Key (RFC 9052). */
  readonly publicKey: Hex;
  sign(data: Buffer): Buffer;
}

const hexOf = (...parts: readonly Uint8Array[]): Hex => `0x${Buffer.concat(parts).toString('hex')}`;
const seedOf = (name: string): Buffer => Buffer.from(bytesOf(`passkey ${name}`).slice(2), 'hex');
const credentialOf = (name: string): string => seedOf(`id ${name}`).toString('base64url');

/** CBOR (RFC 8949, section 3): the head of a byte string, and the string. */
function byteString(bytes: Uint8Array): Buffer {
  const { length } = bytes;
  const head = length < 24 ? [0x40 + length] : length < 256 ? [0x58, length] : [0x59, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(head), bytes]);
}

/** @param form DER of a signature with low or with high s: authenticators make both */
export function es256(name: string, form: 'low' | 'high' = 'low'): Passkey {
  const secret = seedOf(name);
  const point = p256.getPublicKey(secret, false);
  const kty = Buffer.from([0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21]); // EC2, alg -7, crv P-256, x
  return {
    credentialId: credentialOf(name),
    publicKey: hexOf(kty, byteString(point.subarray(1, 33)), Buffer.of(0x22), byteString(point.subarray(33))),
    sign(data) {
      const { r, s } = p256.Signature.fromBytes(p256.sign(data, secret, { lowS: true }));
      const chosen = new p256.Signature(r, form === 'low' ? s : p256.Point.Fn.ORDER - s);
      return Buffer.from(chosen.toBytes('der'));
    },
  };
}

export function eddsa(name: string): Passkey {
  const { privateKey, publicKey } = operatorOf(`passkey ${name}`);
  const kty = Buffer.from([0xa4, 0x01, 0x01, 0x03, 0x27, 0x20, 0x06, 0x21]); // OKP, alg -8, crv Ed25519, x
  return {
    credentialId: credentialOf(name),
    publicKey: hexOf(kty, byteString(Buffer.from(publicKey.slice(2), 'hex'))),
    sign: (data) => sign(null, data, privateKey),
  };
}

export function rs256(name: string): Passkey {
  const key = rsaKey(name);
  const { n = '', e = '' } = key.export({ format: 'jwk' });
  const kty = Buffer.from([0xa4, 0x01, 0x03, 0x03, 0x39, 0x01, 0x00, 0x20]); // RSA, alg -257, n
  const [modulus, exponent] = [Buffer.from(n, 'base64url'), Buffer.from(e, 'base64url')];
  return {
    credentialId: credentialOf(name),
    publicKey: hexOf(kty, byteString(modulus), Buffer.of(0x21), byteString(exponent)),
    sign: (data) => sign('sha256', data, key),
  };
}

const EXPONENT = 65_537n;
const PRIME_BYTES = 128;

/** The first prime, behind a number that the name gives, that fits the exponent; its two highest bits are set. */
function primeOf(name: string): bigint {
  const stretched = createHash('shake256', { outputLength: PRIME_BYTES }).update(name).digest();
  stretched[0]! |= 0xc0;
  for (let candidate = BigInt(`0x${stretched.toString('hex')}`) | 1n; ; candidate += 2n) {
    if ((candidate - 1n) % EXPONENT !== 0n && checkPrimeSync(candidate)) return candidate;
  }
}

function inverse(value: bigint, modulus: bigint): bigint {
  let [low, high, lowFactor, highFactor] = [value % modulus, modulus, 1n, 0n];
  while (low > 1n) {
    const quotient = high / low;
    [low, high] = [high % low, low];
    [lowFactor, highFactor] = [highFactor - quotient * lowFactor, lowFactor];
  }
  return ((lowFactor % modulus) + modulus) % modulus;
}

/** A key of 2,048 bits (RFC 8017, section 3.2). */
function rsaKey(name: string): KeyObject {
  const [p, q] = [primeOf(`${name} p`), primeOf(`${name} q`)];
  const d = inverse(EXPONENT, (p - 1n) * (q - 1n));
  const numbers = { n: p * q, e: EXPONENT, d, p, q, dp: d % (p - 1n), dq: d % (q - 1n), qi: inverse(q, p) };
  const members = Object.entries(numbers).map(([member, value]) => [member, base64url(value)]);
  return createPrivateKey({ key: { kty: 'RSA', ...Object.fromEntries(members) }, format: 'jwk' });
}

function base64url(value: bigint): string {
  const digits = value.toString(16);
  return Buffer.from(digits.length % 2 === 0 ? digits : `0${digits}`, 'hex').toString('base64url');
}

/** What a case may have otherwise in an assertion. */
export interface AssertionOptions {
  readonly type?: string;
  /** Flags of the authenticator data; 0x05: a user was present and verified. */
  readonly flags?: number;
  /** How much of the authenticator data there is. */
  readonly length?: number;
}

/** An assertion (WebAuthn, section 7.2) whose challenge is a digest. */
export function assertionOf(passkey: Passkey, digest: Hex, options: AssertionOptions = {}): PasskeyApproval {
  const { type = 'webauthn.get', flags = 0x05, length = 37 } = options;
  const challenge = Buffer.from(digest.slice(2), 'hex').toString('base64url');
  const clientDataJSON = JSON.stringify({ type, challenge, origin: 'https://custody.kiff.dev', crossOrigin: false });
  const relyingParty = createHash('sha256').update('custody.kiff.dev').digest();
  const data = Buffer.concat([relyingParty, Buffer.from([flags, 0, 0, 0, 0])]).subarray(0, length);
  const signed = Buffer.concat([data, createHash('sha256').update(clientDataJSON).digest()]);
  return {
    credentialId: passkey.credentialId,
    publicKey: passkey.publicKey,
    authenticatorData: hexOf(data),
    clientDataJSON,
    signature: hexOf(passkey.sign(signed)),
  };
}
