/** Files that a command reads: bounded, strict UTF-8, and every problem as a UsageError that names the file's role. */
import { createReadStream } from 'node:fs';
import {
  decodeUtf8Strict,
  FormatError,
  JsonError,
  NotJsonError,
  parsePolicyText,
  type Policy,
} from '../protocol/index.ts';
import { UsageError } from './command.ts';

/** A record has 64 KiB at most, escaped perhaps six times that; handovers are about 2 kB each. */
const MAX_INPUT_BYTES = 16 * 1024 * 1024;

const CHUNK_BYTES = 256 * 1024;

/**
 * A file's bytes as they come.
 * @param what the file's role, for messages
 * @param path `-` is standard input
 * @throws UsageError (while it is read) when it cannot be read
 */
export async function* readChunks(
  what: string,
  path: string,
  stdin: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    yield* path === '-' ? stdin : (createReadStream(path, { highWaterMark: CHUNK_BYTES }) as AsyncIterable<Uint8Array>);
  } catch (error) {
    const reason = error instanceof Error && 'code' in error ? String(error.code) : 'unreadable';
    throw new UsageError(`the ${what} cannot be read: ${reason}`);
  }
}

/** The first bytes of a stream, as many of `count` as there are, and the whole stream from its beginning. */
export async function peek(
  chunks: AsyncIterable<Uint8Array>,
  count: number,
): Promise<{ head: Uint8Array; chunks: AsyncIterable<Uint8Array> }> {
  const iterator = chunks[Symbol.asyncIterator]();
  let head = Buffer.alloc(0);
  while (head.length < count) {
    const next = await iterator.next();
    if (next.done === true) break;
    head = Buffer.concat([head, next.value]);
  }
  async function* whole(): AsyncGenerator<Uint8Array> {
    yield head;
    for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) yield next.value;
  }
  return { head: head.subarray(0, count), chunks: whole() };
}

/**
 * @param what the file's role, for messages
 * @param path `-` is standard input
 * @throws UsageError when it cannot be read, is too large, or is not UTF-8
 */
export async function readText(what: string, path: string, stdin: AsyncIterable<Uint8Array>): Promise<string> {
  return textOf(what, readChunks(what, path, stdin));
}

/** As `readText`, of what is being read already. */
export async function textOf(what: string, chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of chunks) {
    size += chunk.length;
    if (size > MAX_INPUT_BYTES) throw new UsageError(`the ${what} is larger than ${MAX_INPUT_BYTES} bytes`);
    parts.push(chunk);
  }
  try {
    return decodeUtf8Strict(Buffer.concat(parts));
  } catch (error) {
    if (error instanceof JsonError) throw new UsageError(`the ${what} is unusable: ${error.message}`);
    throw error;
  }
}

/** @throws UsageError when it cannot be read or breaks its format */
export async function readPolicy(path: string, stdin: AsyncIterable<Uint8Array>): Promise<Policy> {
  const text = await readText('policy', path, stdin);
  try {
    return parsePolicyText(text);
  } catch (error) {
    if (error instanceof FormatError || error instanceof NotJsonError) {
      throw new UsageError(`the policy is unusable: ${error.message}`);
    }
    throw error;
  }
}
