/**
 * `kiff.bundle/1`: a stretch of a log, whole, as lines of strict JSON (NDJSON). It is written and read in one pass, so it
 * may be of any length: the header; if it does not begin with the log's first seal, the handovers up to its base and the
 * base (the seal before, with the hashes that its tree goes on from); then, as the log went on, each seal followed by its
 * entries, and each handover where it happened; the end statement of a log that ended; the trailer. What parses is well formed
 * and nothing more: verify-bundle.ts says whether it is true.
 */
import { UINT_MAX, type Registry } from './eip712.ts';
import { HASH_SIZE } from './hash.ts';
import type { Hex } from './hex.ts';
import { decodeUtf8Strict, JsonError } from './json.ts';
import { readDisclosure, readHandover, readPosition, readRegistry, readSeal } from './receipt.ts';
import type { AnchoredHandover, ChainPosition, Disclosure, SignedSeal } from './receipt.ts';
import {
  FormatError,
  hex,
  integer,
  list,
  NotJsonError,
  nullable,
  object,
  oneOf,
  origin,
  parseJson,
  text,
  type Reader,
} from './shape.ts';

/** The first line: which log, and which periods (first seconds, both included) the bundle says it holds all seals of. */
export interface BundleHeader {
  readonly format: 'kiff.bundle/1';
  readonly origin: string;
  readonly genesisSigner: Hex;
  readonly registry: Registry;
  readonly periodSeconds: number;
  readonly from: number;
  readonly to: number;
}

/** The seal before the first one, with the complete subtrees under its root (subtree.ts `rootNodes`), left to right. */
export interface BundleBase {
  readonly base: SignedSeal;
  readonly nodes: readonly Hex[];
  readonly anchor: ChainPosition | null;
}

export interface BundleSeal {
  readonly seal: SignedSeal;
  readonly checkpoint: string | null;
  readonly anchor: ChainPosition | null;
}

/** One leaf. `disclosure` is null when it was withheld, or the record erased. */
export interface BundleEntry {
  readonly entry: string;
  readonly disclosure: Disclosure | null;
}

/** A succession, where it happened. */
export interface BundleHandover {
  readonly handover: AnchoredHandover;
}

/** The operator's signed statement that the log has ended (ending.ts). */
export interface BundleEnd {
  readonly end: string;
}

/** The last line: a bundle without it was cut off. */
export interface BundleTrailer {
  readonly seals: number;
  readonly entries: number;
}

/** Any line behind the header. Each kind has one member that no other has. */
export type BundleLine = BundleBase | BundleSeal | BundleEntry | BundleHandover | BundleEnd | BundleTrailer;

/** How every bundle begins, and no receipt of ours does: by this a reader tells them apart before it has read a line. */
export const BUNDLE_HEAD = '{"format":"kiff.bundle/1",';

/** A record has 64 KiB at most, and every byte of it may be escaped in six. */
export const MAX_LINE_BYTES = 1024 * 1024;

const seconds = integer(0, UINT_MAX.uint64);
const count = integer(0, Number.MAX_SAFE_INTEGER);

// A tree of up to 2^53 leaves.
const MAX_NODES = 53;

const header: Reader<BundleHeader> = object<BundleHeader>({
  format: oneOf('kiff.bundle/1'),
  origin,
  genesisSigner: hex(20),
  registry: readRegistry,
  periodSeconds: integer(1, UINT_MAX.uint32),
  from: seconds,
  to: seconds,
});

const readers: Readonly<Record<string, Reader<BundleLine>>> = {
  entry: object<BundleEntry>({ entry: text, disclosure: readDisclosure }),
  seal: object<BundleSeal>({ seal: readSeal, checkpoint: nullable(text), anchor: nullable(readPosition) }),
  handover: object<BundleHandover>({ handover: readHandover }),
  base: object<BundleBase>({ base: readSeal, nodes: list(hex(HASH_SIZE), MAX_NODES), anchor: nullable(readPosition) }),
  end: object<BundleEnd>({ end: text }),
  seals: object<BundleTrailer>({ seals: count, entries: count }),
};

function lineOf(source: string): BundleLine {
  const value = parseJson(source);
  if (typeof value !== 'object' || value === null) throw new FormatError('', 'expected an object');
  for (const name in readers) if (Object.hasOwn(value, name)) return readers[name]!(value, '');
  throw new FormatError('', 'is no line of a bundle');
}

/** A line that breaks the format. `line` counts from 1. */
export class BundleLineError extends Error {
  readonly line: number;

  constructor(line: number, problem: string) {
    super(`line ${line}: ${problem}`);
    this.name = 'BundleLineError';
    this.line = line;
  }
}

const LINE_FEED = 0x0a;

/**
 * Cuts bytes into lines; one that is longer than a line may be is refused before it is held.
 * @throws BundleLineError, once the lines before were handed out
 */
async function* linesOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array[]> {
  let begun: Uint8Array = new Uint8Array(0);
  let number = 1;
  for await (const chunk of chunks) {
    const lines: Uint8Array[] = [];
    let start = 0;
    let tooLong = false;
    while (!tooLong && start < chunk.length) {
      const feed = chunk.indexOf(LINE_FEED, start);
      const part = chunk.subarray(start, feed < 0 ? chunk.length : feed);
      tooLong = begun.length + part.length > MAX_LINE_BYTES;
      if (tooLong) break;
      const line = begun.length === 0 && feed >= 0 ? part : joined(begun, part);
      start += part.length + 1;
      if (feed < 0) {
        begun = line;
      } else {
        lines.push(line);
        begun = new Uint8Array(0);
        number++;
      }
    }
    if (lines.length > 0) yield lines;
    if (tooLong) throw new BundleLineError(number, `is longer than ${MAX_LINE_BYTES} bytes`);
  }
  if (begun.length > 0) throw new BundleLineError(number, 'breaks off: every line ends with a line feed');
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

/** Reads one line's bytes. @throws BundleLineError */
function readLine<T>(bytes: Uint8Array, number: number, read: (source: string) => T): T {
  try {
    return read(decodeUtf8Strict(bytes));
  } catch (error) {
    if (error instanceof JsonError || error instanceof FormatError || error instanceof NotJsonError) {
      throw new BundleLineError(number, error.message);
    }
    throw error;
  }
}

/** Lines that came together: all of a chunk of the input, so that a million entries are not a million turns of the loop. */
export interface BundleLines {
  /** Number of the first of them. */
  readonly first: number;
  readonly lines: readonly BundleLine[];
}

/**
 * Reads a bundle from its bytes, in chunks of any size: the header, then the lines as they come. Memory is bounded by the
 * chunks and by `MAX_LINE_BYTES`.
 * @throws BundleLineError at the first line that breaks the format; lines before it were handed out
 */
export async function* readBundle(
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<BundleHeader | BundleLines, void, undefined> {
  let number = 0;
  for await (const batch of linesOf(chunks)) {
    const first = number + (number === 0 ? 2 : 1);
    const lines: BundleLine[] = [];
    let failed: BundleLineError | undefined;
    for (const bytes of batch) {
      number++;
      if (number === 1) {
        yield readLine(bytes, number, (source) => header(parseJson(source), ''));
        continue;
      }
      try {
        lines.push(readLine(bytes, number, lineOf));
      } catch (error) {
        if (!(error instanceof BundleLineError)) throw error;
        failed = error;
        break;
      }
    }
    if (lines.length > 0) yield { first, lines };
    if (failed !== undefined) throw failed;
  }
  if (number === 0) throw new BundleLineError(1, 'there is none: the bundle is empty');
}
