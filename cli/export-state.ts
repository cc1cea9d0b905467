/** How far a bundle's file has come: read from the file itself, so that an export needs no second file to go on from. */
import { createReadStream } from 'node:fs';
import type { BundleHeader, BundleLine } from '../protocol/index.ts';
import { MAX_LINE_BYTES } from '../protocol/bundle.ts';
import { UsageError } from './command.ts';

const LINE_FEED = 0x0a;

/** What the lines so far say; `take` adds those of a page. */
export class Progressed {
  header: BundleHeader | undefined;
  seals = 0;
  entries = 0;
  complete = false;
  /** The last seal's, while its entries are read. */
  period: number | undefined;
  #seq: number | undefined;
  #size = 0;
  #leaf = 0;

  get origin(): string | undefined {
    return this.header?.origin;
  }

  get span(): { readonly from: number; readonly to: number } | undefined {
    return this.header && { from: this.header.from, to: this.header.to };
  }

  /** Where to go on: in a seal whose entries are not all there, or behind it. Undefined before the first seal. */
  get cursor(): { readonly seq: number; readonly leaf: number | null } | undefined {
    if (this.#seq === undefined) return undefined;
    return this.#leaf < this.#size ? { seq: this.#seq, leaf: this.#leaf } : { seq: this.#seq + 1, leaf: null };
  }

  /** Whole lines, as bytes. @throws UsageError when they are none of a bundle's */
  take(bytes: Uint8Array): void {
    for (let start = 0; start < bytes.length;) {
      const end = bytes.indexOf(LINE_FEED, start);
      this.#line(bytes.subarray(start, end));
      start = end + 1;
    }
  }

  #line(bytes: Uint8Array): void {
    // Almost all lines are entries: they are counted, not parsed.
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (this.header !== undefined && text.subarray(0, ENTRY.length).equals(ENTRY)) {
      this.entries++;
      this.#leaf++;
      return;
    }
    let line: BundleHeader | BundleLine;
    try {
      line = JSON.parse(text.toString('utf8')) as BundleHeader | BundleLine;
    } catch {
      throw notOurs();
    }
    if (this.header === undefined) {
      if (!('format' in line) || line.format !== 'kiff.bundle/1') {
        throw notOurs();
      }
      this.header = line;
    } else if ('base' in line) {
      this.#leaf = line.base.treeSize;
    } else if ('seal' in line) {
      this.seals++;
      this.#seq = line.seal.seq;
      this.#size = line.seal.treeSize;
      this.period = line.seal.period;
    } else if ('seals' in line) {
      this.complete = true;
    }
  }
}

const notOurs = (): UsageError => new UsageError('the file is no bundle: give another name for the export');

const ENTRY = Buffer.from('{"entry":');

/**
 * Reads a file that an export was written into.
 * @param size 0: there is none
 * @returns its state, and how many bytes of it count: up to the last whole line, or none of a beginning without a seal
 * @throws UsageError when it is another file
 */
export async function whereItBrokeOff(path: string, size: number): Promise<{ state: Progressed; whole: number }> {
  const state = new Progressed();
  if (size === 0) return { state, whole: 0 };
  let whole = 0;
  let rest = Buffer.alloc(0);
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    const bytes = Buffer.concat([rest, chunk]);
    const end = bytes.lastIndexOf(LINE_FEED) + 1;
    state.take(bytes.subarray(0, end));
    whole += end;
    rest = bytes.subarray(end);
    if (rest.length > MAX_LINE_BYTES) throw notOurs();
  }
  // Before the first seal there is no place to go on from.
  if (state.cursor === undefined && !state.complete) return { state: new Progressed(), whole: 0 };
  return { state, whole };
}
