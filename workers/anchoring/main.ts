/** The anchoring worker: Base, and the relayer's key, which has no authority. */
import { Context } from '@temporalio/activity';
import { Client, WorkflowNotFoundError } from '@temporalio/client';
import { createAnchoringActivities } from '../../activities/anchoring/create.ts';
import { publishRegistry } from '../../activities/anchoring/publish.ts';
import { createRelayer } from '../../activities/anchoring/relayer.ts';
import { readPeriodSeconds } from '../../activities/chain/registry.ts';
import { createPool } from '../../activities/database.ts';
import { keyAddress, RELAYER_ALIAS } from '../../activities/kms/keys.ts';
import type { anchorWallet } from '../../workflows/anchorWallet.ts';
import { ANCHORING_QUEUE, custodyId, SEALING_QUEUE, sealId, walletId } from '../../workflows/ids.ts';
import { connectAllEndpoints } from '../chain.ts';
import { requireDeployment } from '../deployment.ts';
import { createKms } from '../kms.ts';
import { createAlert, createLog } from '../log.ts';
import { connect, namespaceOf, runWorker, start } from '../run.ts';
import { readAnchoringEnv } from './env.ts';

const log = createLog('anchoring', 'info');

start(log, async () => {
  const env = readAnchoringEnv();
  log.level = env.LOG_LEVEL;
  const alert = createAlert(log);
  const { tip, each, agreed } = await connectAllEndpoints(env.BASE_RPC_URLS, env.CHAIN_ID, alert);
  const periodSeconds = await agreed.read((endpoint) => readPeriodSeconds(endpoint, env.CONTRACT));
  await requireDeployment(env.DATABASE_URL, { chainId: env.CHAIN_ID, contract: env.CONTRACT, periodSeconds });
  const pool = createPool(env.DATABASE_URL, 10, { schema: 'kiff', name: env.KIFF_INCARNATION });
  const kms = createKms();
  const relayer = createRelayer(kms, await keyAddress(kms, RELAYER_ALIAS));
  const connection = await connect(env.temporal);
  const client = new Client({ connection, namespace: namespaceOf(env.temporal) });

  const nudgeWallet = async () => {
    await client.workflow.signalWithStart<typeof anchorWallet>('anchorWallet', {
      workflowId: walletId(env.CHAIN_ID, relayer.address),
      taskQueue: SEALING_QUEUE,
      args: [{ pollSeconds: env.POLL_SECONDS, idleSeconds: env.IDLE_SECONDS }],
      signal: 'nudge',
      staticSummary: `Relayer ${relayer.address} on chain ${env.CHAIN_ID}`,
    });
  };
  const nudgeSeal = async (tenantId: string, period: number) => {
    try {
      await client.workflow.getHandle(sealId(tenantId, period)).signal('levelChanged');
    } catch (error) {
      // Made-up periods have no workflow of their own, and a final seal's has ended.
      if (!(error instanceof WorkflowNotFoundError)) log.warn({ err: error, tenantId, period }, 'a seal was not told');
    }
  };
  const nudgeCustody = async (tenantId: string) => {
    try {
      await client.workflow.getHandle(custodyId(tenantId)).signal('evidence');
    } catch (error) {
      // A handover may be of a migration that has ended, or of none.
      if (!(error instanceof WorkflowNotFoundError)) log.warn({ err: error, tenantId }, 'a migration was not told');
    }
  };

  await runWorker(connection, {
    temporal: env.temporal,
    taskQueue: ANCHORING_QUEUE,
    log,
    activities: createAnchoringActivities({
      pool,
      chain: tip,
      endpoints: each,
      agreed,
      chainId: env.CHAIN_ID,
      contract: env.CONTRACT,
      fromBlock: BigInt(env.FROM_BLOCK),
      relayer,
      fees: {
        ceiling: BigInt(env.FEE_CEILING_GWEI) * 1_000_000_000n,
        patienceBlocks: BigInt(env.PATIENCE_BLOCKS),
      },
      alert,
      tell: (event, fields) => log.info({ event, ...fields }, event),
      now: Date.now,
      run: currentRun,
      // Longer than the workflow ever waits between two steps, so that a second owner never finds it run out.
      leaseSeconds: Math.max(60, 3 * env.IDLE_SECONDS, 3 * env.POLL_SECONDS),
      nudgeSeal,
      nudgeCustody,
      nudgeWallet,
    }),
    async prepare() {
      await publishRegistry(pool, tip, env.CONTRACT, env.FROM_BLOCK);
      await nudgeWallet();
    },
    async close() {
      kms.destroy();
      await pool.end();
    },
  });
});

/** The workflow run on whose behalf the current activity runs: the wallet's lease is in its name. */
function currentRun(): string {
  const run = Context.current().info.workflowExecution?.runId;
  if (run === undefined) throw new TypeError('an anchoring activity runs for a workflow only');
  return run;
}
