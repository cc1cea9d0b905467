/** What a body may be, judged from the headers before a byte of it is read; and its bytes as they arrive, within bounds. */
import type { IncomingMessage } from 'node:http';
import { createGunzip, type Gunzip } from 'node:zlib';
import type { Request } from 'express';
import { Problem } from './problems.ts';

/** Of the body as it is sent, and again of what comes out of its encoding. */
const MAX_BODY_BYTES = 5 * 1024 * 1024;

/** The header of a 415 that says what would have been read (RFC 9110 section 12.5.3). */
const ACCEPTED_ENCODINGS = 'gzip, identity';

export interface BodyForm {
  kind: 'json' | 'ndjson';
  encoding: 'gzip' | 'identity';
}

/** One parameter is known to both types: the charset, which is UTF-8 (RFC 8259 section 8.1). */
const CONTENT_TYPE = /^\s*application\/(json|x-ndjson)\s*(?:;\s*charset\s*=\s*(?:utf-8|"utf-8")\s*)?;?\s*$/i;

/** @throws Problem unsupported-media-type, unsupported-encoding, body-too-large when the length says so */
export function judgeBody(request: Pick<Request, 'get'>): BodyForm {
  const [, kind] = CONTENT_TYPE.exec(request.get('content-type') ?? '') ?? [];
  if (kind === undefined) {
    const detail = 'Send application/json (one record) or application/x-ndjson (one record per line), in UTF-8.';
    throw new Problem('unsupported-media-type', detail);
  }
  const [, encoding] = /^(gzip|identity)?$/i.exec(request.get('content-encoding')?.trim() ?? '') ?? [undefined, null];
  if (encoding === null) {
    throw new Problem('unsupported-encoding', 'Send the body as it is, or with the content encoding gzip.', {
      headers: { 'Accept-Encoding': ACCEPTED_ENCODINGS },
    });
  }
  if (Number(request.get('content-length') ?? 0) > MAX_BODY_BYTES) throw bodyTooLarge();
  return {
    kind: kind.toLowerCase() === 'json' ? 'json' : 'ndjson',
    encoding: encoding?.toLowerCase() === 'gzip' ? 'gzip' : 'identity',
  };
}

function bodyTooLarge(): Problem {
  return new Problem('body-too-large', `A body may have ${MAX_BODY_BYTES} bytes, after decompression too.`);
}

/**
 * The body's bytes, decoded, no faster than they are asked for. Whoever stops asking lets the rest of the body be thrown
 * away as it arrives, so that a client that reads only after it has sent everything gets its answer.
 * @throws Problem body-too-large, malformed-encoding, bad-request when the body is cut off
 */
export async function* receiveBody(
  request: IncomingMessage,
  encoding: BodyForm['encoding'],
): AsyncGenerator<Uint8Array> {
  const received = fromConnection(request);
  const sent = bounded(received);
  try {
    if (encoding === 'gzip') yield* bounded(gunzipped(sent));
    else yield* sent;
  } finally {
    // Not awaited: it ends when more arrives, and the answer must not wait for that. The server's time-outs bound it.
    void received.return(undefined).then(
      () => setImmediate(() => request.resume()),
      () => undefined,
    );
  }
}

async function* fromConnection(request: IncomingMessage): AsyncGenerator<Uint8Array> {
  try {
    // Destroying the request would destroy its connection, and with it the answer.
    yield* request.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>;
  } catch (error) {
    throw new Problem('bad-request', 'The body was cut off.', { cause: error });
  }
}

async function* bounded(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let size = 0;
  for await (const chunk of chunks) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES) throw bodyTooLarge();
    yield chunk;
  }
}

/** Decompresses as far as it is asked to: a bomb never gets to expand. */
async function* gunzipped(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const gunzip = createGunzip();
  const fed = { bytes: 0 };
  void feed(chunks, gunzip, fed);
  try {
    for await (const chunk of gunzip as AsyncIterable<Uint8Array>) yield chunk;
    // Node passes over what follows the compressed data. What nobody judges, nobody may send.
    if (!gunzip.writableEnded || gunzip.bytesWritten !== fed.bytes) {
      throw new Problem('malformed-encoding', 'Something follows the gzip data.');
    }
  } catch (error) {
    if (error instanceof Error && 'code' in error && String(error.code).startsWith('Z_')) {
      throw new Problem('malformed-encoding', 'The body is not valid gzip data.', { cause: error });
    }
    throw error;
  } finally {
    gunzip.destroy();
  }
}

/** Never rejects: what goes wrong with the chunks is told by the stream. */
async function feed(chunks: AsyncIterable<Uint8Array>, gunzip: Gunzip, fed: { bytes: number }): Promise<void> {
  try {
    for await (const chunk of chunks) {
      if (gunzip.destroyed) return;
      fed.bytes += chunk.length;
      if (!gunzip.write(chunk)) await drained(gunzip);
    }
    gunzip.end();
  } catch (error) {
    gunzip.destroy(error as Error);
  }
}

function drained(stream: Gunzip): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      stream.off('drain', done).off('close', done);
      resolve();
    };
    stream.on('drain', done).on('close', done);
  });
}
