/**
 * The end of a log (design section 7). A log that can no longer be sealed ends: the operator's signed statement names its last
 * good seal and the reason, and the tenant's next log begins anew. Nothing ever says that one continues the other.
 */
import { UINT_MAX, type Seal } from './eip712.ts';
import { EMPTY_ROOT, HASH_SIZE } from './hash.ts';
import { isHex, toHex, type Hex } from './hex.ts';
import { splitNote, verifyNote } from './note.ts';
import { NO_HEAD } from './seal.ts';

/**
 * Why a log is frozen or ended. Never renamed: these words stand in signed statements. All but the last two are found by a
 * worker and freeze the log at once; `clock-ahead` (the head is dated after what any clock says) and `signer-lost` are an
 * operator's findings.
 */
export const END_REASONS = [
  'record-missing',
  'record-altered',
  'tile-altered',
  'seal-altered',
  'root-conflict',
  'seal-conflict',
  'statement-conflict',
  'not-an-extension',
  'database-behind',
  'chain-ahead',
  'chain-differs',
  'diverged',
  'final-reorged',
  'clock-ahead',
  'signer-lost',
] as const;

export type EndReason = (typeof END_REASONS)[number];

/** The last seal that stands, by what its log's journal and chain agree on. Seq 0: no seal was ever good. */
export interface LastSeal extends Pick<Seal, 'seq' | 'treeSize' | 'root'> {
  /** Struct hash of the seal: the log's head when it ended. */
  readonly sealHash: Hex;
}

/** What the operator states. */
export interface EndStatement {
  /** Of the log that ended; it is also the name of the key that signs. */
  readonly origin: string;
  readonly logId: Hex;
  readonly last: LastSeal;
  readonly reason: EndReason;
  /** Origin of the tenant's next log. */
  readonly successor: string;
}

/** Where a log stands that never had a seal. */
export const NO_SEAL: LastSeal = { seq: 0, sealHash: NO_HEAD, treeSize: 0, root: toHex(EMPTY_ROOT) };

/** As origins are in receipts and policies (shape.ts). */
const ORIGIN = /^[!-*,-~]{1,255}$/u;

const LINES = ['kiff.end/1', 'origin', 'log', 'seq', 'seal', 'size', 'root', 'reason', 'successor'] as const;

function fault({ origin, logId, last, reason, successor }: EndStatement): string | undefined {
  if (!ORIGIN.test(origin) || !ORIGIN.test(successor)) return 'an origin is malformed';
  if (origin === successor) return 'a log cannot succeed itself';
  if (!isHex(logId, 32)) return 'the log id is malformed';
  if (!isCount(last.seq, UINT_MAX.uint32)) return 'the seq is malformed';
  if (!isCount(last.treeSize, UINT_MAX.uint48)) return 'the size is malformed';
  if (!isHex(last.sealHash, 32) || !isHex(last.root, HASH_SIZE)) return 'the seal is malformed';
  const { sealHash, treeSize, root } = NO_SEAL;
  if (last.seq === 0 && (last.sealHash !== sealHash || last.treeSize !== treeSize || last.root !== root)) {
    return 'a log without a seal has no tree';
  }
  if (!END_REASONS.includes(reason)) return 'the reason is unknown';
  return undefined;
}

function isCount(value: number, max: number): boolean {
  return Number.isSafeInteger(value) && value >= 0 && value <= max;
}

/**
 * The text that the operator signs. Its second line begins with a word, so no checkpoint ever reads like it.
 * @throws TypeError if a member is not of its form
 */
export function endText(statement: EndStatement): string {
  const problem = fault(statement);
  if (problem !== undefined) throw new TypeError(`end: ${problem}`);
  const { origin, logId, last, reason, successor } = statement;
  const values = [origin, logId, last.seq, last.sealHash, last.treeSize, last.root, reason, successor];
  return `${LINES[0]}\n${LINES.slice(1)
    .map((name, at) => `${name} ${values[at]}\n`)
    .join('')}`;
}

/**
 * Reads the text of an end statement, accepting exactly what `endText` writes.
 * @throws TypeError that says what is malformed
 */
function parseEndText(text: string): EndStatement {
  const lines = text.split('\n');
  const value = (at: number): string => {
    const name = LINES[at]!;
    const line = lines[at];
    if (line === undefined || !line.startsWith(`${name} `))
      throw new TypeError(`end: line ${at + 1} is not its ${name}`);
    return line.slice(name.length + 1);
  };
  const statement: EndStatement = {
    origin: value(1),
    logId: value(2) as Hex,
    last: {
      seq: Number(value(3)),
      sealHash: value(4) as Hex,
      treeSize: Number(value(5)),
      root: value(6) as Hex,
    },
    reason: value(7) as EndReason,
    successor: value(8),
  };
  // One spelling: whatever else was in the text is in none that is written here.
  if (endText(statement) !== text) throw new TypeError('end: it is not exactly one statement');
  return statement;
}

/**
 * Reads a signed end statement. Nothing is verified.
 * @throws TypeError that says what is malformed
 */
export function parseEnd(note: string): EndStatement {
  return parseEndText(splitNote(note).text);
}

/**
 * Reads a signed end statement and verifies that it is signed with an Ed25519 key (32 bytes of hex) under the ended log's
 * origin. Undefined if it is malformed or does not verify; nothing throws.
 */
export function verifyEnd(note: string, publicKey: Hex): EndStatement | undefined {
  try {
    const statement = parseEnd(note);
    return verifyNote(note, { origin: statement.origin, publicKey }) === undefined ? undefined : statement;
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}

/** Where a sealed leaf stands: what a receipt says of its log and its seal. */
export interface PlaceInLog {
  readonly origin: string;
  readonly logId: Hex;
  readonly seq: number;
  readonly sealHash: Hex;
}

/**
 * How a place relates to an end. `before-end`: in the log that ended, under a seal that stands. `beyond-end`: in that log,
 * but under a seal that the end does not cover, or another one at the last seq. `successor`: in the log that came after it.
 */
export type PlaceAtEnd = 'before-end' | 'beyond-end' | 'successor' | 'elsewhere';

export function placeAtEnd(place: PlaceInLog, end: EndStatement): PlaceAtEnd {
  if (place.logId === end.logId) {
    if (place.seq > end.last.seq) return 'beyond-end';
    return place.seq < end.last.seq || place.sealHash === end.last.sealHash ? 'before-end' : 'beyond-end';
  }
  return place.origin === end.successor ? 'successor' : 'elsewhere';
}

/**
 * How two places relate, as far as an end statement tells: in one log, or in two with an end between them. There is no third
 * answer that would join two logs: whatever lies between them is not proved by either.
 */
export function relatePlaces(
  a: PlaceInLog,
  b: PlaceInLog,
  end: EndStatement,
): 'one-log' | 'discontinuity' | 'unrelated' {
  if (a.logId === b.logId) return 'one-log';
  const places = [placeAtEnd(a, end), placeAtEnd(b, end)];
  const inEnded = places.some((place) => place === 'before-end' || place === 'beyond-end');
  return inEnded && places.includes('successor') ? 'discontinuity' : 'unrelated';
}
