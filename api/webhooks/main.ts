/** The process that hears Clerk's webhooks. It holds their signing secret, and a login that can do what they tell. */
import { createPool } from '../http/database.ts';
import { createLog } from '../http/log.ts';
import { serve, start } from '../http/serve.ts';
import { createApp } from './app.ts';
import { readWebhooksEnv } from './env.ts';

start(async () => {
  const env = readWebhooksEnv();
  const log = createLog(env.LOG_LEVEL);
  const incarnation = env.KIFF_INCARNATION;
  const directory = createPool({ url: env.DATABASE_URL, max: 4, name: 'kiff-webhooks', incarnation });
  await serve({
    log,
    host: env.API_HOST,
    port: env.API_PORT,
    app: (isDraining) =>
      createApp({
        directory,
        signingSecret: env.CLERK_WEBHOOK_SIGNING_SECRET,
        log,
        trustProxy: env.TRUST_PROXY,
        isDraining,
      }),
    close: () => directory.end(),
  });
});
