/**
 * What to do to a signature before it is answered. `malformed`: `truncated` loses its last byte, `trailing` gains one, `negative-r` lacks
 * the zero byte that keeps r positive, `padded-r` has a zero byte too many (both are forbidden by DER, and lenient parsers take them),
 * `zero-r` and `zero-s` have a number that no signature has (these four are ECDSA only).
 */
export interface SignatureFaults {
  readonly otherKey: boolean;
  readonly s: 'high' | 'low' | null;
  readonly malformed: 'truncated' | 'trailing' | 'negative-r' | 'padded-r' | 'zero-r' | 'zero-s' | null;
}

function unsigned(value: bigint): Buffer {
  const hex = value.toString(16);
  return Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex');
}

function derInteger(value: bigint): Buffer {
  const bytes = unsigned(value);
  return (bytes[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.of(0), bytes]) : bytes;
}

/** SEQUENCE of two INTEGERs; every length here is below 128, so one byte holds it. */
function derSequence(r: Buffer, s: Buffer): Buffer {
  return Buffer.concat([Buffer.of(0x30, 4 + r.length + s.length, 0x02, r.length), r, Buffer.of(0x02, s.length), s]);
}

/** The faults that any signature can have. */
export function spoil(signature: Uint8Array, { malformed }: SignatureFaults): Uint8Array {
  if (malformed === 'truncated') return signature.subarray(0, -1);
  if (malformed === 'trailing') return Buffer.concat([signature, Buffer.of(0)]);
  return signature;
}

/** DER (RFC 3279 section 2.2.3) of a fresh signature, with the faults. `order` is the curve's; `sign` is called until r suits the fault. */
export function encodeEcdsa(
  order: bigint,
  faults: SignatureFaults,
  sign: () => { readonly r: bigint; readonly s: bigint },
): Uint8Array {
  let { r, s } = sign();
  while (faults.malformed === 'negative-r' && (unsigned(r)[0] ?? 0) < 0x80) ({ r, s } = sign());
  const isHigh = s > order / 2n;
  if ((faults.s === 'high' && !isHigh) || (faults.s === 'low' && isHigh)) s = order - s;
  if (faults.malformed === 'zero-r') r = 0n;
  if (faults.malformed === 'zero-s') s = 0n;
  let rBytes = derInteger(r);
  if (faults.malformed === 'negative-r') rBytes = unsigned(r);
  if (faults.malformed === 'padded-r') rBytes = Buffer.concat([Buffer.of(0), rBytes]);
  return spoil(derSequence(rBytes, derInteger(s)), faults);
}
