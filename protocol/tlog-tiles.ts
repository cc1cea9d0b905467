/**
 * The public log's addresses and entry bundles (c2sp.org/tlog-tiles): what a server answers and a reader asks for, under
 * `<api>/t/<tenant>/`.
 */
import { concatBytes } from './hex.ts';
import { TILE_WIDTH, type TileRef } from './tile.ts';

/** Entries of a bundle are as many as hashes of a tile. */
const GROUP = 1_000;

/** Indexes of tiles of the largest tree (2^48 leaves) have 13 digits, which are five groups of three. */
const INDEX = /^((?:x\d{3}\/){0,4}\d{3})(?:\.p\/([1-9]\d{0,2}))?$/;

/** `<N>[.p/<W>]`: three digits a path element, all but the last one behind an `x`; the width unless it is full. */
function indexPath(index: number, width: number): string {
  if (!Number.isSafeInteger(index) || index < 0) throw new RangeError('index must be an integer in 0…2^53-1');
  if (!Number.isInteger(width) || width < 1 || width > TILE_WIDTH) throw new RangeError('width must be in 1…256');
  let path = '';
  for (let rest = index, last = true; last || rest > 0; rest = Math.floor(rest / GROUP), last = false) {
    const digits = String(rest % GROUP).padStart(3, '0');
    path = last ? digits : `x${digits}/${path}`;
  }
  return width === TILE_WIDTH ? path : `${path}.p/${width}`;
}

/** `tile/<L>/<N>[.p/<W>]`. @throws RangeError */
export function tilePath({ level, index, width }: TileRef): string {
  if (!Number.isInteger(level) || level < 0 || level > 63) throw new RangeError('level must be in 0…63');
  return `tile/${level}/${indexPath(index, width)}`;
}

/** `tile/entries/<N>[.p/<W>]`. @throws RangeError */
export function bundlePath({ index, width }: Omit<TileRef, 'level'>): string {
  return `tile/entries/${indexPath(index, width)}`;
}

/** Reads `<N>[.p/<W>]` in its one spelling; undefined if it is anything else. */
export function parseIndexPath(path: string): Omit<TileRef, 'level'> | undefined {
  const [, digits, w] = INDEX.exec(path) ?? [];
  if (digits === undefined) return undefined;
  const index = Number(digits.replaceAll(/[x/]/g, ''));
  const width = w === undefined ? TILE_WIDTH : Number(w);
  // A full tile has no width in its address, and a path element is written only where the index has digits for it.
  if ((w !== undefined && width >= TILE_WIDTH) || indexPath(index, width) !== path) return undefined;
  return { index, width };
}

/**
 * An entry bundle: each entry behind its length, a big-endian uint16.
 * @throws RangeError when there are none, more than 256, or one is longer than 65,535 bytes
 */
export function encodeBundle(entries: readonly Uint8Array[]): Uint8Array {
  if (entries.length < 1 || entries.length > TILE_WIDTH) throw new RangeError('a bundle has 1 to 256 entries');
  return concatBytes(
    ...entries.flatMap((entry) => {
      if (entry.length > 0xffff) throw new RangeError('an entry is longer than 65,535 bytes');
      return [Uint8Array.of(entry.length >> 8, entry.length & 0xff), entry];
    }),
  );
}

/**
 * Reads an entry bundle of `count` entries.
 * @throws TypeError when it ends in the midst of one, or holds more or fewer
 */
export function decodeBundle(bundle: Uint8Array, count: number): Uint8Array[] {
  const entries: Uint8Array[] = [];
  for (let at = 0; at < bundle.length;) {
    const length = (bundle[at]! << 8) | (bundle[at + 1] ?? 0);
    const end = at + 2 + length;
    if (end > bundle.length || at + 1 >= bundle.length) throw new TypeError('bundle: it ends in the midst of an entry');
    if (entries.length === count) throw new TypeError(`bundle: it has more than ${count} entries`);
    entries.push(bundle.subarray(at + 2, end));
    at = end;
  }
  if (entries.length !== count) throw new TypeError(`bundle: it has ${entries.length} entries and not ${count}`);
  return entries;
}
