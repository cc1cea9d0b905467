/**
 * How long an activity that failed waits for its next attempt. Temporal's own retry policy gives every activity the same waits, so that all that
 * failed together come back together; here a wait is drawn from the upper half of what the policy says. Pure.
 */

/** A workflow's retry policy, in milliseconds, as far as it matters here. */
export interface Backoff {
  initialMs: number;
  coefficient: number;
  maximumMs: number;
}

/**
 * @param attempt the one that failed, from 1
 * @param random uniform in [0, 1)
 * @returns milliseconds, at least half of the policy's wait and at most all of it
 */
export function retryDelay(attempt: number, { initialMs, coefficient, maximumMs }: Backoff, random: number): number {
  const full = Math.min(maximumMs, initialMs * coefficient ** (attempt - 1));
  return Math.round(full * (0.5 + random / 2));
}
