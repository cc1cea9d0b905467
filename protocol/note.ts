/**
 * Checkpoints: a log's size and root as a C2SP signed note (c2sp.org/tlog-checkpoint, c2sp.org/signed-note), so that
 * existing transparency-log tools can read and witness them. Ed25519 signatures only; others are kept and ignored.
 */
import { ed25519 } from '@noble/curves/ed25519.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { fromBase64, toBase64 } from './base64.ts';
import { HASH_SIZE } from './hash.ts';
import { concatBytes, fromHex, isHex, toHex, utf8, type Hex } from './hex.ts';

/** The statement that a checkpoint makes: this log has this root at this size. */
export interface CheckpointHead {
  readonly origin: string;
  readonly size: number;
  /** 32 bytes of hex. */
  readonly root: Hex;
}

/** One signature line of a note. `keyId` has 4 bytes. */
interface NoteSignature {
  readonly name: string;
  readonly keyId: Hex;
  readonly signature: Hex;
}

/** A checkpoint that was read. Nothing in it is to be believed before a signature by a known key was verified. */
export interface Checkpoint extends CheckpointHead {
  readonly extensions: readonly string[];
  readonly signatures: readonly NoteSignature[];
}

/** Signature type identifier byte of Ed25519 in a signed note. */
const TYPE_ED25519 = 0x01;

const KEY_ID_SIZE = 4;

/** The note specification asks for at least 16, and for a limit. */
const MAX_SIGNATURES = 64;

/** Characters below U+0020 other than line feed, and halves of surrogate pairs, which have no UTF-8. */
const FORBIDDEN = /[^\n\u{20}-\u{10ffff}]|\p{Surrogate}/u;

/** A name in a signature line, so also an origin that names its own key: not empty, no Unicode space, no plus. */
const KEY_NAME = /^[^\p{White_Space}+]+$/u;

const TREE_SIZE = /^(?:0|[1-9][0-9]{0,15})$/;

function checkKeyName(name: string): string {
  if (!KEY_NAME.test(name) || FORBIDDEN.test(name)) {
    throw new TypeError('checkpoint: a key name must not be empty nor hold white space, plus or control characters');
  }
  return name;
}

/**
 * The text that a checkpoint's signers sign: origin, size and base64 root, one per line.
 * @throws TypeError if the origin cannot name a key, or size or root is not of its form.
 */
export function checkpointText({ origin, size, root }: CheckpointHead): string {
  checkKeyName(origin);
  if (!Number.isSafeInteger(size) || size < 0) throw new TypeError('checkpoint: size must be an integer in 0…2^53-1');
  return `${origin}\n${size}\n${toBase64(fromHex(root, HASH_SIZE))}\n`;
}

/**
 * Key id of a key under a name: SHA-256(name || 0x0A || type || key), its first 4 bytes.
 * @param typed the signature type's identifier and the key's encoding, one behind the other
 * @throws TypeError on a malformed name.
 */
export function keyIdOf(name: string, typed: Uint8Array): Hex {
  return toHex(sha256(concatBytes(utf8(`${checkKeyName(name)}\n`), typed)).subarray(0, KEY_ID_SIZE));
}

/** An Ed25519 key (32 bytes of hex) behind its signature type. */
function typedKey(publicKey: Hex): Uint8Array {
  return concatBytes(Uint8Array.of(TYPE_ED25519), fromHex(publicKey, 32));
}

/**
 * Key id of an Ed25519 key (32 bytes of hex) under a name.
 * @throws TypeError on a malformed key or name.
 */
export function noteKeyId(name: string, publicKey: Hex): Hex {
  return keyIdOf(name, typedKey(publicKey));
}

/**
 * An Ed25519 key as transparency-log tools take it, "vkey": `<name>+<key id, 8 hex digits>+<base64 of type and key>`.
 * @throws TypeError on a malformed key or name.
 */
export function verifierKey(name: string, publicKey: Hex): string {
  return `${name}+${noteKeyId(name, publicKey).slice(2)}+${toBase64(typedKey(publicKey))}`;
}

/** One signature line, with its line feed: the key's id and the signature's bytes under the key's name. */
export function signatureLine(name: string, keyId: Hex, signature: Uint8Array): string {
  return `— ${checkKeyName(name)} ${toBase64(concatBytes(fromHex(keyId, KEY_ID_SIZE), signature))}\n`;
}

