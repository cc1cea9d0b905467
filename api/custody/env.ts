/** Configuration of the custody API. Nothing else in this process reads the environment. */
import { z } from 'zod';
import { authorizedParties, clerkJwtKey } from '../access/clerk-settings.ts';
import { hexBytes, incarnation, integer, listening, postgresUrl, readEnv, registry } from '../http/read-env.ts';

const schema = z.object({
  ...listening,
  ...registry,
  /** The product database with the login kiff_custody. */
  DATABASE_URL: postgresUrl,
  KIFF_INCARNATION: incarnation,
  /** Tenants' custody logins' passwords are derived from it; shared with the migration job. */
  CUSTODY_LOGIN_SECRET: hexBytes(32, 1024),
  /** Where this API is found: scheme, host and port, not the ingest API's. Its host is what passkeys are bound to. */
  CUSTODY_ORIGIN: z
    .string()
    .regex(/^https?:\/\/[a-z0-9.-]+(?::\d+)?$/, 'must be an origin, for example https://custody.kiff.dev')
    .refine(
      (text) => !/^https?:\/\/[\d.]+(?::|$)/.test(text),
      'must have a host name: passkeys are bound to none else',
    ),
  CLERK_JWT_KEY: clerkJwtKey,
  CLERK_AUTHORIZED_PARTIES: authorizedParties,
  /** How old a passkey must be to count: told to people here, enforced by the signer. */
  PASSKEY_MIN_AGE_SECONDS: integer(0, 31_536_000).default(86_400),
});

/** @throws Error that lists every problem at once, by name, never with a value */
export function readCustodyEnv(env: NodeJS.ProcessEnv = process.env) {
  return readEnv('the custody API', schema, env);
}
