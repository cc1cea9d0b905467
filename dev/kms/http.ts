import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { KmsError } from './errors.ts';

const maxBodyBytes = 256 * 1024;

/** The whole body. Throws KmsError with status 413 past 256 KiB. */
export async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > maxBodyBytes)
      throw new KmsError('RequestEntityTooLargeException', 'The request body is too large.', 413);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Throws SerializationException, as KMS answers to what is no JSON. */
export function parseJson(body: Buffer): unknown {
  try {
    return body.length === 0 ? {} : JSON.parse(body.toString());
  } catch {
    throw new KmsError('SerializationException', 'The request body is not valid JSON.');
  }
}

/** Answers with AWS JSON 1.1. `now` is the stand-in's clock: the SDK corrects its own by the Date header. */
export function answer(response: ServerResponse, status: number, body: object, now: number): void {
  const text = JSON.stringify(body);
  response.writeHead(status, {
    'content-type': 'application/x-amz-json-1.1',
    'content-length': Buffer.byteLength(text),
    'x-amzn-requestid': randomUUID(),
    date: new Date(now).toUTCString(),
    'cache-control': 'no-store',
  });
  response.end(text);
}

/**
 * Answers with an error in AWS's form. Anything but a KmsError is a fault of the stand-in itself: answered as 500 and printed, unless the
 * caller has hung up, which is no fault.
 */
export function answerError(response: ServerResponse, error: unknown, now: number): void {
  if (error instanceof KmsError)
    return answer(response, error.status, { __type: error.name, message: error.message }, now);
  if (response.socket === null || response.socket.destroyed) return;
  console.error('kms: the stand-in failed', error);
  answer(response, 500, { __type: 'KMSInternalException', message: `KMS stand-in failed: ${String(error)}` }, now);
}
