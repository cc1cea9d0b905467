/**
 * Onboarding by the real workflow, in this process: commands, inbox, workers of four queues, PostgreSQL, Temporal, the KMS
 * stand-in over HTTP, a chain. The wallet registers when the test lets it.
 */
import assert from 'node:assert/strict';
import { DescribeKeyCommand, NotFoundException, type KeyMetadata } from '@aws-sdk/client-kms';
import { WorkflowIdReusePolicy } from '@temporalio/client';
import { NativeConnection, Worker } from '@temporalio/worker';
import pg from 'pg';
import { pino } from 'pino';
import { createCommandActivities } from '../../activities/commands/create.ts';
import { createPool } from '../../activities/database.ts';
import { tenantKeyAlias } from '../../activities/kms/keys.ts';
import { createMigrationActivities } from '../../activities/migration/create.ts';
import { createTenant, readAwaited, Refused, type CreatedTenant } from '../../cli/operator/tenants.ts';
import { hashApiKey } from '../../api/ingest/api-key.ts';
import { custodyRole, tenantSchema } from '../../sql/login.ts';
import { bundlePath } from '../../workers/bundle.ts';
import { fixedFailures } from '../../workers/fixed-failures.ts';
import { startInbox, startWith, type Inbox } from '../../workers/sealing/inbox.ts';
import { ANCHORING_QUEUE, KEYADMIN_QUEUE, MIGRATION_QUEUE, onboardingId, SEALING_QUEUE } from '../../workflows/ids.ts';
import type { tenantOnboarding } from '../../workflows/tenantOnboarding.ts';
import { createPlane, failsAs, type Plane } from '../activities/plane.ts';
import { startOwnTemporal, type OwnTemporal } from '../own-temporal.ts';
import { randomTenantId } from '../product-database.ts';
import { accept } from '../sql/batch.ts';
import '../quiet-temporal.ts';

const PATIENCE = 60_000;

