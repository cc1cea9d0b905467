/** The sealing worker: all workflows, and the log's own activities. It holds no key and sees no chain. */
import { heartbeat } from '@temporalio/activity';
import { Client } from '@temporalio/client';
import { createPool } from '../../activities/database.ts';
import { createLogActivities } from '../../activities/log/create.ts';
import { SEALING_QUEUE } from '../../workflows/ids.ts';
import { bundlePath } from '../bundle.ts';
import { createAlert, createLog } from '../log.ts';
import { connect, runWorker, start } from '../run.ts';
import { readSealingEnv } from './env.ts';
import { ensureSealSchedule, requireSearchAttributes } from './schedule.ts';

const log = createLog('sealing', 'info');

start(log, async () => {
  const env = readSealingEnv();
  log.level = env.LOG_LEVEL;
  const pool = createPool(env.DATABASE_URL, 10);
  await runWorker(await connect(env.temporal), {
    temporal: env.temporal,
    taskQueue: SEALING_QUEUE,
    log,
    workflowBundle: { codePath: bundlePath },
    activities: createLogActivities({ pool, host: env.KIFF_HOST, alert: createAlert(log), heartbeat }),
    async prepare(connection, namespace) {
      const client = new Client({ connection, namespace });
      await requireSearchAttributes(client);
      await ensureSealSchedule(client, pool, env.SEAL_SPREAD_SECONDS);
    },
    close: () => pool.end(),
  });
});
