/**
 * What a leaf is made of. The entry is the leaf's bytes; the body holds the record and stays outside the tree; the
 * commitment ties one to the other through a random salt, so that deleting salt and body erases the record for good
 * and leaves every proof intact. Bytes once made are stored and shipped: a parser here accepts exactly what its encoder writes.
 */
import { hmac } from '@noble/hashes/hmac.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { hashLeaf } from './hash.ts';
import { toHex, utf8, type Hex } from './hex.ts';
import { scanJson, topLevelSpans } from './json.ts';
import { unixMillis } from './period.ts';

/** An entry's fields. */
export interface Entry {
  /** Record id, `[A-Za-z0-9._:-]{1,128}`. */
  readonly id: string;
  /** When the log took it: RFC 3339, UTC, milliseconds. */
  readonly receivedAt: string;
  /** Id of the API key, `[a-z0-9][a-z0-9_-]{0,63}`; `kiff` for records that we write ourselves. */
  readonly key: string;
  /** 64 lower-case hex digits, without 0x: as they stand in the entry. */
  readonly commitment: string;
}

/** Bytes of a commitment's salt. */
export const SALT_SIZE = 32;

/** Nesting that a record may have. */
export const RECORD_MAX_DEPTH = 32;

// No field can hold a character that JSON escapes, so this is the entry's whole grammar: one spelling for one entry.
const ENTRY =
  /^\{"v":1,"id":"([A-Za-z0-9._:-]{1,128})","received_at":"([^"]{24})","key":"([a-z0-9][a-z0-9_-]{0,63})","commitment":"([0-9a-f]{64})"\}$/;

/**
 * Bytes of an entry (UTF-8): `{"v":1,"id":…,"received_at":…,"key":…,"commitment":…}`.
 * @throws TypeError if a field is not of its form.
 */
export function encodeEntry({ id, receivedAt, key, commitment }: Entry): Uint8Array {
  const text = JSON.stringify({ v: 1, id, received_at: receivedAt, key, commitment });
  parseEntry(text);
  return utf8(text);
}

/**
 * Reads an entry, accepting only the bytes that `encodeEntry` writes: no white space, no other order, no other version.
 * @throws TypeError if the text is anything else.
 */
export function parseEntry(text: string): Entry {
  const [, id, receivedAt, key, commitment] = (typeof text === 'string' ? ENTRY.exec(text) : null) ?? [];
  if (id === undefined || receivedAt === undefined || key === undefined || commitment === undefined) {
    throw new TypeError('not an entry: version, members, their order or their form is wrong');
  }
  unixMillis(receivedAt);
  return { id, receivedAt, key, commitment };
}

/** Leaf hash of an entry, given as its bytes or as their text: SHA-256(0x00 || entry), RFC 9162 section 2.1.1. */
export function leafHash(entry: string | Uint8Array): Hex {
  return toHex(hashLeaf(typeof entry === 'string' ? utf8(entry) : entry));
}

const BODY_HEAD = '{"attribution":';
const BODY_MIDDLE = ',"record":';
const HEAD_OF_NOBODY = utf8(`${BODY_HEAD}null${BODY_MIDDLE}`);
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** A body's two parts, each as its exact text. `attribution` is `null` where nothing is known of the actor. */
export interface Body {
  readonly attribution: string | null;
  readonly recordText: string;
}

/** A body as bytes, with where its record's bytes begin; they end one byte before the end. */
export interface EncodedBody {
  readonly bytes: Uint8Array;
  readonly recordOffset: number;
}

/**
 * Bytes of a body, `{"attribution":A,"record":R}`, with R untouched.
 * @param attributionJson the text of one JSON object, or null.
 * @param record one JSON object without white space around it, as its text or its UTF-8 bytes; judged by the caller
 *   already (`scanJson`).
 * @throws TypeError or JsonError if `attributionJson` is no such text; TypeError if the record does not start and end as an object.
 */
export function encodeBody(attributionJson: string | null, record: string | Uint8Array): EncodedBody {
  if (attributionJson !== null) {
    const { kind, start, end } = scanJson(attributionJson, { maxDepth: RECORD_MAX_DEPTH });
    if (kind !== 'object' || start !== 0 || end !== attributionJson.length) {
      throw new TypeError('the attribution is not exactly one JSON object');
    }
  }
  const recordBytes = typeof record === 'string' ? utf8(record) : record;
  if (recordBytes[0] !== OPEN_BRACE || recordBytes.at(-1) !== CLOSE_BRACE) {
    throw new TypeError('the record is not exactly one JSON object');
  }
  const head = attributionJson === null ? HEAD_OF_NOBODY : utf8(BODY_HEAD + attributionJson + BODY_MIDDLE);
  const bytes = new Uint8Array(head.length + recordBytes.length + 1);
  bytes.set(head);
  bytes.set(recordBytes, head.length);
  bytes[bytes.length - 1] = CLOSE_BRACE;
  return { bytes, recordOffset: head.length };
}

/**
 * Takes a body apart: exactly the members `attribution` (an object or null) and `record` (an object), in this order, with
 * no byte between, before or behind, and no duplicate names at any depth.
 * @throws JsonError if it is not JSON that `scanJson` accepts; TypeError if it is other JSON.
 */
export function parseBody(text: string): Body {
  const [attribution, record] = topLevelSpans(text, { maxDepth: 1 + RECORD_MAX_DEPTH });
  const exact =
    attribution !== undefined &&
    record !== undefined &&
    text.startsWith(BODY_HEAD) &&
    attribution.valueStart === BODY_HEAD.length &&
    text.slice(attribution.valueEnd, record.valueStart) === BODY_MIDDLE &&
    record.valueEnd === text.length - 1;
  if (!exact) throw new TypeError('not a body: its members, their order or the bytes between them are wrong');

  const attributionText = text.slice(attribution.valueStart, attribution.valueEnd);
  const recordText = text.slice(record.valueStart, record.valueEnd);
  if (attributionText !== 'null' && !attributionText.startsWith('{')) {
    throw new TypeError('not a body: the attribution is neither an object nor null');
  }
  if (!recordText.startsWith('{')) throw new TypeError('not a body: the record is no object');
  return { attribution: attributionText === 'null' ? null : attributionText, recordText };
}

/**
 * Commitment to a body: HMAC-SHA-256 (RFC 2104) under a random salt of 32 bytes. Returns 32 bytes; an entry holds them as
 * hex digits without 0x.
 * @throws TypeError on a salt of another length.
 */
export function commit(salt: Uint8Array, body: Uint8Array): Uint8Array {
  if (salt.length !== SALT_SIZE) throw new TypeError(`a salt has ${SALT_SIZE} bytes, not ${salt.length}`);
  return hmac(sha256, salt, body);
}
