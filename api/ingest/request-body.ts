/** What a body may be, judged from the headers before a byte of it is read, and reading it within bounds. */
import express, { type Request, type RequestHandler } from 'express';
import { Problem } from './problems.ts';

export const MAX_BODY_BYTES = 5 * 1024 * 1024;

export type BodyKind = 'json' | 'ndjson';

/** One parameter is known to both types: the charset, which is UTF-8 (RFC 8259 section 8.1). */
const CONTENT_TYPE = /^\s*application\/(json|x-ndjson)\s*(?:;\s*charset\s*=\s*(?:utf-8|"utf-8")\s*)?;?\s*$/i;

/** @throws Problem unsupported-media-type, unsupported-encoding */
export function judgeBody(request: Pick<Request, 'get'>): BodyKind {
  const [, kind] = CONTENT_TYPE.exec(request.get('content-type') ?? '') ?? [];
  if (kind === undefined) {
    const detail = 'Send application/json (one record) or application/x-ndjson (one record per line), in UTF-8.';
    throw new Problem('unsupported-media-type', detail);
  }
  if (!/^(?:identity)?$/i.test(request.get('content-encoding')?.trim() ?? '')) {
    throw new Problem('unsupported-encoding', 'Send the body without a content encoding.');
  }
  return kind.toLowerCase() === 'json' ? 'json' : 'ndjson';
}

/** Reads the bytes as they are. Its errors are http-errors with a `type`, which problemOf (answer.ts) knows. */
export const readBody: RequestHandler = express.raw({ type: () => true, limit: MAX_BODY_BYTES, inflate: false });

/** The bytes that `readBody` read; none when there was no body. */
export function bodyBytes(request: Request): Uint8Array {
  return request.body instanceof Uint8Array ? request.body : new Uint8Array(0);
}
