/**
 * Judges a record's bytes and makes of them what the log takes. The bytes are judged before any parser can hide what is
 * wrong with them, and kept as they came: nothing here ever writes JSON again.
 */
import { createHmac, randomFillSync } from 'node:crypto';
import { z } from 'zod';
import { encodeBody, RECORD_MAX_DEPTH, SALT_SIZE } from '../../protocol/entry.ts';
import { JSON_PROBLEMS, strictJson } from '../http/json-body.ts';
import { Problem, type Fault } from '../http/problems.ts';
import { rfc3339Millis } from '../../protocol/rfc3339.ts';
import { dateTime } from '../http/shapes.ts';
import type { AttributionOf } from './attributions.ts';

/** Bytes of one record, without the white space around it. */
export const MAX_RECORD_BYTES = 64 * 1024;

/** How far `created_at` may be ahead of us: clocks of agents differ. */
const MAX_AHEAD_MILLISECONDS = 5 * 60 * 1000;

export const RECORD_ID = /^[A-Za-z0-9._:-]{1,128}$/;
export const RECORD_ID_RULE = 'must be 1 to 128 of the characters A-Z a-z 0-9 . _ : -';

/** A record that may be appended: design section 2, Words. */
export interface RecordDraft {
  id: string;
  /** `{"attribution":A,"record":R}` */
  body: Uint8Array;
  /** Where R begins in the body; it ends one byte before the body's end. */
  recordOffset: number;
  salt: Buffer;
  /** HMAC-SHA-256(salt, body). */
  commitment: Buffer;
}

/** Why a record by itself is not stored. */
export const RECORD_PROBLEMS = [
  ...JSON_PROBLEMS,
  'not-an-object',
  'record-too-large',
  'invalid-record',
  'id-conflict',
  'erased',
] as const;

const required = z.string().min(1, 'must not be empty');
const optional = z.string().optional();

/**
 * The KIFF framework's `audit.Record`. Members that it does not name pass: what is stored is the bytes. (Its result is a
 * copy without them, which costs nothing and keeps a member called `__proto__` away from assignments.)
 */
export const recordShape = z
  .object({
    id: z
      .string()
      .regex(RECORD_ID, RECORD_ID_RULE)
      .describe('Unique in the log for good; it survives erasure, so it must not be personal data'),
    kind: required.describe('For example action_executed; any text that is not empty'),
    entity_id: required,
    entity_type: required,
    created_at: dateTime.describe('By the agent’s clock; at most 5 minutes ahead of ours'),
    actor_id: optional,
    message: optional,
    data: z.object({}).optional(),
    trace_id: optional,
    correlation_id: optional,
    causation_id: optional,
  })
  .meta({
    id: 'Record',
    additionalProperties: true,
    description:
      'The KIFF framework’s audit.Record: one JSON object of up to 64 KiB, 32 levels deep. Members that are not named here are kept, since the bytes are kept as they came.',
  });

/**
 * Reads one record.
 * @param bytes as received; white space around the record is not part of it
 * @param now Unix milliseconds
 * @param attributionOf what is known of the record's actor
 * @throws Problem (400, 413, 422) that names what is wrong and where, never the content
 */
export function readRecord(bytes: Uint8Array, now: number, attributionOf: AttributionOf = () => null): RecordDraft {
  const record = withoutSpace(bytes);
  if (record.length === 0) throw new Problem('empty-body', 'The body holds no record.');
  if (record.length > MAX_RECORD_BYTES) throw recordTooLarge(record.length);
  const text = judge(record);
  const { id, actor_id: actorId } = validate(JSON.parse(text), now);

  const { bytes: body, recordOffset } = encodeBody(attributionOf(actorId), record);
  const salt = newSalt();
  return { id, body, recordOffset, salt, commitment: createHmac('sha256', salt).update(body).digest() };
}

/** Random bytes are drawn for many salts at once: a call for each cost a third of reading a record. */
const salts = Buffer.alloc(256 * SALT_SIZE);
let saltsUsed = salts.length;

function newSalt(): Buffer {
  if (saltsUsed === salts.length) {
    randomFillSync(salts);
    saltsUsed = 0;
  }
  const salt = Buffer.from(salts.subarray(saltsUsed, saltsUsed + SALT_SIZE));
  // Once handed out it is nowhere else.
  salts.fill(0, saltsUsed, (saltsUsed += SALT_SIZE));
  return salt;
}

/** @param length of the whole record, in bytes */
export function recordTooLarge(length: number): Problem {
  return new Problem('record-too-large', `A record may have ${MAX_RECORD_BYTES} bytes; this one has ${length}.`);
}

/** The text of bytes that are exactly one JSON object which every parser reads alike. */
function judge(record: Uint8Array): string {
  const { text, kind } = strictJson(record, 'The record', RECORD_MAX_DEPTH);
  if (kind === 'object') return text;
  throw new Problem('not-an-object', 'The record is refused: it is JSON, but not an object.');
}

/** Pointers need no escaping (RFC 6901): only names of our own shape stand in them. */
function validate(value: unknown, now: number): z.output<typeof recordShape> {
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
