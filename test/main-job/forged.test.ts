/**
 * F49: somebody has stolen a worker's Temporal credential. He polls every queue and answers with lies, sends signals and
 * resets workflows. Temporal is trusted to be alive, not to be right: what is signed, anchored or called final is decided by
 * the databases, the journal and the contract, so all that it costs is time.
 */
import assert from 'node:assert/strict';
import { NativeConnection, Worker } from '@temporalio/worker';
import type { LocalTenant } from '../../dev/tenant.ts';
import { ANCHORING_QUEUE, SEALING_QUEUE, SIGNING_QUEUE } from '../../workflows/ids.ts';
import '../quiet-temporal.ts';
import { auditRecord, post, until, untilLevel } from './client.ts';
import { localStack, type LocalStack } from './local-stack.ts';

const HASH = `0x${'ab'.repeat(32)}`;
const FINAL = { level: 'final', refused: false, txHash: HASH, blockNumber: 1, treeSize: 1 };

/** What a liar answers: all is signed, mined and final. */
const LIES: Readonly<Record<string, Record<string, unknown>>> = {
  [SEALING_QUEUE]: { hashSeals: null, unsignedSeals: [], sealStanding: FINAL },
  [SIGNING_QUEUE]: { signSeals: [HASH] },
  [ANCHORING_QUEUE]: {
    nextTransaction: { inFlight: { nonce: 7, kind: 'anchor' }, early: 0 },
    advanceTransaction: { mined: true, reverted: false, seals: 1, waitsFor: null },
    confirmSeals: { waiting: 0 },
    watchRelayer: { hoursLeft: 1000 },
    nudgeWallet: null,
  },
};

/** What he has no lie for he lets fail, until an honest worker gets it. */
const refuse = async (): Promise<never> => Promise.reject(new Error('no lie for this one'));

interface Liar {
  /** How often each activity was answered. */
  told: Map<string, number>;
  stop(): Promise<void>;
}

/** Workers of a stranger's on all queues, with nothing but access to Temporal. */
async function startLiar({ stack }: LocalStack): Promise<Liar> {
  const { address, namespace } = stack.around.temporal;
  const connection = await NativeConnection.connect({ address });
  const told = new Map<string, number>();
  const workers = await Promise.all(
    Object.entries(LIES).map(([taskQueue, answers]) => {
      const activities = Object.fromEntries(
        Object.entries(answers).map(([name, answer]) => [
          name,
          async () => {
            told.set(name, (told.get(name) ?? 0) + 1);
            return answer;
          },
        ]),
      );
      return Worker.create({ connection, namespace, taskQueue, activities: { ...activities, default: refuse } });
    }),
  );
  const running = workers.map((worker) => worker.run());
  return {
    told,
    async stop() {
      for (const worker of workers) worker.shutdown();
      await Promise.all(running);
      await connection.close();
    },
  };
}

async function standing(local: LocalStack, tenant: LocalTenant) {
  return local.sql<{ seq: number; level: string; signature: Buffer | null }>(
    `SELECT seq, level, signature FROM kiff_t_${tenant.id}.seals ORDER BY seq`,
  );
}

describe('a stolen Temporal credential', function () {
  this.timeout(300_000);
  let local: LocalStack;

  before(async () => {
    local = await localStack();
  });

  it('forged results on every queue sign and anchor nothing: a delay is all', async () => {
    const tenant = await local.tenant();
    const { apiUrl } = local.stack;
    await local.kill('signing');
    await local.kill('anchoring');
    const liar = await startLiar(local);
    let posted;
    try {
      posted = await post(apiUrl, tenant, auditRecord());
      // Until he has been believed: a seal went on as signed, and the wallet as mined.
      await until('the lies to be told', async () =>
        ['signSeals', 'advanceTransaction', 'nudgeWallet'].every((name) => (liar.told.get(name) ?? 0) > 0)
          ? true
          : undefined,
      );
      assert.deepEqual(
        (await standing(local, tenant)).filter(({ signature }) => signature !== null),
        [],
        'nothing is signed on his word',
      );
      assert.deepEqual(await local.sealedEvents(tenant), [], 'nothing is anchored');
    } finally {
      await liar.stop();
      await local.revive('signing');
      await local.revive('anchoring');
    }

    await untilLevel(apiUrl, tenant, posted.id, 'final', 120_000);
    const events = await local.sealedEvents(tenant);
    assert.deepEqual(
      events.map(({ seq }) => seq),
      events.map((_, index) => index + 1),
      'every period was made up, in order, once',
    );
  });

  it('signals and resets by a stranger change nothing', async () => {
    const tenant = await local.tenant();
    const { apiUrl } = local.stack;
    const { workflow } = local.temporal;
    const first = await post(apiUrl, tenant, auditRecord());
    await untilLevel(apiUrl, tenant, first.id, 'included');

    const namespace = local.stack.around.temporal.namespace;
    const seals = [];
    for await (const each of workflow.list({ query: `TenantId = '${tenant.id}'` }))
      if (each.workflowId.startsWith('seal/')) seals.push(each);
    assert.ok(seals.length > 0);
    for (const { workflowId, runId } of seals) {
      await local.temporal.workflowService.resetWorkflowExecution({
        namespace,
        workflowExecution: { workflowId, runId },
        reason: 'a stranger',
        requestId: `${workflowId}-again`,
        workflowTaskFinishEventId: 4 as never, // protobufjs takes a number for a Long
      });
      await workflow.getHandle(workflowId).signal('levelChanged');
      await workflow.getHandle(workflowId).signal('no-such-signal', 'nonsense');
    }
    for await (const { workflowId } of workflow.list({
      query: `WorkflowType = 'anchorWallet' AND ExecutionStatus = 'Running'`,
    })) {
      await workflow.getHandle(workflowId).signal('nudge');
      await workflow.getHandle(workflowId).signal('no-such-signal', 'nonsense');
    }

    const second = await post(apiUrl, tenant, auditRecord());
    await untilLevel(apiUrl, tenant, second.id, 'final');
    const events = await local.sealedEvents(tenant);
    assert.deepEqual(
      events.map(({ seq }) => seq),
      events.map((_, index) => index + 1),
    );
  });
});
