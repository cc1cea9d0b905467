/**
 * A strict RFC 8259 scanner that runs before any parser can hide what is wrong: `JSON.parse` keeps the last of two members
 * with one name, and turns a lone surrogate into text that has no UTF-8. It builds no values, does not recurse, and says
 * nothing about numbers beyond their syntax, so 1e400 and -0 pass as the bytes they are. Longer than most files here
 * because it is one grammar: each rule is a few lines, and none is of use without the others.
 */

/** What is wrong with a text. Stable: these words reach API clients. */
export type JsonFault =
  'invalid-utf8' | 'bom' | 'syntax' | 'duplicate-key' | 'lone-surrogate' | 'too-deep' | 'not-an-integer';

const FAULT_TEXT: Readonly<Record<JsonFault, string>> = {
  'invalid-utf8': 'not valid UTF-8',
  bom: 'a byte order mark is not allowed',
  syntax: 'not valid JSON',
  'duplicate-key': 'an object has two members with the same name',
  'lone-surrogate': 'half of a surrogate pair',
  'too-deep': 'nested too deep',
  'not-an-integer': 'a number has a fraction or an exponent',
};

/** A text that is refused. Its message never quotes the text. */
export class JsonError extends Error {
  override readonly name = 'JsonError';
  readonly code: JsonFault;
  /** Where: in bytes for `decodeUtf8Strict`, in UTF-16 code units for the scanners. */
  readonly offset: number;

  constructor(code: JsonFault, offset: number) {
    super(`${FAULT_TEXT[code]} (at offset ${offset})`);
    this.code = code;
    this.offset = offset;
  }
}

/** Where a text's one value stands (without the white space around it), and of which kind it is. */
export interface JsonValue {
  readonly kind: 'object' | 'array' | 'string' | 'number' | 'literal';
  readonly start: number;
  readonly end: number;
}

/** A member of the outermost object: its name unescaped, and where its value stands in the text. */
export interface JsonMember {
  readonly name: string;
  readonly valueStart: number;
  readonly valueEnd: number;
}

/** Nesting that is accepted unless said otherwise. */
const DEFAULT_MAX_DEPTH = 32;

/** Up to this many members, comparing names one by one is faster than a Set (measured on audit records). */
const FEW_NAMES = 24;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const MINUS = 0x2d;
const ZERO = 0x30;

// The one BOM-keeping decoder: with ignoreBOM false it would drop the mark in silence.
const strictDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Offset of the first byte that is not part of valid UTF-8 (Unicode table 3-7); only called once there is one. */
function invalidUtf8Offset(bytes: Uint8Array): number {
  let at = 0;
  while (at < bytes.length) {
    const lead = bytes[at] ?? 0;
    const next = bytes[at + 1] ?? 0;
    let length = 1;
    if (lead >= 0x80) {
      if (lead >= 0xc2 && lead <= 0xdf) length = 2;
      else if (lead >= 0xe0 && lead <= 0xef) length = 3;
      else if (lead >= 0xf0 && lead <= 0xf4) length = 4;
      else return at;
      const overlong = (lead === 0xe0 && next < 0xa0) || (lead === 0xf0 && next < 0x90);
      if (overlong || (lead === 0xed && next > 0x9f) || (lead === 0xf4 && next > 0x8f)) return at;
      for (let more = 1; more < length; more++) {
        if (((bytes[at + more] ?? 0) & 0xc0) !== 0x80) return at;
      }
    }
    at += length;
  }
  return at;
}

/**
 * Decodes UTF-8, with nothing replaced and nothing dropped: encoding the result gives the same bytes again.
 * @throws JsonError `bom` for a byte order mark at the start, `invalid-utf8` with the offset of the bad sequence.
 */
export function decodeUtf8Strict(bytes: Uint8Array): string {
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) throw new JsonError('bom', 0);
  try {
    return strictDecoder.decode(bytes);
  } catch {
    throw new JsonError('invalid-utf8', invalidUtf8Offset(bytes));
  }
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

/** RFC 8259 white space: space, tab, line feed, carriage return. */
function skipSpace(text: string, at: number): number {
  for (;;) {
    const code = text.charCodeAt(at);
    if (code > 0x20) return at;
    if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return at;
    at++;
  }
}

