/** A bucket of tokens that fills at a steady rate up to its size: what was not used within a window is not saved up. */

export interface Bucket {
  /** May be below zero: what was taken without asking is paid back first. */
  tokens: number;
  /** Milliseconds, of the clock that is handed in. */
  at: number;
}

/** Tokens per second, and how many seconds' worth fit in. */
export interface Rate {
  perSecond: number;
  windowSeconds: number;
}

/** How many tokens there are now. A new bucket is full. */
export function fill(bucket: Bucket | undefined, { perSecond, windowSeconds }: Rate, now: number): Bucket {
  const size = perSecond * windowSeconds;
  if (bucket === undefined) return { tokens: size, at: now };
  // A clock that goes back gives nothing.
  const gained = Math.max(0, now - bucket.at) * (perSecond / 1000);
  bucket.tokens = Math.min(size, bucket.tokens + gained);
  bucket.at = now;
  return bucket;
}

/** Whole seconds, at least 1, until there is a whole token again. */
export function secondsUntilOne({ tokens }: Bucket, { perSecond }: Rate): number {
  return Math.max(1, Math.ceil((1 - tokens) / perSecond));
}

/** Whole seconds until it is full. */
export function secondsUntilFull({ tokens }: Bucket, { perSecond, windowSeconds }: Rate): number {
  return Math.max(0, Math.ceil((perSecond * windowSeconds - tokens) / perSecond));
}
