/** Configuration of the ingest API. Nothing else in this process reads the environment. */
import { z } from 'zod';
import type { Hex } from '../../protocol/hex.ts';
import { authorizedParties, clerkJwtKey } from '../access/clerk-settings.ts';
import { hexBytes, incarnation, listening, postgresUrl, readEnv, registry } from '../http/read-env.ts';

const schema = z.object({
  ...listening,
  /** The product database with the login kiff_api. */
  DATABASE_URL: postgresUrl,
  KIFF_INCARNATION: incarnation,
  /** Tenant logins' passwords are derived from it; shared with the migration job. */
  TENANT_LOGIN_SECRET: hexBytes(32, 1024),
  /** Seed of the Ed25519 key that signs promises (RFC 8032 section 5.1.5). */
  PROMISE_KEY: hexBytes(32, 32),
  /** Public keys that the policy names besides that of PROMISE_KEY: earlier ones, and the next one before it comes. */
  PROMISE_PUBLIC_KEYS: z
    .string()
    .regex(
      /^(?:0x[0-9a-f]{64}(?:,0x[0-9a-f]{64}){0,49})?$/,
      'must be public keys of 0x and 64 hex digits, with commas between',
    )
    .transform((text) => (text === '' ? [] : (text.split(',') as Hex[])))
    .default([]),
  ...registry,
  CLERK_JWT_KEY: clerkJwtKey,
  CLERK_AUTHORIZED_PARTIES: authorizedParties,
});

/** @throws Error that lists every problem at once, by name, never with a value */
export function readIngestEnv(env: NodeJS.ProcessEnv = process.env) {
  return readEnv('the ingest API', schema, env);
}