/**
 * The signed note: a text (from `checkpointText` or `endText`), and the line of its log's own signature (64 bytes of Ed25519
 * over the UTF-8 of the text). The key's name is the log's origin.
 * @throws TypeError on a malformed key, name or signature.
 */
export function signedNote(text: string, origin: string, publicKey: Hex, signature: Hex): string {
  return `${text}\n${signatureLine(origin, noteKeyId(origin, publicKey), fromHex(signature, 64))}`;
}

function parseSignatureLine(line: string): NoteSignature {
  const [dash, name, base64, ...more] = line.split(' ');
  if (dash !== '—' || name === undefined || base64 === undefined || more.length > 0) {
    throw new TypeError('checkpoint: malformed signature line');
  }
  const bytes = fromBase64(base64);
  if (bytes.length <= KEY_ID_SIZE) throw new TypeError('checkpoint: signature too short');
  return {
    name: checkKeyName(name),
    keyId: toHex(bytes.subarray(0, KEY_ID_SIZE)),
    signature: toHex(bytes.subarray(KEY_ID_SIZE)),
  };
}

/** Splits a note behind its text's last line feed, which is followed by the empty line. */
export function splitNote(note: string): { text: string; signatureLines: string[] } {
  if (typeof note !== 'string' || FORBIDDEN.test(note)) throw new TypeError('checkpoint: forbidden characters');
  const at = note.lastIndexOf('\n\n');
  if (at < 0 || !note.endsWith('\n') || at + 2 === note.length) throw new TypeError('checkpoint: no signatures');
  const signatureLines = note.slice(at + 2, -1).split('\n');
  if (signatureLines.length > MAX_SIGNATURES) throw new TypeError('checkpoint: too many signatures');
  return { text: note.slice(0, at + 1), signatureLines };
}

/**
 * Reads a checkpoint, strictly by both specifications. Nothing is verified.
 * @throws TypeError that says what is malformed; sizes beyond 2^53-1 are.
 */
export function parseCheckpoint(note: string): Checkpoint {
  const { text, signatureLines } = splitNote(note);
  const [origin, size, root, ...extensions] = text.slice(0, -1).split('\n');
  if (origin === undefined || origin === '') throw new TypeError('checkpoint: no origin');
  if (size === undefined || !TREE_SIZE.test(size) || !Number.isSafeInteger(Number(size))) {
    throw new TypeError('checkpoint: malformed size');
  }
  const rootBytes = fromBase64(root ?? '');
  if (rootBytes.length !== HASH_SIZE) throw new TypeError('checkpoint: the root has not 32 bytes');
  if (extensions.includes('')) throw new TypeError('checkpoint: empty extension line');
  return {
    origin,
    size: Number(size),
    root: toHex(rootBytes),
    extensions,
    signatures: signatureLines.map(parseSignatureLine),
  };
}

/** Whose checkpoint it must be. `publicKey` is 32 bytes of hex; the key's name is the origin. */
export interface CheckpointSigner {
  readonly origin: string;
  readonly publicKey: Hex;
}

/**
 * The text of a note that is signed by a key under the log's origin: at least one signature is by that key, and none in its
 * name is false (strictly by RFC 8032). Undefined if the note is malformed or does not verify; nothing throws.
 */
export function verifyNote(note: string, { origin, publicKey }: CheckpointSigner): string | undefined {
  if (!isHex(publicKey, 32)) return undefined;
  try {
    const { text, signatureLines } = splitNote(note);
    const keyId = noteKeyId(origin, publicKey);
    const own = signatureLines.map(parseSignatureLine).filter((line) => line.name === origin && line.keyId === keyId);
    const key = fromHex(publicKey);
    const message = utf8(text);
    const genuine = own.every(
      ({ signature }) => isHex(signature, 64) && ed25519.verify(fromHex(signature), message, key, { zip215: false }),
    );
    return own.length > 0 && genuine ? text : undefined;
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}

/**
 * Reads a checkpoint and verifies it: the origin is as expected, and it is signed as `verifyNote` asks. Returns what it
 * says, or undefined if it is malformed or does not verify; nothing throws.
 */
export function verifyCheckpoint(note: string, signer: CheckpointSigner): Checkpoint | undefined {
  if (verifyNote(note, signer) === undefined) return undefined;
  try {
    const checkpoint = parseCheckpoint(note);
    return checkpoint.origin === signer.origin ? checkpoint : undefined;
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}
