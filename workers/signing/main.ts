/** The signing worker: KMS Sign for the tenants' keys and the operator's checkpoint key. It runs no workflow code. */
import { heartbeat } from '@temporalio/activity';
import { createPool } from '../../activities/database.ts';
import { readPeriodSeconds } from '../../activities/chain/registry.ts';
import { createCustodySigningActivities } from '../../activities/signing/custody/create.ts';
import { createCustodyJournal } from '../../activities/signing/custody/journal.ts';
import { createSessionJudge } from '../../activities/signing/custody/session.ts';
import { createJournal } from '../../activities/signing/journal.ts';
import { createSigningActivities } from '../../activities/signing/create.ts';
import { createEndActivities } from '../../activities/signing/end.ts';
import { publishCheckpointKey } from '../../activities/signing/publish.ts';
import { SIGNING_QUEUE } from '../../workflows/ids.ts';
import { connectAgreedChain } from '../chain.ts';
import { requireDeployment } from '../deployment.ts';
import { createKms } from '../kms.ts';
import { createAlert, createLog } from '../log.ts';
import { rolesOf } from '../read-env.ts';
import { connect, runWorker, start } from '../run.ts';
import { readSigningEnv, requirePasskeyAge } from './env.ts';

const log = createLog('signing', 'info');

start(log, async () => {
  const env = readSigningEnv();
  log.level = env.LOG_LEVEL;
  const alert = createAlert(log);
  const chain = await connectAgreedChain(env.BASE_RPC_URLS, env.CHAIN_ID, alert);
  const periodSeconds = await chain.read((endpoint) => readPeriodSeconds(endpoint, env.CONTRACT));
  const registry = { chainId: env.CHAIN_ID, contract: env.CONTRACT };
  await requireDeployment(env.DATABASE_URL, { ...registry, periodSeconds });
  const pool = createPool(env.DATABASE_URL, 10, { schema: 'kiff', name: env.KIFF_INCARNATION });
  const journalPool = createPool(env.JOURNAL_URL, 10, { schema: 'journal', name: env.KIFF_INCARNATION });
  const kms = createKms();
  const signing = {
    pool,
    journal: createJournal(journalPool),
    custodyJournal: createCustodyJournal(journalPool),
    kms,
    chain,
    registry,
    host: env.KIFF_HOST,
    periodSeconds,
    fromBlock: BigInt(env.FROM_BLOCK),
    roles: rolesOf(env),
    alert,
    heartbeat,
    now: Date.now,
  };
  const custody = {
    ...signing,
    region: await kms.config.region(),
    judgeSession: createSessionJudge({ jwtKey: env.CLERK_JWT_KEY, authorizedParties: env.CLERK_AUTHORIZED_PARTIES }),
    custodyOrigin: env.CUSTODY_ORIGIN,
    passkeyMinAgeSeconds: requirePasskeyAge(env.PASSKEY_MIN_AGE_SECONDS, periodSeconds),
  };
  await runWorker(await connect(env.temporal), {
    temporal: env.temporal,
    taskQueue: SIGNING_QUEUE,
    log,
    activities: {
      ...createSigningActivities(signing),
      ...createEndActivities(signing),
      ...createCustodySigningActivities(custody),
    },
    prepare: () => publishCheckpointKey(pool, kms),
    async close() {
      kms.destroy();
      await Promise.all([pool.end(), journalPool.end()]);
    },
  });
});
