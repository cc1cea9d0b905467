/** Configuration of the custody API. Nothing else in this process reads the environment. */
import { z } from 'zod';
import { incarnation, listening, postgresUrl, readEnv } from '../http/read-env.ts';

const schema = z.object({
  ...listening,
  /** The product database with the login kiff_custody. */
  DATABASE_URL: postgresUrl,
  KIFF_INCARNATION: incarnation,
  /** Where this API is found: scheme, host and port, not the ingest API's. */
  CUSTODY_ORIGIN: z
    .string()
    .regex(/^https?:\/\/[a-z0-9.-]+(?::\d+)?$/, 'must be an origin, for example https://custody.kiff.dev'),
});

/** @throws Error that lists every problem at once, by name, never with a value */
export function readCustodyEnv(env: NodeJS.ProcessEnv = process.env) {
  return readEnv('the custody API', schema, env);
}
