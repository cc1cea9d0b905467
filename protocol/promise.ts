/**
 * The promise that an accepted record gets at once: its place in the log and the time by which a seal covers it, signed
 * with the API's Ed25519 key. An unkept one is provable: it names log, index and leaf, and the seals are public.
 */
import { ed25519 } from '@noble/curves/ed25519.js';
import { HASH_SIZE } from './hash.ts';
import { fromHex, isHex, utf8, type Hex } from './hex.ts';
import { hex, integer, object, origin as originReader, parseJson, type Reader } from './shape.ts';

/** What is promised. `sealBy` is Unix seconds: one period after the end of the record's period. */
export interface PromiseTerms {
  readonly origin: string;
  readonly leafIndex: number;
  readonly leafHash: Hex;
  readonly sealBy: number;
}

/** The promise as it is handed out; `signature` is 64 bytes of Ed25519 over `promiseBytes`. */
export interface SealPromise extends PromiseTerms {
  readonly signature: Hex;
}

// Keeps a signature over a promise from ever passing for one over anything else.
const CONTEXT = 'kiff.promise/1\n';

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/**
 * The bytes that are signed: `kiff.promise/1`, a line feed, and the terms as compact JSON in the order origin, leafIndex,
 * leafHash, sealBy.
 * @throws TypeError if a term is not of its form.
 */
export function promiseBytes({ origin, leafIndex, leafHash, sealBy }: PromiseTerms): Uint8Array {
  if (typeof origin !== 'string' || origin === '') throw new TypeError('origin must be a string that is not empty');
  if (!isCount(leafIndex)) throw new TypeError('leafIndex must be an integer in 0…2^53-1');
  if (!isHex(leafHash, HASH_SIZE)) throw new TypeError('leafHash must be 32 bytes of hex');
  if (!isCount(sealBy)) throw new TypeError('sealBy must be an integer in 0…2^53-1');
  return utf8(CONTEXT + JSON.stringify({ origin, leafIndex, leafHash, sealBy }));
}

/**
 * Whether a promise is signed by an Ed25519 public key (32 bytes of hex), strictly by RFC 8032. Malformed input gives
 * false; nothing throws. Says nothing on whether the promise was kept.
 */
export function verifyPromise(promise: SealPromise, publicKey: Hex): boolean {
  if (typeof promise !== 'object' || promise === null) return false;
  if (!isHex(promise.signature, 64) || !isHex(publicKey, 32)) return false;
  try {
    return ed25519.verify(fromHex(promise.signature), promiseBytes(promise), fromHex(publicKey), { zip215: false });
  } catch (error) {
    if (error instanceof TypeError) return false;
    throw error;
  }
}

const count = integer(0, Number.MAX_SAFE_INTEGER);
const promise: Reader<SealPromise> = object<SealPromise>({
  origin: originReader,
  leafIndex: count,
  leafHash: hex(HASH_SIZE),
  sealBy: count,
  signature: hex(64),
});

/**
 * Reads a parsed promise: exactly its members, each of its type.
 * @throws FormatError with the JSON pointer of the first problem.
 */
export function parsePromise(value: unknown): SealPromise {
  return promise(value, '');
}

/**
 * Reads a promise's text: a promise alone, or the whole answer of `POST /v1/records` that carries one as `promise`. No name
 * may stand twice in one object, at any depth.
 * @throws NotJsonError when the text is not JSON at all; FormatError.
 */
export function parsePromiseText(source: string): SealPromise {
  const value = parseJson(source);
  if (typeof value === 'object' && value !== null && Object.hasOwn(value, 'promise')) {
    return promise((value as { promise: unknown }).promise, '/promise');
  }
  return promise(value, '');
}
