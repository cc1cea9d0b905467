/** The migration worker: makes tenants' schemas and logins while the system runs. It holds no key and sees no chain. */
import { createMigrationActivities } from '../../activities/migration/create.ts';
import { MIGRATION_QUEUE } from '../../workflows/ids.ts';
import { createAlert, createLog } from '../log.ts';
import { connect, runWorker, start } from '../run.ts';
import { readMigrationWorkerEnv } from './env.ts';

const log = createLog('migration', 'info');

start(log, async () => {
  const env = readMigrationWorkerEnv();
  log.level = env.LOG_LEVEL;
  await runWorker(await connect(env.temporal), {
    temporal: env.temporal,
    taskQueue: MIGRATION_QUEUE,
    log,
    // They wait for each other in the database anyway, each with a connection.
    concurrentActivities: 4,
    activities: createMigrationActivities({
      url: env.DATABASE_URL,
      secrets: { tenant: env.TENANT_LOGIN_SECRET, custody: env.CUSTODY_LOGIN_SECRET },
      incarnation: env.KIFF_INCARNATION,
      alert: createAlert(log),
    }),
    close: async () => undefined,
  });
});
