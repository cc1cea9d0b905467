/** JSON that every reader understands alike: judged as bytes, before a parser can hide what is wrong with it. */
import type { Request } from 'express';
import { decodeUtf8Strict, JsonError, scanJson, type JsonFault } from '../../protocol/json.ts';
import { Problem, type ProblemSlug } from './problems.ts';
import { judgeBody, receiveBody } from './request-body.ts';

/** Nesting of a body that is no record; nothing here needs more than half of it. */
const MAX_DEPTH = 32;

/** The slugs that `strictJson` can throw. */
export const JSON_PROBLEMS = [
  'invalid-utf8',
  'byte-order-mark',
  'malformed-json',
  'duplicate-key',
  'lone-surrogate',
  'too-deep',
] as const satisfies readonly ProblemSlug[];

const FAULTS: Readonly<Record<JsonFault, (typeof JSON_PROBLEMS)[number]>> = {
  'invalid-utf8': 'invalid-utf8',
  bom: 'byte-order-mark',
  syntax: 'malformed-json',
  'duplicate-key': 'duplicate-key',
  'lone-surrogate': 'lone-surrogate',
  'too-deep': 'too-deep',
  // Not asked for here.
  'not-an-integer': 'malformed-json',
};

/**
 * The text of bytes that are exactly one JSON value, and what kind of value it is.
 * @param subject begins the problem's sentence: `The record`
 * @throws Problem 400 that names what is wrong and where, never the content
 */
export function strictJson(
  bytes: Uint8Array,
  subject: string,
  maxDepth: number,
): { text: string; kind: ReturnType<typeof scanJson>['kind'] } {
  try {
    const text = decodeUtf8Strict(bytes);
    return { text, kind: scanJson(text, { maxDepth }).kind };
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new Problem(FAULTS[error.code], `${subject} is refused: ${error.message}.`);
  }
}

/**
 * Reads a request's body of type application/json as the bytes that it is.
 * @param maxBytes of the body after decompression
 * @throws Problem 400, 413, 415
 */
export async function readBytes(request: Request, maxBytes: number): Promise<Buffer> {
  const { kind, encoding } = judgeBody(request);
  if (kind !== 'json') throw new Problem('unsupported-media-type', 'Send application/json, in UTF-8.');
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of receiveBody(request, encoding)) {
    size += chunk.length;
    if (size > maxBytes) throw new Problem('body-too-large', `This body may have ${maxBytes} bytes.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/**
 * Reads a request's body as one JSON value, and its exact text.
 * @param maxBytes of the body after decompression
 * @throws Problem 400, 413, 415
 */
export async function readJson(request: Request, maxBytes: number): Promise<{ value: unknown; text: string }> {
  const bytes = await readBytes(request, maxBytes);
  if (/^[ \t\r\n]*$/.test(bytes.toString('latin1'))) throw new Problem('empty-body', 'The body is empty.');
  const { text } = strictJson(bytes, 'The body', MAX_DEPTH);
  return { value: JSON.parse(text) as unknown, text };
}
