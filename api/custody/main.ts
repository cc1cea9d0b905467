/** The custody API's process. SIGTERM and SIGINT drain it. */
import { createPool } from '../http/database.ts';
import { createLog } from '../http/log.ts';
import { serve, start } from '../http/serve.ts';
import { createApp } from './app.ts';
import { readCustodyEnv } from './env.ts';

start(async () => {
  const env = readCustodyEnv();
  const log = createLog(env.LOG_LEVEL);
  const incarnation = env.KIFF_INCARNATION;
  const directory = createPool({ url: env.DATABASE_URL, max: 4, name: 'kiff-custody', incarnation });
  await serve({
    log,
    host: env.API_HOST,
    port: env.API_PORT,
    app: (isDraining) =>
      createApp({ directory, origin: env.CUSTODY_ORIGIN, log, trustProxy: env.TRUST_PROXY, isDraining }),
    close: () => directory.end(),
  });
});
