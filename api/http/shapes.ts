/** Forms of values that many answers have. */
import { z } from 'zod';
import type { Hex } from '../../protocol/hex.ts';
import { rfc3339Millis } from '../../protocol/rfc3339.ts';

/** Lower-case hex of exactly so many bytes, with 0x. */
export function hex(bytes: number): z.ZodType<Hex, Hex> {
  return z.string().regex(new RegExp(`^0x[0-9a-f]{${2 * bytes}}$`)) as unknown as z.ZodType<Hex, Hex>;
}

/** A whole number that a JSON reader keeps exactly. */
export const count = z.int().min(0);

/** Unix seconds. */
export const unixSeconds = count.describe('Unix seconds');

/** An RFC 3339 date-time, as we write it: UTC with milliseconds. */
export const dateTime = z
  .string()
  .refine((text) => rfc3339Millis(text) !== undefined, 'must be an RFC 3339 date-time')
  .meta({ format: 'date-time' });

/** Of a parameter: plain decimal digits, however many. */
export function wholeNumber(least: 0 | 1) {
  return z
    .string()
    .regex(
      least === 0 ? /^(?:0|[1-9]\d{0,39})$/ : /^[1-9]\d{0,39}$/,
      `must be a whole number from ${least} on, in decimal digits`,
    )
    .transform(Number);
}
