/** Base64 (RFC 4648 section 4) as C2SP's text formats carry bytes. */

/** Writes bytes in the one spelling that `fromBase64` reads. */
export function toBase64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}

/**
 * Reads base64 in its one spelling: padded, no white space, no stray bits.
 * @throws TypeError that says what is wrong
 */
export function fromBase64(text: string): Uint8Array {
  let binary;
  try {
    binary = atob(text);
  } catch {
    throw new TypeError('not base64');
  }
  if (btoa(binary) !== text) throw new TypeError('base64 is not in its canonical spelling');
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}
