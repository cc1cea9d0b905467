/**
 * A record's place in its log as a transparency-log proof (c2sp.org/tlog-proof@v1): what a receipt says that needs no
 * chain, for tools that know that format. `extra` holds the entry's bytes, which the leaf hash is made of.
 */
import { fromBase64, toBase64 } from './base64.ts';
import { HASH_SIZE } from './hash.ts';
import { fromHex, toHex, utf8, type Hex } from './hex.ts';
import { decodeUtf8Strict, JsonError } from './json.ts';
import { parseEntry } from './entry.ts';
import { parseCheckpoint } from './note.ts';
import type { Receipt } from './receipt.ts';
import { publishedCheckpoint } from './seal-line.ts';

const FIRST_LINE = 'c2sp.org/tlog-proof@v1';

/** As long as an inclusion path of a receipt can be. */
const MAX_PATH = 48;

const INDEX = /^index (0|[1-9]\d{0,15})$/;

/** What a proof says. `checkpoint` is a note, verbatim. */
export interface TlogProof {
  /** The entry, as its text. */
  readonly entry: string;
  readonly leafIndex: number;
  readonly inclusion: readonly Hex[];
  readonly checkpoint: string;
}

/**
 * The receipt's proof, under the checkpoint as the log publishes it (with the seal's line). The record itself stays in the
 * receipt.
 * @throws TypeError when the receipt has no checkpoint, or one of another tree
 */
export function tlogProofOf({ entry, leafIndex, inclusion, checkpoint, seal }: Receipt): string {
  if (checkpoint === null) throw new TypeError('the receipt has no checkpoint, and a proof is made of one');
  return encodeTlogProof({ entry, leafIndex, inclusion, checkpoint: publishedCheckpoint(checkpoint, seal) });
}

/** @throws TypeError if a member is not of its form */
export function encodeTlogProof({ entry, leafIndex, inclusion, checkpoint }: TlogProof): string {
  parseEntry(entry);
  parseCheckpoint(checkpoint);
  if (!Number.isSafeInteger(leafIndex) || leafIndex < 0) throw new TypeError('proof: the index is malformed');
  const path = inclusion.map((hash) => `${toBase64(fromHex(hash, HASH_SIZE))}\n`).join('');
  return `${FIRST_LINE}\nextra ${toBase64(utf8(entry))}\nindex ${leafIndex}\n${path}\n${checkpoint}`;
}

/**
 * Reads a proof of a leaf of ours: one with its entry as extra data. Nothing is verified.
 * @throws TypeError that says what is malformed
 */
export function parseTlogProof(text: string): TlogProof {
  // The path's lines are not empty, so the first empty line is the one before the checkpoint.
  const at = text.indexOf('\n\n');
  if (at < 0) throw new TypeError('proof: there is no checkpoint');
  const [first, extra, index, ...path] = text.slice(0, at).split('\n');
  if (first !== FIRST_LINE) throw new TypeError(`proof: its first line is not ${FIRST_LINE}`);
  if (extra?.startsWith('extra ') !== true) throw new TypeError('proof: its second line is not the entry');
  const [, digits] = INDEX.exec(index ?? '') ?? [];
  const leafIndex = Number(digits);
  if (digits === undefined || !Number.isSafeInteger(leafIndex)) throw new TypeError('proof: its index is malformed');
  if (path.length > MAX_PATH) throw new TypeError('proof: its path is too long');
  const inclusion = path.map((line) => {
    const hash = fromBase64(line);
    if (hash.length !== HASH_SIZE) throw new TypeError('proof: a hash of its path has not 32 bytes');
    return toHex(hash);
  });
  const checkpoint = text.slice(at + 2);
  parseCheckpoint(checkpoint);
  return { entry: entryOf(extra.slice('extra '.length)), leafIndex, inclusion, checkpoint };
}

function entryOf(base64: string): string {
  let entry: string;
  try {
    entry = decodeUtf8Strict(fromBase64(base64));
  } catch (error) {
    if (error instanceof JsonError) throw new TypeError('proof: its extra data is no entry', { cause: error });
    throw error;
  }
  parseEntry(entry);
  return entry;
}
