/**
 * API keys: `kiff_live_<tenant>_<32 base62 digits><6 base62 digits of checksum>`. The checksum finds typing errors and
 * made-up keys before anything is looked up; the 190 random bits are the secret, so a fast hash of the key is enough at rest.
 */
import { createHash, randomInt, timingSafeEqual } from 'node:crypto';
import { crc32 } from 'node:zlib';

const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const BASE36_LOWER = '0123456789abcdefghijklmnopqrstuvwxyz';
const RANDOM_DIGITS = 32;
const CHECKSUM_DIGITS = 6;
const KEY_ID_DIGITS = 15;

/** What every key begins with, and no session token. */
export const API_KEY_PREFIX = 'kiff_live_';

const TENANT_ID = /^[a-z][a-z0-9]{2,23}$/;
const API_KEY = /^kiff_live_([a-z][a-z0-9]{2,23})_([0-9A-Za-z]{32})([0-9A-Za-z]{6})$/;

/** The longest key there is; anything longer is refused unread. */
const MAX_KEY_LENGTH = API_KEY_PREFIX.length + 24 + 1 + RANDOM_DIGITS + CHECKSUM_DIGITS;

/** A new key: `id` and `hash` are kept (`kiff.api_keys`), `key` is shown once and kept nowhere. */
export interface NewApiKey {
  /** `k` and 15 characters of [a-z0-9]; it stands in the entries of the records that this key posted. */
  id: string;
  key: string;
  /** SHA-256 of the key, 32 bytes. */
  hash: Buffer;
}

/**
 * Makes a key for a tenant.
 * @throws RangeError if `tenant` is not a tenant id
 */
export function createApiKey(tenant: string): NewApiKey {
  if (!TENANT_ID.test(tenant)) throw new RangeError('not a tenant id');
  const unchecked = `${API_KEY_PREFIX}${tenant}_${randomDigits(BASE62, RANDOM_DIGITS)}`;
  const key = unchecked + checksum(unchecked);
  return { id: `k${randomDigits(BASE36_LOWER, KEY_ID_DIGITS)}`, key, hash: hashApiKey(key) };
}

/** SHA-256 of a key's text: what is stored, and what a key is looked up by. */
export function hashApiKey(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}

/**
 * The tenant that a key names, or null when the text is no key of ours. It says nothing on whether the key exists: that
 * takes a lookup by its hash.
 */
export function parseApiKey(text: string): { tenant: string } | null {
  if (text.length > MAX_KEY_LENGTH) return null;
  const [, tenant, , given] = API_KEY.exec(text) ?? [];
  if (tenant === undefined || given === undefined) return null;
  const expected = checksum(text.slice(0, -CHECKSUM_DIGITS));
  return timingSafeEqual(Buffer.from(given), Buffer.from(expected)) ? { tenant } : null;
}

/** CRC-32 of the text in six base62 digits, most significant first (62^6 > 2^32). */
function checksum(text: string): string {
  let rest = crc32(text);
  let digits = '';
  for (let place = 0; place < CHECKSUM_DIGITS; place++) {
    digits = BASE62.charAt(rest % 62) + digits;
    rest = Math.floor(rest / 62);
  }
  return digits;
}

function randomDigits(alphabet: string, count: number): string {
  return Array.from({ length: count }, () => alphabet.charAt(randomInt(alphabet.length))).join('');
}
