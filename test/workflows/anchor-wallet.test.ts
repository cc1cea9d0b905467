/** The wallet's workflow on a real server: whatever starts a second owner of the nonce, there is one. */
import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { Context } from '@temporalio/activity';
import { Client } from '@temporalio/client';
import { NativeConnection, Worker } from '@temporalio/worker';
import { fixedFailures } from '../../workers/fixed-failures.ts';
import { packageRoot } from '../../dev/root.ts';
import type { anchorWallet } from '../../workflows/anchorWallet.ts';
import { ANCHORING_QUEUE, SEALING_QUEUE } from '../../workflows/ids.ts';
import { createBadDays, type BadDays } from '../activities/anchoring/bad-days.ts';
import { createLog } from '../../workers/log.ts';
import { until } from '../main-job/client.ts';
import { temporal } from '../parts.ts';
import type { TestTenant } from '../product-database.ts';
import '../quiet-temporal.ts';

describe('the wallet’s workflow', function () {
  this.timeout(120_000);
  let days: BadDays;
  let connection: NativeConnection;
  let client: Client;
  let workers: { worker: Worker; running: Promise<void> }[];

  before(async () => {
    days = await createBadDays();
    await days.switches.resume(1);
    const { address } = await temporal();
    connection = await NativeConnection.connect({ address });
    // A namespace of its own: other tests' workers must not take its tasks.
    const namespace = `wallet-${randomBytes(4).toString('hex')}`;
    await connection.workflowService.registerNamespace({
      namespace,
      workflowExecutionRetentionPeriod: { seconds: (24 * 60 * 60) as never },
    });
    client = new Client({ connection, namespace });
    await until('the namespace', async () => {
      const listed = client.workflow.list({ query: '' })[Symbol.asyncIterator]();
      return listed.next().then(
        () => true,
        () => undefined,
      );
    });
    const codePath = join(packageRoot, 'dist/workflow-bundle.js');
    const activities = days.anchoringAs(() => Context.current().info.workflowExecution?.runId ?? '');
    const log = createLog('test', 'silent');
    const started = await Promise.all([
      Worker.create({ connection, namespace, taskQueue: SEALING_QUEUE, workflowBundle: { codePath } }),
      Worker.create({
        connection,
        namespace,
        taskQueue: ANCHORING_QUEUE,
        activities,
        interceptors: { activity: [fixedFailures(log, () => undefined)] },
      }),
    ]);
    workers = started.map((worker) => ({ worker, running: worker.run() }));
  });
  after(async () => {
    for (const { worker } of workers) worker.shutdown();
    await Promise.all(workers.map(({ running }) => running));
    await connection.close();
    await days.stop();
  });

  const start = (workflowId: string) =>
    client.workflow.start<typeof anchorWallet>('anchorWallet', {
      workflowId,
      taskQueue: SEALING_QUEUE,
      args: [{ pollSeconds: 1, idleSeconds: 1 }],
    });

  const holder = async (): Promise<string | undefined> => {
    const [row] = await days.database.sql<{ holder: string }>('SELECT holder FROM kiff.wallets');
    return row?.holder;
  };
  const held = (run: string) =>
    until(`run ${run} to hold the wallet`, async () => ((await holder()) === run ? true : undefined));

  /** What a terminated run held is free again. */
  const free = () => days.database.sql('UPDATE kiff.wallets SET held_until = clock_timestamp()');

  /** Waits until a run was refused the wallet, twice. */
  async function refused(workflowId: string): Promise<void> {
    await until(`${workflowId} to be refused`, async () => {
      const { raw } = await client.workflow.getHandle(workflowId).describe();
      const [pending] = raw.pendingActivities ?? [];
      if ((pending?.attempt ?? 0) < 2 || pending?.lastFailure == null) return undefined;
      assert.equal(pending.lastFailure.applicationFailureInfo?.type, 'wallet-held');
      return true;
    });
  }

  /** A tenant with a signed seal; the wallet is free. */
  async function signed(): Promise<TestTenant> {
    const tenant = await days.signed(1);
    await days.anchoring.releaseWallet();
    return tenant;
  }

  const final = (tenant: TestTenant) =>
    until('the seal to be final', async () => ((await days.levels(tenant))[0] === 'final' ? true : undefined));

  it('is one: a second one under another id is kept waiting while the first one goes on', async () => {
    const tenant = await signed();
    await days.switches.halt();
    const first = await start('anchor/first');
    await held(first.firstExecutionRunId);
    const second = await start('anchor/second');
    await refused('anchor/second');
    await days.switches.resume(1);
    await final(tenant);
    assert.equal(await holder(), first.firstExecutionRunId);
    assert.deepEqual(await days.sealedOnChain(tenant), [1]);

    // Control: it is the lease that kept it waiting.
    await first.terminate();
    await free();
    await held(second.firstExecutionRunId);
    await second.terminate();
    await free();
  });

  it('is one after a reset: the new run waits for the old one’s lease, and goes on with its nonce and its bytes', async () => {
    const tenant = await signed();
    await days.switches.halt();
    const old = await start('anchor/reset');
    const nonce = await until('a transaction', async () => {
      const [row] = await days.database.sql<{ nonce: number }>(
        `SELECT t.nonce FROM kiff.transactions t JOIN kiff.nonces n USING (chain_id, relayer, nonce) WHERE n.state = 'open'`,
      );
      return row?.nonce;
    });
    const { runId } = (await client.workflowService.resetWorkflowExecution({
      namespace: client.options.namespace,
      workflowExecution: { workflowId: 'anchor/reset', runId: old.firstExecutionRunId },
      reason: 'a test',
      workflowTaskFinishEventId: 4 as never, // its first task: as if it had done nothing yet
      requestId: randomUUID(),
    })) as { runId: string };
    await refused('anchor/reset');
    assert.equal(await holder(), old.firstExecutionRunId);
    await days.switches.resume(1);
    await free(); // the lease runs out
    await held(runId);
    await final(tenant);
    assert.equal((await days.signedFor(nonce)).length, 1);
    assert.deepEqual(await days.sealedOnChain(tenant), [1]);
    await client.workflow.getHandle('anchor/reset').terminate();
    await free();
  });
});
