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

/**
 * @param what the file's role, for messages
 * @param path `-` is standard input
 * @throws UsageError when it cannot be read, is too large, or is not UTF-8
 */
export async function readText(what: string, path: string, stdin: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of path === '-' ? stdin : (createReadStream(path) as AsyncIterable<Uint8Array>)) {
      size += chunk.length;
      if (size > MAX_INPUT_BYTES) throw new UsageError(`the ${what} is larger than ${MAX_INPUT_BYTES} bytes`);
      parts.push(chunk);
    }
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const reason = error instanceof Error && 'code' in error ? String(error.code) : 'unreadable';
    throw new UsageError(`the ${what} cannot be read: ${reason}`);
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
