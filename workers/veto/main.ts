/** The veto server's process. SIGTERM and SIGINT drain it. */
import { createPool } from '../../api/http/database.ts';
import { createLog } from '../../api/http/log.ts';
import { serve, start } from '../../api/http/serve.ts';
import { createApp } from './app.ts';
import { readVetoEnv } from './env.ts';

start(async () => {
  const env = readVetoEnv();
  const log = createLog(env.LOG_LEVEL);
  const pool = createPool({ url: env.DATABASE_URL, max: 4, name: 'kiff-veto', incarnation: env.KIFF_INCARNATION });
  await serve({
    log,
    host: env.API_HOST,
    port: env.API_PORT,
    app: (isDraining) => createApp({ pool, log, trustProxy: env.TRUST_PROXY, isDraining }),
    close: () => pool.end(),
  });
});
