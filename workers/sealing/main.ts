/** The sealing worker: all workflows, the log's own activities, and the inbox. It holds no key and sees no chain. */
import { heartbeat } from '@temporalio/activity';
import { Client } from '@temporalio/client';
import type { Pool } from 'pg';
import { createCommandActivities } from '../../activities/commands/create.ts';
import { createPool } from '../../activities/database.ts';
import { createCustodyActivities } from '../../activities/custody/create.ts';
import { custodyPolicy } from '../../activities/custody/policy.ts';
import { createLogActivities } from '../../activities/log/create.ts';
import { SEALING_QUEUE } from '../../workflows/ids.ts';
import { bundlePath } from '../bundle.ts';
import { createAlert, createLog } from '../log.ts';
import { connect, runWorker, start } from '../run.ts';
import { custodyOf, readSealingEnv } from './env.ts';
import { startInbox, startWith } from './inbox.ts';
import { deployedPeriod, ensureSealSchedule, requireSearchAttributes } from './schedule.ts';

const log = createLog('sealing', 'info');

start(log, async () => {
  const env = readSealingEnv();
  log.level = env.LOG_LEVEL;
  const pool = createPool(env.DATABASE_URL, 14, { schema: 'kiff', name: env.KIFF_INCARNATION });
  const alert = createAlert(log);
  const { periodSeconds, policy } = await policyOf(pool, env);
  await runWorker(await connect(env.temporal), {
    temporal: env.temporal,
    taskQueue: SEALING_QUEUE,
    log,
    workflowBundle: { codePath: bundlePath },
    activities: {
      ...createLogActivities({ pool, host: env.KIFF_HOST, alert, heartbeat }),
      ...createCommandActivities({ pool }),
      ...createCustodyActivities({ pool, alert, policy }),
    },
    async prepare(connection, namespace) {
      const client = new Client({ connection, namespace });
      await requireSearchAttributes(client);
      await ensureSealSchedule(client, periodSeconds, env.SEAL_SPREAD_SECONDS);
    },
    beside: (connection, namespace) =>
      startInbox({
        pool,
        databaseUrl: env.DATABASE_URL,
        start: startWith(new Client({ connection, namespace })),
        log,
      }),
    close: () => pool.end(),
  });
});

/** What holds for every migration here. An idle connection would keep a process alive that refuses to start. */
async function policyOf(pool: Pool, env: ReturnType<typeof readSealingEnv>) {
  try {
    const periodSeconds = await deployedPeriod(pool);
    return { periodSeconds, policy: custodyPolicy(custodyOf(env), periodSeconds) };
  } catch (error) {
    await pool.end();
    throw error;
  }
}
