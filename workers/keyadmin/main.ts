/** The key administrator: makes the deployment's keys when it starts, and tenants' keys when they come. It never signs. */
import { createPool } from '../../activities/database.ts';
import { onboardingAbandoned } from '../../activities/keyadmin/abandoned.ts';
import { createCustodyKeyActivities } from '../../activities/keyadmin/custody.ts';
import { createKeyAdminActivities, ensureDeploymentKeys } from '../../activities/keyadmin/create.ts';
import { KEYADMIN_QUEUE } from '../../workflows/ids.ts';
import { createKms } from '../kms.ts';
import { createAlert, createLog } from '../log.ts';
import { rolesOf } from '../read-env.ts';
import { connect, runWorker, start } from '../run.ts';
import { readKeyAdminEnv } from './env.ts';

const log = createLog('keyadmin', 'info');

start(log, async () => {
  const env = readKeyAdminEnv();
  log.level = env.LOG_LEVEL;
  const kms = createKms();
  const pool = createPool(env.DATABASE_URL, 2, { schema: 'kiff', name: env.KIFF_INCARNATION });
  const keyAdmin = {
    kms,
    roles: rolesOf(env),
    onboardingAbandoned: (tenantId: string) => onboardingAbandoned(pool, tenantId),
    alert: createAlert(log),
  };
  await ensureDeploymentKeys(keyAdmin);
  await runWorker(await connect(env.temporal), {
    temporal: env.temporal,
    taskQueue: KEYADMIN_QUEUE,
    log,
    activities: { ...createKeyAdminActivities(keyAdmin), ...createCustodyKeyActivities({ ...keyAdmin, pool }) },
    close: async () => {
      kms.destroy();
      await pool.end();
    },
  });
});
