/**
 * Judges a record's bytes and makes of them what the log takes. The bytes are judged before any parser can hide what is
 * wrong with them, and kept as they came: nothing here ever writes JSON again.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { z } from 'zod';
import { encodeBody, RECORD_MAX_DEPTH, SALT_SIZE } from '../../protocol/entry.ts';
import { decodeUtf8Strict, JsonError, scanJson, type JsonFault } from '../../protocol/json.ts';
import { Problem, type Fault, type ProblemSlug } from '../http/problems.ts';
import { rfc3339Millis } from './rfc3339.ts';

/** Bytes of one record, without the white space around it. */
export const MAX_RECORD_BYTES = 64 * 1024;

/** How far `created_at` may be ahead of us: clocks of agents differ. */
const MAX_AHEAD_MILLISECONDS = 5 * 60 * 1000;

export const RECORD_ID = /^[A-Za-z0-9._:-]{1,128}$/;

/** A record that may be appended: design section 2, Words. */
export interface RecordDraft {
  id: string;
  /** `{"attribution":null,"record":R}` */
  body: Uint8Array;
  /** Where R begins in the body; it ends one byte before the body's end. */
  recordOffset: number;
  salt: Buffer;
  /** HMAC-SHA-256(salt, body). */
  commitment: Buffer;
}

const required = z.string().min(1, 'must not be empty');
const optional = z.string().optional();

/**
 * The KIFF framework's `audit.Record`. Members that it does not name pass: what is stored is the bytes. (Its result is a
 * copy without them, which costs nothing and keeps a member called `__proto__` away from assignments.)
 */
const recordShape = z.object({
  id: z.string().regex(RECORD_ID, 'must be 1 to 128 of the characters A-Z a-z 0-9 . _ : -'),
  kind: required,
  entity_id: required,
  entity_type: required,
  created_at: z.string().refine((text) => rfc3339Millis(text) !== undefined, 'must be an RFC 3339 date-time'),
  actor_id: optional,
  message: optional,
  data: z.object({}).optional(),
  trace_id: optional,
  correlation_id: optional,
  causation_id: optional,
});

const JSON_PROBLEMS: Readonly<Record<JsonFault, ProblemSlug>> = {
  'invalid-utf8': 'invalid-utf8',
  bom: 'byte-order-mark',
  syntax: 'malformed-json',
  'duplicate-key': 'duplicate-key',
  'lone-surrogate': 'lone-surrogate',
  'too-deep': 'too-deep',
};

/**
 * Reads one record.
 * @param bytes as received; white space around the record is not part of it
 * @param now Unix milliseconds
 * @throws Problem (400, 413, 422) that names what is wrong and where, never the content
 */
export function readRecord(bytes: Uint8Array, now: number): RecordDraft {
  const record = withoutSpace(bytes);
  if (record.length === 0) throw new Problem('empty-body', 'The body holds no record.');
  if (record.length > MAX_RECORD_BYTES) throw recordTooLarge(record.length);
  const text = judge(record);
  const { id } = validate(JSON.parse(text), now);

  const { bytes: body, recordOffset } = encodeBody(null, text);
  const salt = randomBytes(SALT_SIZE);
  return { id, body, recordOffset, salt, commitment: createHmac('sha256', salt).update(body).digest() };
}

/** @param length of the whole record, in bytes */
export function recordTooLarge(length: number): Problem {
  return new Problem('record-too-large', `A record may have ${MAX_RECORD_BYTES} bytes; this one has ${length}.`);
}

/** The text of bytes that are exactly one JSON object which every parser reads alike. */
function judge(record: Uint8Array): string {
  try {
    const text = decodeUtf8Strict(record);
    if (scanJson(text, { maxDepth: RECORD_MAX_DEPTH }).kind === 'object') return text;
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new Problem(JSON_PROBLEMS[error.code], `The record is refused: ${error.message}.`);
  }
  throw new Problem('not-an-object', 'The record is refused: it is JSON, but not an object.');
}

/** Pointers need no escaping (RFC 6901): only names of our own shape stand in them. */
function validate(value: unknown, now: number): { id: string } {
  const parsed = recordShape.safeParse(value);
  const errors: Fault[] = [];
  if (!parsed.success) {
    for (const issue of parsed.error.issues) {
      const name = String(issue.path[0]);
      const missing = !Object.hasOwn(value as object, name);
      errors.push({ pointer: `/${name}`, detail: missing ? 'is missing' : sentence(issue) });
    }
  } else if ((rfc3339Millis(parsed.data.created_at) ?? Infinity) > now + MAX_AHEAD_MILLISECONDS) {
    errors.push({ pointer: '/created_at', detail: 'must not be more than 5 minutes in the future' });
  } else {
    return parsed.data;
  }
  const first = errors[0];
  throw new Problem('invalid-record', `The record is not valid: ${first?.pointer} ${first?.detail}.`, { errors });
}

function sentence(issue: z.core.$ZodIssue): string {
  if (issue.code !== 'invalid_type') return issue.message;
  return `must be ${issue.expected === 'object' ? 'an object' : 'a string'}`;
}

function withoutSpace(bytes: Uint8Array): Uint8Array {
  let start = 0;
  let end = bytes.length;
  while (start < end && isSpace(bytes[start])) start++;
  while (end > start && isSpace(bytes[end - 1])) end--;
  return bytes.subarray(start, end);
}

/** JSON's white space (RFC 8259 section 2). */
export function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}
