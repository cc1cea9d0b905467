/**
 * C7 on a real Temporal: seals of a log whose key is with the tenant's own signer, while the signer is away, and when it is back. The
 * periods are started one by one, as the schedule's workflow starts them.
 */
import assert from 'node:assert/strict';
import { ANCHORING_QUEUE, sealId, SEALING_QUEUE, SIGNING_QUEUE } from '../../workflows/ids.ts';
import type { seal } from '../../workflows/seal.ts';
import { createPlane, type Plane } from '../activities/plane.ts';
import { createSteps } from '../activities/custody/steps.ts';
import { startIngestApi, type IngestApi } from '../api/ingest-api.ts';
import { createOwnSigner, type OwnSigner } from '../custody/own-signer.ts';
import { until } from '../main-job/client.ts';
import { startOwnTemporal, type OwnTemporal } from '../own-temporal.ts';
import { startOwnWorkers } from '../own-workers.ts';
import type { TestTenant } from '../product-database.ts';

/** Milliseconds. */
const PATIENCE = 60_000;
/** Seconds that a seal waits here for a signer who does not come: time for a second try. */
const AWAY_PERIOD = 2;

describe('seals of a tenant whose own signer is away', function () {
  this.timeout(120_000);
  let plane: Plane;
  let temporal: OwnTemporal;
  let workers: Awaited<ReturnType<typeof startOwnWorkers>>;
  let api: IngestApi;
  let own: OwnSigner;
  let tenant: TestTenant;

  before(async function () {
    if (process.env['TEMPORAL_ADDRESS']) this.skip(); // then set-up provides no server of our own
    [plane, temporal] = await Promise.all([createPlane({ coolingOffSeconds: 1 }), startOwnTemporal()]);
    const queues = [
      [SEALING_QUEUE, plane.log],
      [SIGNING_QUEUE, plane.signing],
      [ANCHORING_QUEUE, plane.anchoring],
    ] as const;
    workers = await startOwnWorkers(temporal, queues, plane.alert);
    api = await startIngestApi(plane.database, { contract: plane.registry.address });
    const steps = createSteps(plane);
    const of = await steps.tenant();
    tenant = of.tenant;
    own = createOwnSigner(api.url, (await plane.database.createKey(tenant, { scopes: ['signer'] })).key);
    own.come();
    const migration = await steps.begin(of, { custody: 3, signer: own.address });
    await steps.prove(migration);
    await steps.propose(migration);
    await steps.accept(migration);
    await steps.settle();
    await steps.custody.learnSuccession({ tenantId: tenant.id });
    await steps.end(migration, 'completed');
    await steps.seal(tenant);
  });
  after(async () => {
    await own?.leave();
    await workers?.stop();
    await api?.stop();
    await plane?.stop();
    await temporal?.stop();
  });

  /** The seal of the period that was over last. */
  function sealNow(periodSeconds: number) {
    const period = Math.floor(Date.now() / 1000) - 1;
    return temporal.client.workflow.start<typeof seal>('seal', {
      workflowId: sealId(tenant.id, period),
      taskQueue: SEALING_QUEUE,
      args: [{ tenantId: tenant.id, period, periodSeconds, delaySeconds: 0 }],
    });
  }

  /** Waits until so many seal workflows are open. */
  async function openSeals(count: number): Promise<void> {
    await until(
      `${count} open workflows`,
      async () => {
        const open = await temporal.list(`WorkflowType = 'seal' AND ExecutionStatus = 'Running'`, 0);
        return open.length === count ? true : undefined;
      },
      PATIENCE,
    );
  }

  it('each waits one period and ends; the next one, once the signer is back, catches up in order; none stays open (C7)', async () => {
    await own.leave();
    await plane.database.sql(`UPDATE kiff.signers_seen SET seen_at = seen_at - interval '1 minute' WHERE tenant = $1`, [
      tenant.id,
    ]);
    const before = own.signed.length;
    const ended: string[] = [];
    const signed = (await plane.levels(tenant)).length;
    for (let hour = 0; hour < 3; hour++) {
      await plane.post(tenant, 1);
      const handle = await sealNow(AWAY_PERIOD);
      assert.equal((await handle.result()).level, 'awaiting-signer');
      ended.push(handle.workflowId);
      await openSeals(0);
    }
    const found = await temporal.list("`Level` = 'awaiting-signer'", ended.length);
    assert.deepEqual(new Set(found.map(({ workflowId }) => workflowId)), new Set(ended), 'the operator finds them');
    const waiting = (await plane.levels(tenant)).slice(signed);
    assert.deepEqual(new Set(waiting), new Set(['hashed']), 'control: nothing was signed meanwhile');

    own.come();
    await plane.post(tenant, 1);
    // It may take its time on a slow machine.
    const last = await sealNow(PATIENCE / 1000);
    await until(
      'all to be signed',
      async () => ((await plane.levels(tenant)).at(-1) === 'sealed' ? true : undefined),
      PATIENCE,
    );
    await openSeals(1);
    await plane.anchorAll();
    await last.signal('levelChanged');
    const { seq, level } = await last.result();
    assert.equal(level, 'final');
    await openSeals(0);

    assert.ok(seq! > signed + waiting.length);
    assert.deepEqual(
      own.signed.slice(before).map((request) => request.seal?.seq),
      Array.from({ length: seq! - signed }, (_, index) => signed + 1 + index),
    );
    assert.deepEqual(new Set(await plane.levels(tenant)), new Set(['final']));
  });
});