function hexQuad(text: string, at: number): number {
  let value = 0;
  for (let digit = at; digit < at + 4; digit++) {
    const code = text.charCodeAt(digit);
    const letter = code | 0x20;
    if (isDigit(code)) value = value * 16 + code - 0x30;
    else if (letter >= 0x61 && letter <= 0x66) value = value * 16 + letter - 0x57;
    else throw new JsonError('syntax', digit);
  }
  return value;
}

/** `at` is at the backslash; returns the offset behind the escape (behind both halves of an escaped pair). */
function scanEscape(text: string, at: number): number {
  switch (text.charCodeAt(at + 1)) {
    case QUOTE:
    case BACKSLASH:
    case 0x2f: // slash
    case 0x62: // b
    case 0x66: // f
    case 0x6e: // n
    case 0x72: // r
    case 0x74: // t
      return at + 2;
    case 0x75: {
      // u
      const unit = hexQuad(text, at + 2);
      if (unit < 0xd800 || unit > 0xdfff) return at + 6;
      const paired = unit <= 0xdbff && text.charCodeAt(at + 6) === BACKSLASH && text.charCodeAt(at + 7) === 0x75;
      if (!paired) throw new JsonError('lone-surrogate', at);
      const low = hexQuad(text, at + 8);
      if (low < 0xdc00 || low > 0xdfff) throw new JsonError('lone-surrogate', at);
      return at + 12;
    }
    default:
      throw new JsonError('syntax', at);
  }
}

/** `at` is behind the opening quote; returns the offset of the closing one. */
function scanString(text: string, at: number): number {
  for (;;) {
    let code = text.charCodeAt(at);
    // Almost every character of a record is decided here.
    while (code !== QUOTE && code !== BACKSLASH && code >= 0x20 && code < 0xd800) code = text.charCodeAt(++at);
    if (code === QUOTE) return at;
    if (code === BACKSLASH) {
      at = scanEscape(text, at);
    } else if (code > 0xdfff) {
      at++;
    } else if (code >= 0xd800) {
      const low = text.charCodeAt(at + 1);
      if (code > 0xdbff || !(low >= 0xdc00 && low <= 0xdfff)) throw new JsonError('lone-surrogate', at);
      at += 2;
    } else {
      // A control character, or NaN: the text ends inside the string.
      throw new JsonError('syntax', at);
    }
  }
}

function scanDigits(text: string, at: number): number {
  if (!isDigit(text.charCodeAt(at))) throw new JsonError('syntax', at);
  while (isDigit(text.charCodeAt(at))) at++;
  return at;
}

/** RFC 8259 section 6; returns the offset behind the number. */
function scanNumber(text: string, at: number): number {
  if (text.charCodeAt(at) === MINUS) at++;
  at = text.charCodeAt(at) === ZERO ? at + 1 : scanDigits(text, at);
  if (text.charCodeAt(at) === 0x2e) at = scanDigits(text, at + 1);
  if ((text.charCodeAt(at) | 0x20) === 0x65) {
    const sign = text.charCodeAt(at + 1);
    at = scanDigits(text, sign === 0x2b || sign === MINUS ? at + 2 : at + 1);
  }
  return at;
}

function scanLiteral(text: string, at: number): number {
  for (const literal of ['true', 'false', 'null']) {
    if (text.startsWith(literal, at)) return at + literal.length;
  }
  throw new JsonError('syntax', at);
}

/** An object or array that is open, with an object's names so far. */
class Frame {
  readonly isObject: boolean;
  readonly #names: string[] = [];
  #set: Set<string> | undefined = undefined;

  constructor(isObject: boolean) {
    this.isObject = isObject;
  }

  /** Adds a name; false if it is there already. */
  add(name: string): boolean {
    if (this.#set !== undefined) {
      const before = this.#set.size;
      return this.#set.add(name).size > before;
    }
    const names = this.#names;
    for (let at = 0; at < names.length; at++) {
      if (names[at] === name) return false;
    }
    names.push(name);
    if (names.length > FEW_NAMES) this.#set = new Set(names);
    return true;
  }
}

/** How deep arrays and objects may nest (`[]` is 1 deep; 32 unless given), and whether every number has to be an integer. */
export interface JsonLimits {
  readonly maxDepth?: number;
  readonly integersOnly?: boolean;
}