describe('onboarding', function () {
  this.timeout(60_000);
  let plane: Plane;
  let temporal: OwnTemporal;
  let inbox: Inbox;
  let pool: pg.Pool;
  let connection: NativeConnection;
  const workers: { worker: Worker; running: Promise<void> }[] = [];
  let migration: ReturnType<typeof createMigrationActivities>;
  let alerts: { name: string; fields: object }[] = [];
  const alert = (name: string, fields: object): void => void alerts.push({ name, fields });
  /** While it is set, a nudge makes the wallet register what waits. */
  let registers = true;

  before(async function () {
    if (process.env['TEMPORAL_ADDRESS']) this.skip(); // then set-up provides no server of our own
    [plane, temporal] = await Promise.all([createPlane(), startOwnTemporal()]);
    const { database } = plane;
    pool = createPool(database.urls.kiff_sealing, 8);
    migration = createMigrationActivities({
      url: database.urls.kiff_migrate,
      secrets: database.loginSecrets,
      incarnation: database.incarnation,
      alert,
    });
    connection = await NativeConnection.connect({ address: temporal.address });
    const log = pino({ level: 'silent' });
    const queues: [string, object][] = [
      [SEALING_QUEUE, { ...plane.log, ...createCommandActivities({ pool }) }],
      [MIGRATION_QUEUE, migration],
      [KEYADMIN_QUEUE, plane.keyAdmin],
      [ANCHORING_QUEUE, { nudgeWallet: async () => (registers ? plane.sendAll() : undefined) }],
    ];
    for (const [taskQueue, activities] of queues) {
      const worker = await Worker.create({
        connection,
        namespace: temporal.namespace,
        taskQueue,
        activities,
        interceptors: { activity: [fixedFailures(log, alert)] },
        ...(taskQueue === SEALING_QUEUE && { workflowBundle: { codePath: bundlePath } }),
      });
      workers.push({ worker, running: worker.run() });
    }
    inbox = startInbox({ pool, databaseUrl: database.urls.kiff_sealing, start: startWith(temporal.client), log });
  });
  beforeEach(() => {
    registers = true;
    alerts = [];
    plane.alerts();
  });
  after(async () => {
    await inbox?.stop();
    for (const { worker } of workers) worker.shutdown();
    await Promise.all(workers.map(({ running }) => running));
    await connection?.close();
    await pool?.end();
    await plane?.stop();
    await temporal?.stop();
  });

  /** As `npx kiff tenant create` does it. */
  async function create(id: string): Promise<CreatedTenant> {
    const client = new pg.Client({ connectionString: plane.database.urls.kiff_operator });
    await client.connect();
    try {
      return await createTenant(client, id, PATIENCE);
    } finally {
      await client.end();
    }
  }

  async function keyOf(id: string): Promise<KeyMetadata | null> {
    try {
      const { KeyMetadata } = await plane.kmsAs('admin').send(new DescribeKeyCommand({ KeyId: id }));
      return KeyMetadata ?? null;
    } catch (error) {
      if (error instanceof NotFoundException) return null;
      throw error;
    }
  }

  /** What there is of a tenant: each part by name. */
  async function partsOf(id: string): Promise<string[]> {
    const rows = await plane.database.sql<{ part: string }>(
      `SELECT 'row' AS part FROM kiff.tenants WHERE id = $1
        UNION ALL SELECT 'log' FROM kiff.logs WHERE tenant = $1
        UNION ALL SELECT 'schema' FROM pg_namespace WHERE nspname = $2
        UNION ALL SELECT 'migrations' FROM kiff_migrations.done WHERE scope = 'tenant:' || $1 AND version = 1
        UNION ALL SELECT 'login ' || left(rolname, 6) FROM pg_roles WHERE rolname IN ($2, $3)`,
      [id, tenantSchema(id), custodyRole(id)],
    );
    const key = (await keyOf(tenantKeyAlias(id))) === null ? [] : ['key'];
    return [...rows.map(({ part }) => part), ...key].toSorted();
  }
  const ALL = ['key', 'log', 'login kiff_c', 'login kiff_t', 'migrations', 'row', 'schema'];

  /** Waits until the onboarding waits for the chain. */
  async function untilWaiting(id: string): Promise<void> {
    const handle = temporal.client.workflow.getHandle(onboardingId(id));
    for (;;) {
      const [row] = await plane.database.sql('SELECT FROM kiff.logs WHERE tenant = $1', [id]);
      if (row !== undefined) break;
    }
    for (;;) {
      const { events } = await handle.fetchHistory();
      if (events?.some((event) => event.timerStartedEventAttributes != null) === true) return;
    }
  }

  it('makes a tenant that can be used, with one key, and says how long it took', async () => {
    const id = randomTenantId();
    const began = performance.now();
    const { tenant, apiKey } = await create(id);
    console.log(`        a tenant in ${((performance.now() - began) / 1000).toFixed(1)} s (chain that mines at once)`);
    assert.equal(tenant.status, 'active');
    assert.equal(tenant.log?.registered, true);
    assert.deepEqual(await partsOf(id), ALL);
    const keys = await plane.database.sql<{ hash: Buffer }>('SELECT hash FROM kiff.api_keys WHERE tenant = $1', [id]);
    assert.deepEqual(
      keys.map(({ hash }) => hash.toString('hex')),
      [hashApiKey(apiKey!).toString('hex')],
    );
    const [made] = await plane.database.sql<{ id: string }>(`SELECT id FROM kiff.api_keys WHERE tenant = $1`, [id]);
    const superuser = await plane.database.connect(plane.database.superuserUrl);
    await superuser.query(`SET SESSION AUTHORIZATION ${tenantSchema(id)}`);
    const [record] = await accept(superuser, { role: tenantSchema(id) }, ['first'], made!.id);
    assert.equal(record!.outcome, 'accepted');
    await superuser.end();
    // The key went nowhere but here: not into a payload, not into a history.
    const rows = await plane.database.sql<{ payload: string }>('SELECT payload::text AS payload FROM kiff.commands');
    assert.ok(rows.every(({ payload }) => !payload.includes(apiKey!)));
  });

  it('asked again, or run again, changes nothing', async () => {
    const id = randomTenantId();
    const first = await create(id);
    const again = await create(id);
    assert.equal(again.apiKey, null);
    assert.deepEqual(again.tenant, first.tenant);
    const run = await temporal.client.workflow.execute<typeof tenantOnboarding>('tenantOnboarding', {
      workflowId: `${onboardingId(id)}/again`,
      taskQueue: SEALING_QUEUE,
      args: [{ tenantId: id }],
      workflowIdReusePolicy: WorkflowIdReusePolicy.REJECT_DUPLICATE,
    });
    assert.deepEqual(run, {
      genesisSigner: first.tenant.log!.genesisSigner,
      firstPeriod: first.tenant.log!.firstPeriod,
    });
    assert.deepEqual(await partsOf(id), ALL);
  });

  it('cancelled on its way, it undoes everything in reverse; and then it can begin anew', async () => {
    const id = randomTenantId();
    registers = false;
    const asked = create(id);
    await untilWaiting(id);
    assert.deepEqual(await partsOf(id), ALL, 'control: everything was there');
    const key = await keyOf(tenantKeyAlias(id));
    await temporal.client.workflow.getHandle(onboardingId(id)).cancel();
    await assert.rejects(asked, refusedAs('cancelled'));
    assert.deepEqual(await partsOf(id), []);
    const retired = await keyOf(key!.KeyId!);
    assert.equal(retired?.KeyState, 'PendingDeletion');
    assert.deepEqual([...alerts, ...plane.alerts()], [{ name: 'onboarding-given-up', fields: { tenantId: id } }]);

    registers = true;
    const { tenant } = await create(id);
    assert.equal(tenant.status, 'active');
    const next = await keyOf(tenantKeyAlias(id));
    assert.notEqual(next?.KeyId, key?.KeyId);
  });

  it('a sign-up that failed is taken up again under its id: by the same delivery sent again, or by an operator', async () => {
    const webhooks = await plane.database.connect(plane.database.urls.kiff_webhooks);
    const operator = await plane.database.connect(plane.database.urls.kiff_operator);
    const hear = async (organisation: string): Promise<string | null> =>
      (
        await webhooks.query<{ id: string | null }>('SELECT kiff.organisation_created($1, $2) AS id', [
          `msg_${organisation}`,
          organisation,
        ])
      ).rows[0]!.id;
    /** Signs up, and fails. */
    const failed = async (organisation: string): Promise<string> => {
      registers = false;
      const id = await hear(organisation);
      await untilWaiting(id!);
      assert.equal(await hear(organisation), null, 'while it is being made nothing is asked anew');
      await temporal.client.workflow.getHandle(onboardingId(id!)).cancel();
      for (;;) {
        const ended = await plane.database.sql(
          `SELECT FROM kiff.command_results r JOIN kiff.commands c ON c.id = r.command
            WHERE c.payload ->> 'tenantId' = $1 AND r.state = 'failed'`,
          [id],
        );
        if (ended.length > 0) break;
      }
      assert.deepEqual(await partsOf(id!), []);
      const told = plane.alerts().filter(({ name }) => name === 'onboarding-given-up');
      assert.deepEqual(told, [{ name: 'onboarding-given-up', fields: { tenantId: id } }]);
      assert.ok((await readAwaited(operator)).some((awaited) => awaited.id === id));
      registers = true;
      return id!;
    };
    const active = async (id: string): Promise<boolean> =>
      (await plane.database.sql(`SELECT FROM kiff.tenants WHERE id = $1 AND status = 'active'`, [id])).length === 1;

    const resent = await failed('org_resent');
    assert.equal(await hear('org_resent'), resent);
    while (!(await active(resent)));
    assert.deepEqual(await partsOf(resent), ALL);
    assert.equal(await hear('org_resent'), null, 'it is there');

    const helped = await failed('org_helped');
    const { tenant, apiKey } = await create(helped);
    assert.deepEqual([tenant.status, apiKey], ['active', null], 'an organisation’s keys are its admins’ to make');
    assert.deepEqual(await readAwaited(operator), []);
    assert.deepEqual(await plane.database.sql('SELECT FROM kiff.api_keys WHERE tenant = $1', [helped]), []);
  });

  it('undoes everything when a step fails for good', async () => {
    const id = randomTenantId();
    // A log of another identity stands in the way.
    await plane.database.sql(`INSERT INTO kiff.tenants (id) VALUES ($1)`, [id]);
    await plane.database.sql(`INSERT INTO kiff.logs (tenant, origin, genesis_signer, log_id) VALUES ($1, $2, $3, $4)`, [
      id,
      `elsewhere/t/${id}`,
      Buffer.alloc(20, 1),
      Buffer.from(id.padEnd(32, '.')),
    ]);
    await assert.rejects(create(id), refusedAs('log-identity-conflict'));
    assert.deepEqual(await partsOf(id), []);
  });

  it('an undo that fails is an alert, and what came before it stays', async () => {
    const id = randomTenantId();
    registers = false;
    const asked = create(id);
    await untilWaiting(id);
    // Something in the schema that onboarding did not put there.
    await plane.database.sql(`INSERT INTO ${tenantSchema(id)}.seals (seq, period, tree_size) VALUES (1, 0, 0)`);
    await temporal.client.workflow.getHandle(onboardingId(id)).cancel();
    await assert.rejects(asked, refusedAs('undo-failed'));
    assert.deepEqual(await partsOf(id), ['login kiff_c', 'login kiff_t', 'migrations', 'row', 'schema']);
    assert.deepEqual(
      plane.alerts().filter(({ name }) => name === 'undo-failed'),
      [{ name: 'undo-failed', fields: { tenantId: id, step: 'schema' } }],
    );
  });

  it('F49: no undo touches a tenant that is active, whoever calls for it', async () => {
    const id = randomTenantId();
    const { tenant } = await create(id);
    const key = await keyOf(tenantKeyAlias(id));
    assert.deepEqual(await plane.log.abandonOnboarding({ tenantId: id }), { firstPeriod: tenant.log!.firstPeriod });
    await assert.rejects(plane.log.closeLog({ tenantId: id }), { code: 'KF052' });
    await assert.rejects(plane.keyAdmin.retireTenantKey({ tenantId: id }), failsAs('tenant-in-use'));
    await assert.rejects(migration.dropTenant({ tenantId: id }), failsAs('tenant-in-use'));
    assert.deepEqual(await partsOf(id), ALL);
    assert.deepEqual(await keyOf(tenantKeyAlias(id)), key);
    assert.equal(key?.KeyState, 'Enabled');
    assert.deepEqual([...alerts, ...plane.alerts()].map(({ name }) => name).toSorted(), [
      'tenant-in-use',
      'tenant-in-use',
    ]);

    // Nor one that has ended: it was active once.
    await plane.database.sql(`UPDATE kiff.tenants SET status = 'ended' WHERE id = $1`, [id]);
    await assert.rejects(plane.keyAdmin.retireTenantKey({ tenantId: id }), failsAs('tenant-in-use'));
    await assert.rejects(migration.dropTenant({ tenantId: id }), failsAs('tenant-in-use'));
    await assert.rejects(
      temporal.client.workflow.execute<typeof tenantOnboarding>('tenantOnboarding', {
        workflowId: `${onboardingId(id)}/ended`,
        taskQueue: SEALING_QUEUE,
        args: [{ tenantId: id }],
      }),
      (error: Error & { cause?: { type?: string } }) => error.cause?.type === 'tenant-ended',
    );
    assert.deepEqual(await partsOf(id), ALL);
  });
});

/** Matches an operator's refusal by its reason; for assert.rejects. */
function refusedAs(reason: string): (error: unknown) => true {
  return (error) => {
    assert.ok(error instanceof Refused, String(error));
    assert.match(error.message, new RegExp(`: ${reason}$`));
    return true;
  };
}
