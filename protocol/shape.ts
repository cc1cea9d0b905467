/**
 * Readers of strict JSON shapes: exactly the members that a format names, each with its own reader, and every problem
 * with the JSON pointer (RFC 6901) where it is. Receipts and policies come from strangers.
 */
import { isHex, type Hex } from './hex.ts';
import { JsonError, scanJson } from './json.ts';

/** A value that breaks its format. The message never repeats the value: it may be long, secret or hostile. */
export class FormatError extends Error {
  readonly pointer: string;

  constructor(pointer: string, problem: string) {
    super(`${pointer === '' ? 'the whole document' : pointer}: ${problem}`);
    this.name = 'FormatError';
    this.pointer = pointer;
  }
}

/** A text that is not JSON at all: there is no document whose format could be judged. */
export class NotJsonError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'NotJsonError';
  }
}

/** Nesting of a document that is read here; no format needs more than 5. */
const MAX_DEPTH = 32;

/**
 * Parses a document's text. `JSON.parse` alone would keep the last of two members with one name, so that two readers of
 * one file could see different documents.
 * @throws NotJsonError when it does not parse; FormatError for duplicate names, lone surrogates, numbers that are not
 * plain integers (41.0 would parse to the same value as 41) and absurd depth.
 */
export function parseJson(source: string): unknown {
  const fault = faultOf(source);
  // Not parsed at all: millions of arrays in each other would take a hundred times the text's memory.
  if (fault?.code === 'too-deep') throw new FormatError('', fault.message);
  let value: unknown;
  try {
    value = JSON.parse(source);
  } catch {
    // The engine's own message quotes the text.
    throw new NotJsonError('it is not JSON');
  }
  if (fault !== undefined) throw new FormatError('', fault.message);
  return value;
}

function faultOf(source: string): JsonError | undefined {
  try {
    scanJson(source, { maxDepth: MAX_DEPTH, integersOnly: true });
    return undefined;
  } catch (error) {
    if (error instanceof JsonError) return error;
    throw error;
  }
}

/** Reads one value, or throws FormatError. */
export type Reader<T> = (value: unknown, pointer: string) => T;

/** One reader for each member of T; `optional` names those that may be absent. */
type Members<T> = { readonly [K in keyof T]-?: Reader<Exclude<T[K], undefined>> };

const MAX_NAME_SHOWN = 40;

/** A member's name as a pointer token that is safe to print: escaped (RFC 6901), printable ASCII, cut when long. */
function token(name: string): string {
  const escaped = name
    .replaceAll('~', '~0')
    .replaceAll('/', '~1')
    .replaceAll(/[^ -~]/gu, '?');
  return escaped.length > MAX_NAME_SHOWN ? `${escaped.slice(0, MAX_NAME_SHOWN)}…` : escaped;
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'an array' : typeof value;
}

/** An integer in min..max. Minus zero is refused: it is a second spelling of zero. */
export function integer(min: number, max: number): Reader<number> {
  return (value, pointer) => {
    if (typeof value !== 'number') throw new FormatError(pointer, `expected an integer, got ${kindOf(value)}`);
    if (!Number.isSafeInteger(value) || Object.is(value, -0) || value < min || value > max) {
      throw new FormatError(pointer, `expected an integer in ${min}..${max}`);
    }
    return value;
  };
}

/** Lower-case 0x hex of exactly `length` bytes. */
export function hex(length: number): Reader<Hex> {
  return (value, pointer) => {
    if (!isHex(value, length)) throw new FormatError(pointer, `expected ${length} bytes of lower-case 0x hex`);
    return value;
  };
}

/** Lower-case 0x hex of at most `max` bytes. */
export function hexUpTo(max: number): Reader<Hex> {
  return (value, pointer) => {
    if (!isHex(value) || value.length > 2 + 2 * max) {
      throw new FormatError(pointer, `expected at most ${max} bytes of lower-case 0x hex`);
    }
    return value;
  };
}

/**
 * Any well-formed Unicode text. Lone surrogates are refused because encoding turns each into U+FFFD: two different
 * strings would hash alike.
 */
export const text: Reader<string> = (value, pointer) => {
  if (typeof value !== 'string') throw new FormatError(pointer, `expected a string, got ${kindOf(value)}`);
  if (/\p{Surrogate}/u.test(value)) throw new FormatError(pointer, 'the string holds a lone surrogate');
  return value;
};

/** A log's origin, which is also its checkpoint key's name (c2sp.org/signed-note): printable ASCII, no space, no plus. */
export const origin: Reader<string> = (value, pointer) => {
  if (typeof value !== 'string' || !/^[!-*,-~]{1,255}$/u.test(value)) {
    throw new FormatError(pointer, 'expected 1..255 printable ASCII characters without space and plus');
  }
  return value;
};

/** One of a fixed set of strings. */
export function oneOf<const T extends string>(...allowed: readonly T[]): Reader<T> {
  return (value, pointer) => {
    const found = allowed.find((candidate) => candidate === value);
    if (found === undefined) throw new FormatError(pointer, `expected one of: ${allowed.join(', ')}`);
    return found;
  };
}

/** null, or what `reader` reads. */
export function nullable<T>(reader: Reader<T>): Reader<T | null> {
  return (value, pointer) => (value === null ? null : reader(value, pointer));
}

/** An array of what `reader` reads, at most `max` long. */
export function list<T>(reader: Reader<T>, max: number): Reader<readonly T[]> {
  return (value, pointer) => {
    if (!Array.isArray(value)) throw new FormatError(pointer, `expected an array, got ${kindOf(value)}`);
    if (value.length > max) throw new FormatError(pointer, `expected at most ${max} items`);
    return Array.from(value, (item, index) => reader(item, `${pointer}/${index}`));
  };
}

/** An object with exactly the members named; `optional` ones may be absent. What is read is a copy. */
export function object<T extends object>(members: Members<T>, optional: readonly (keyof T & string)[] = []): Reader<T> {
  const names = Object.keys(members) as (keyof T & string)[];
  return (value, pointer) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new FormatError(pointer, `expected an object, got ${kindOf(value)}`);
    }
    for (const name of Object.keys(value)) {
      if (!Object.hasOwn(members, name))
        throw new FormatError(`${pointer}/${token(name)}`, 'is not part of the format');
    }
    const copy: Partial<T> = {};
    for (const name of names) {
      if (Object.hasOwn(value, name)) {
        copy[name] = members[name]((value as Record<string, unknown>)[name], `${pointer}/${name}`);
      } else if (!optional.includes(name)) {
        throw new FormatError(`${pointer}/${name}`, 'is missing');
      }
    }
    return copy as T;
  };
}
