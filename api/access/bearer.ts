/** The credential in an Authorization header (RFC 6750 section 2.1). */

/** @returns what follows `Bearer`, or nothing when the header says something else */
export function bearerOf(header: string | undefined): string | undefined {
  return /^Bearer ([!-~]+)$/i.exec(header ?? '')?.[1];
}
