/**
 * The signer's journal: a file of its own, of JSON lines that are only ever appended. Each line carries the SHA-256 of the line before
 * and of itself, so that nothing in the middle can be changed, dropped or swapped unseen.
 *
 * Crash boundaries: a line counts once it and its line feed are on disk (fsync), and only then does anything follow from it. What
 * stands behind the last line feed was never acted on and is cut off when the journal is opened again. Anything else that does
 * not fit is damage, and refuses.
 */
import { createHash } from 'node:crypto';
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  readSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { UsageError } from '../command.ts';
import type { SignerPolicy } from './policy.ts';
import { nothingSaid, say, type Entry, type Said } from './standing.ts';

/** The journal cannot be trusted, or not be written: nothing may be signed any more by this process. */
export class JournalBroken extends Error {
  override readonly name = 'JournalBroken';
}

export interface Journal {
  /** What the lines say together. */
  readonly said: Said;
  /** Appends a line. When this returns, it is on disk. @throws JournalBroken */
  append(entry: Entry): void;
  close(): void;
}

const LINE_FEED = 0x0a;
const FIRST_SUM = '0'.repeat(64);
/** `{"sum":"<64 hex>","entry":<the entry's JSON>}` */
const LINE = /^\{"sum":"([0-9a-f]{64})","entry":(\{.*\})\}$/s;

const sumOf = (before: string, text: string): string => createHash('sha256').update(before).update(text).digest('hex');
const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : 'unreadable';

interface Read {
  readonly said: Said;
  readonly sum: string;
  /** Bytes of whole lines. */
  readonly size: number;
}

/**
 * Reads a journal's text.
 * @throws UsageError when a line does not follow from the one before it, or the journal is another log's or key's
 */
function readLines(bytes: Buffer, policy: SignerPolicy): Read {
  const size = bytes.lastIndexOf(LINE_FEED) + 1;
  const said = nothingSaid();
  let sum = FIRST_SUM;
  const lines = bytes.subarray(0, size).toString('utf8').split('\n').slice(0, -1);
  for (const [index, line] of lines.entries()) {
    const [, stated, text] = LINE.exec(line) ?? [];
    if (stated === undefined || text === undefined || sumOf(sum, text) !== stated) throw damaged(index);
    sum = stated;
    const entry = JSON.parse(text) as Entry;
    if ((entry.kind === 'begin') !== (index === 0)) throw damaged(index);
    if (entry.kind === 'begin') requireOwn(entry, policy);
    try {
      say(said, entry);
    } catch {
      throw damaged(index);
    }
  }
  return { said, sum, size };
}

function damaged(index: number): UsageError {
  return new UsageError(
    `the journal is damaged at line ${index + 1}: it was changed, or the disk has lost something. Nothing is signed on it; see docs/custody-tenant-agent.md`,
  );
}

function requireOwn(entry: Extract<Entry, { kind: 'begin' }>, policy: SignerPolicy): void {
  const { origin, logId, registry, signer } = policy;
  const own =
    entry.origin === origin &&
    entry.logId === logId &&
    entry.chainId === registry.chainId &&
    entry.contract === registry.contract &&
    entry.signer === signer;
  if (!own) throw new UsageError('the journal is of another log, contract or key than the policy');
}

/** Reads a journal without taking it. Null when there is none. @throws UsageError */
export function peekJournal(path: string, policy: SignerPolicy): Said | null {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null;
    throw new UsageError(`the journal cannot be read: ${codeOf(error)}`);
  }
  return readLines(bytes, policy).said;
}

/**
 * Opens the journal at `path`, or begins one. The caller holds its lock (lock.ts).
 * @throws UsageError when it cannot be read, is damaged, or is of another log, contract or key
 */
export function openJournal(path: string, policy: SignerPolicy): Journal {
  let file: number;
  try {
    file = openSync(path, constants.O_RDWR | constants.O_APPEND | constants.O_CREAT, 0o600);
  } catch (error) {
    throw new UsageError(`the journal cannot be opened: ${codeOf(error)}`);
  }
  try {
    return open(file, path, policy);
  } catch (error) {
    closeSync(file);
    throw error;
  }
}

function open(file: number, path: string, policy: SignerPolicy): Journal {
  const bytes = readFileSync(file);
  const read = readLines(bytes, policy);
  const { said } = read;
  let { sum, size } = read;
  let broken = false;
  if (bytes.length > size) {
    ftruncateSync(file, size);
    fsyncSync(file);
  }

  function append(entry: Entry): void {
    if (broken) throw new JournalBroken('the journal is closed since a line could not be written');
    const text = JSON.stringify(entry);
    const next = sumOf(sum, text);
    const line = Buffer.from(`{"sum":"${next}","entry":${text}}\n`);
    broken = true;
    try {
      let written = 0;
      while (written < line.length) written += writeSync(file, line, written);
      fsyncSync(file);
      requireInPlace(line);
    } catch (error) {
      if (error instanceof JournalBroken) throw error;
      throw new JournalBroken(`the journal cannot be written: ${codeOf(error)}`);
    }
    say(said, entry);
    sum = next;
    size += line.length;
    broken = false;
  }

  /** The lock aside: had anybody else appended meanwhile, this line would stand elsewhere, and both would stop here before they sign. */
  function requireInPlace(line: Buffer): void {
    const there = Buffer.alloc(line.length);
    const count = readSync(file, there, 0, line.length, size);
    if (fstatSync(file).size !== size + line.length || count !== line.length || !there.equals(line)) {
      throw new JournalBroken('somebody else writes into the journal');
    }
  }

  if (size === 0) {
    const { origin, logId, registry, signer } = policy;
    append({ kind: 'begin', origin, logId, chainId: registry.chainId, contract: registry.contract, signer });
    const folder = openSync(dirname(path), 'r');
    try {
      fsyncSync(folder);
    } finally {
      closeSync(folder);
    }
  }
  return { said, append, close: () => closeSync(file) };
}
