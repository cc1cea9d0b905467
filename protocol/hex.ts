/**
 * Bytes are `Uint8Array` inside `protocol/` and lower-case `0x` hex at its border. There is one spelling of a byte
 * string, so that two receipts which mean the same are the same: upper case, a missing prefix or half a byte is refused.
 */

/** Lower-case hexadecimal with a `0x` prefix and an even number of digits. The type checks the prefix; `isHex` the rest. */
export type Hex = `0x${string}`;

const DIGITS = '0123456789abcdef';
const PAIRS: readonly string[] = Array.from(
  { length: 256 },
  (_, byte) => DIGITS.charAt(byte >> 4) + DIGITS.charAt(byte & 15),
);

const encoder = new TextEncoder();

/** Returns the value of one lower-case hex digit, or -1. */
function digitValue(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  if (code >= 0x61 && code <= 0x66) return code - 0x57;
  return -1;
}

/** Returns what is wrong with `value` as hex of `length` bytes, or undefined if nothing is. */
function hexFault(value: unknown, length: number | undefined): string | undefined {
  if (typeof value !== 'string') return `expected a hex string, got ${value === null ? 'null' : typeof value}`;
  if (!value.startsWith('0x')) return 'hex must start with 0x';
  if (value.length % 2 !== 0) return 'hex has an odd number of digits';
  if (length !== undefined && value.length !== 2 + 2 * length) {
    return `expected ${length} bytes of hex, got ${(value.length - 2) / 2}`;
  }
  for (let at = 2; at < value.length; at++) {
    if (digitValue(value.charCodeAt(at)) < 0) return `not a lower-case hex digit at offset ${at}`;
  }
  return undefined;
}

/** Whether `value` is lower-case `0x` hex of whole bytes; of exactly `length` bytes, if given. Never throws. */
export function isHex(value: unknown, length?: number): value is Hex {
  return hexFault(value, length) === undefined;
}

/** Writes bytes as lower-case `0x` hex. */
export function toHex(bytes: Uint8Array): Hex {
  let digits = '';
  for (const byte of bytes) digits += PAIRS[byte];
  return `0x${digits}`;
}

/**
 * Reads lower-case `0x` hex; of exactly `length` bytes, if given.
 * @throws TypeError that says what is wrong with the text (never the text itself: it may be a secret).
 */
export function fromHex(hex: string, length?: number): Uint8Array {
  const fault = hexFault(hex, length);
  if (fault !== undefined) throw new TypeError(fault);
  const bytes = new Uint8Array((hex.length - 2) / 2);
  for (let at = 0; at < bytes.length; at++) {
    bytes[at] = digitValue(hex.charCodeAt(2 + 2 * at)) * 16 + digitValue(hex.charCodeAt(3 + 2 * at));
  }
  return bytes;
}

/** Joins byte strings into a new one. */
export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const joined = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/** Whether two byte strings are equal. Not constant time: everything compared in `protocol/` is public. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let at = 0; at < a.length; at++) {
    if (a[at] !== b[at]) return false;
  }
  return true;
}

/** UTF-8 bytes of a string. A lone surrogate becomes U+FFFD, so text that must be exact is scanned first (json.ts). */
export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}
