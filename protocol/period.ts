/**
 * Periods: the sealed hours. A period is named by its first second (Unix time) and is P seconds long; periods stand at the
 * multiples of P, so which one a moment falls into needs no table and no clock.
 */

const RFC3339_MILLIS = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/;

/**
 * Unix time in milliseconds of an entry's `received_at`, `YYYY-MM-DDTHH:mm:ss.sssZ`.
 * @throws TypeError on any other spelling, and on dates that do not exist (30 February, 24:00, leap seconds).
 */
export function unixMillis(receivedAt: string): number {
  if (typeof receivedAt !== 'string' || !RFC3339_MILLIS.test(receivedAt)) {
    throw new TypeError('not an RFC 3339 time in UTC with milliseconds');
  }
  const millis = Date.parse(receivedAt);
  // Date.parse carries 30 February over into March; writing the time again shows it.
  if (Number.isNaN(millis) || new Date(millis).toISOString() !== receivedAt) throw new TypeError('not a real date');
  return millis;
}

function checkSeconds(seconds: number, name: string): number {
  if (!Number.isFinite(seconds) || seconds < 0 || seconds > Number.MAX_SAFE_INTEGER) {
    throw new RangeError(`${name} must be seconds in 0…2^53-1`);
  }
  return seconds;
}

function checkLength(P: number): number {
  if (!Number.isSafeInteger(P) || P < 1)
    throw new RangeError('the period length must be a whole number of seconds above 0');
  return P;
}

/**
 * The period (its first second) in which a moment falls; whole or fractional Unix seconds, P in seconds.
 * @throws RangeError on a negative or unsafe number, or a P below 1.
 */
export function periodAt(unixSeconds: number, P: number): number {
  checkLength(P);
  const seconds = Math.floor(checkSeconds(unixSeconds, 'time'));
  return seconds - (seconds % P);
}

/**
 * The period (its first second) in which an entry with this `received_at` falls.
 * @throws TypeError if it is not a time of that form; RangeError before 1970 or on a P below 1.
 */
export function periodOf(receivedAt: string, P: number): number {
  return periodAt(Math.floor(unixMillis(receivedAt) / 1000), P);
}

/** Whether a number names a period of length P, in seconds. Never throws. */
export function isPeriodStart(period: number, P: number): boolean {
  return Number.isSafeInteger(period) && Number.isSafeInteger(P) && P > 0 && period >= 0 && period % P === 0;
}

/**
 * The first second after a period: from here on it may be sealed.
 * @throws RangeError if `period` does not name a period of length P.
 */
export function periodEnd(period: number, P: number): number {
  if (!isPeriodStart(period, checkLength(P))) throw new RangeError('not the first second of a period');
  return checkSeconds(period + P, 'end of the period');
}

/**
 * The time (Unix seconds) until which a promise says that a record of this period is sealed: one period after its end.
 * @throws RangeError if `period` does not name a period of length P.
 */
export function sealBy(period: number, P: number): number {
  return checkSeconds(periodEnd(period, P) + P, 'seal-by time');
}
