/**
 * Challenges of passkey registrations, which need no memory: random bytes, when they end, and our authentication code over
 * both and over the person. Any process of this API knows its own again.
 */
import { createHmac, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto';

const RANDOM_BYTES = 16;
const TIME_BYTES = 6;
const LIFE_SECONDS = 600;

export interface Challenges {
  /** base64url. */
  make(person: { tenant: string; userId: string }): string;
  /** Whether it was made here for this person, and has not ended. */
  isGood(challenge: string, person: { tenant: string; userId: string }): boolean;
}

/**
 * @param secret of this process; a key of its own is derived from it
 * @param now Unix milliseconds
 */
export function createChallenges(secret: Uint8Array, now: () => number): Challenges {
  const key = Buffer.from(hkdfSync('sha256', secret, '', 'kiff custody passkey challenge', 32));

  function code(terms: Buffer, { tenant, userId }: { tenant: string; userId: string }): Buffer {
    return createHmac('sha256', key).update(terms).update(`${tenant}\n${userId}`).digest();
  }

  return {
    make(person) {
      const terms = randomBytes(RANDOM_BYTES + TIME_BYTES);
      terms.writeUIntBE(Math.floor(now() / 1000) + LIFE_SECONDS, RANDOM_BYTES, TIME_BYTES);
      return Buffer.concat([terms, code(terms, person)]).toString('base64url');
    },
    isGood(challenge, person) {
      const bytes = Buffer.from(challenge, 'base64url');
      const terms = bytes.subarray(0, RANDOM_BYTES + TIME_BYTES);
      const expected = code(terms, person);
      const given = bytes.subarray(terms.length);
      if (given.length !== expected.length || !timingSafeEqual(given, expected)) return false;
      return terms.readUIntBE(RANDOM_BYTES, TIME_BYTES) >= now() / 1000;
    },
  };
}
