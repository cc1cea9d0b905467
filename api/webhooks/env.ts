/** Configuration of the webhooks process. Nothing else in this process reads the environment. */
import { z } from 'zod';
import { incarnation, listening, postgresUrl, readEnv } from '../http/read-env.ts';

const schema = z.object({
  ...listening,
  /** The product database with the login kiff_webhooks. */
  DATABASE_URL: postgresUrl,
  KIFF_INCARNATION: incarnation,
  /** As Clerk's dashboard shows it. No other process has it. */
  CLERK_WEBHOOK_SIGNING_SECRET: z.string().regex(/^whsec_[A-Za-z0-9+/]{32,}={0,2}$/, 'must be whsec_ and base64'),
});

/** @throws Error that lists every problem at once, by name, never with a value */
export function readWebhooksEnv(env: NodeJS.ProcessEnv = process.env) {
  return readEnv('the webhooks process', schema, env);
}