/** The scan behind both exports; `members`, if given, collects those of the outermost object. */
function scan(
  text: string,
  { maxDepth = DEFAULT_MAX_DEPTH, integersOnly = false }: JsonLimits,
  members: JsonMember[] | undefined,
): JsonValue {
  if (text.charCodeAt(0) === 0xfeff) throw new JsonError('bom', 0);
  const start = skipSpace(text, 0);
  const stack: Frame[] = [];
  let frame: Frame | undefined;
  let kind: JsonValue['kind'] | undefined;
  let name = '';
  let valueStart = start;
  let at = start;
  for (;;) {
    // At the first character of a value.
    const code = text.charCodeAt(at);
    let opened = false;
    if (code === QUOTE) {
      at = scanString(text, at + 1) + 1;
      kind ??= 'string';
    } else if (code === OPEN_BRACE || code === OPEN_BRACKET) {
      if (stack.length >= maxDepth) throw new JsonError('too-deep', at);
      frame = new Frame(code === OPEN_BRACE);
      stack.push(frame);
      kind ??= frame.isObject ? 'object' : 'array';
      opened = true;
      at++;
    } else if (code === MINUS || isDigit(code)) {
      const end = scanNumber(text, at);
      if (integersOnly && /[.eE]/.test(text.slice(at, end))) throw new JsonError('not-an-integer', at);
      at = end;
      kind ??= 'number';
    } else {
      at = scanLiteral(text, at);
      kind ??= 'literal';
    }

    // Behind a value, or behind an opening bracket: close what closes here, then go on to the next value.
    for (;;) {
      if (!opened && members !== undefined && stack.length === 1 && frame?.isObject === true) {
        members.push({ name, valueStart, valueEnd: at });
      }
      const end = at;
      at = skipSpace(text, at);
      if (frame === undefined) {
        if (at !== text.length) throw new JsonError('syntax', at);
        return { kind, start, end };
      }
      const next = text.charCodeAt(at);
      if (next === (frame.isObject ? CLOSE_BRACE : CLOSE_BRACKET)) {
        at++;
        stack.pop();
        frame = stack.at(-1);
        opened = false;
        continue;
      }
      if (!opened) {
        if (next !== COMMA) throw new JsonError('syntax', at);
        at = skipSpace(text, at + 1);
      }
      break;
    }
    if (!frame.isObject) continue;

    if (text.charCodeAt(at) !== QUOTE) throw new JsonError('syntax', at);
    const nameEnd = scanString(text, at + 1);
    const raw = text.slice(at + 1, nameEnd);
    // The scan has shown that this is one JSON string, so it can be unescaped.
    const unescaped = raw.includes('\\') ? (JSON.parse(text.slice(at, nameEnd + 1)) as string) : raw;
    if (!frame.add(unescaped)) throw new JsonError('duplicate-key', at);
    at = skipSpace(text, nameEnd + 1);
    if (text.charCodeAt(at) !== COLON) throw new JsonError('syntax', at);
    at = skipSpace(text, at + 1);
    if (stack.length === 1) {
      name = unescaped;
      valueStart = at;
    }
  }
}

/**
 * Judges a text as exactly one JSON value (RFC 8259), white space around it allowed. One pass; memory grows with depth and
 * with the number of names in open objects only.
 * @throws JsonError at the first fault: `syntax`; `bom`; `duplicate-key` (names compared after unescaping, at any depth);
 * `lone-surrogate` (escaped or not, in names and values); `too-deep`; `not-an-integer` where it was asked for.
 */
export function scanJson(text: string, limits: JsonLimits = {}): JsonValue {
  return scan(text, limits, undefined);
}

/**
 * The members of a text that is one JSON object, in their order, with the offsets (UTF-16 code units) of each value's
 * exact text. The same judgement as `scanJson`.
 * @throws JsonError as `scanJson`; `syntax` also for a value that is no object.
 */
export function topLevelSpans(text: string, limits: JsonLimits = {}): JsonMember[] {
  const members: JsonMember[] = [];
  const value = scan(text, limits, members);
  if (value.kind !== 'object') throw new JsonError('syntax', value.start);
  return members;
}
