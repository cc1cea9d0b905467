/** Every command starts its workflow exactly once: over lost connections, killed workers, slow commits, deaf ears. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import type pg from 'pg';
import { createPool } from '../../activities/database.ts';
import type { StartCommand } from '../../activities/commands/queue.ts';
import { startProcess, type RunningProcess } from '../../dev/process.ts';
import { packageRoot } from '../../dev/root.ts';
import { startInbox, startWith, type Inbox } from '../../workers/sealing/inbox.ts';
import { startOwnTemporal, type OwnTemporal } from '../own-temporal.ts';
import { createProductDatabase, randomTenantId, type ProductDatabase } from '../product-database.ts';

const INSERT = 'INSERT INTO kiff.commands (kind, payload) VALUES ($1, $2)';

describe('the inbox', function () {
  this.timeout(60_000);
  let db: ProductDatabase;
  let temporal: OwnTemporal;
  let operator: pg.Client;
  let pool: pg.Pool;
  let inboxes: Inbox[];

  before(async function () {
    if (process.env['TEMPORAL_ADDRESS']) this.skip(); // then set-up provides no server of our own
    [db, temporal] = await Promise.all([createProductDatabase(), startOwnTemporal()]);
    operator = await db.connect(db.urls.kiff_operator);
    pool = createPool(db.urls.kiff_sealing, 12);
  });
  beforeEach(async () => {
    inboxes = [];
    // Ids go on, so that no two tests share a workflow's id.
    await db.sql('DELETE FROM kiff.command_results; DELETE FROM kiff.commands');
  });
  afterEach(() => Promise.all(inboxes.map((inbox) => inbox.stop())));
  after(async () => {
    await pool?.end();
    await temporal?.stop();
    await db?.drop();
  });

  const ask = (client: pg.Client = operator) =>
    client.query(INSERT, ['tenant.onboard', JSON.stringify({ tenantId: randomTenantId() })]);

  const open = (start: StartCommand = startWith(temporal.client)): void => {
    const log = pino({ level: 'silent' });
    inboxes.push(startInbox({ pool, databaseUrl: db.urls.kiff_sealing, start, log }));
  };

  async function untilSettled(count: number): Promise<void> {
    for (;;) {
      const [row] = await db.sql<{ open: number }>(
        'SELECT count(*) AS open FROM kiff.commands WHERE settled_at IS NULL',
      );
      const [all] = await db.sql<{ count: number }>('SELECT count(*) AS count FROM kiff.commands');
      if (row!.open === 0 && all!.count === count) return;
      await delay(20);
    }
  }

  /** The runs of the workflows of all commands that there are, once the server lists as many. */
  async function runsOfAll(): ReturnType<OwnTemporal['list']> {
    const rows = await db.sql<{ id: number }>('SELECT id FROM kiff.commands');
    const ids = rows.map(({ id }) => `'command/${id}'`);
    return temporal.list(`WorkflowType = 'command' AND WorkflowId IN (${ids.join(', ')})`, ids.length);
  }

  /** Fails unless every command there is has one run of its workflow, and no more. */
  async function assertOneRunEach(): Promise<void> {
    const rows = await db.sql<{ id: number }>('SELECT id FROM kiff.commands ORDER BY id');
    const wanted = rows.map(({ id }) => `command/${id}`);
    const runs = await runsOfAll();
    assert.deepEqual(runs.map(({ workflowId }) => workflowId).toSorted(), wanted.toSorted());
    const states = await db.sql('SELECT DISTINCT state FROM kiff.command_results');
    assert.deepEqual(states, [{ state: 'started' }]);
  }

  it('two of them, with connections that are cut between start and mark, and commits out of order', async () => {
    const real = startWith(temporal.client);
    let starts = 0;
    const cutting: StartCommand = async (id, asked) => {
      await real(id, asked);
      if (starts++ % 8 !== 0) return;
      await db.sql(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE usename = 'kiff_sealing' AND datname = current_database() AND state = 'idle in transaction'`,
      );
    };
    open(cutting);
    open(cutting);
    const slow = await Promise.all(Array.from({ length: 5 }, () => db.connect(db.urls.kiff_operator)));
    for (const client of slow) {
      await client.query('BEGIN');
      await ask(client);
    }
    for (let n = 0; n < 25; n++) await ask();
    for (const client of slow.toReversed()) await client.query('COMMIT');
    await untilSettled(30);
    await assertOneRunEach();
    assert.ok(starts > 30, `control: ${starts} starts of 30 commands`);
    await Promise.all(slow.map((client) => client.end()));
  });

  it('hears nothing, and looks by itself', async () => {
    open();
    await ask();
    await untilSettled(1);
    const superuser = await db.connect(db.superuserUrl);
    await superuser.query('ALTER TABLE kiff.commands DISABLE TRIGGER wake_inbox');
    try {
      for (let n = 0; n < 3; n++) await ask();
      await untilSettled(4);
      await assertOneRunEach();
    } finally {
      await superuser.query('ALTER TABLE kiff.commands ENABLE TRIGGER wake_inbox');
      await superuser.end();
    }
  });

  it('waits for Temporal, and holds no transaction meanwhile', async () => {
    open();
    await ask();
    await untilSettled(1);
    temporal.signal('SIGSTOP');
    try {
      for (let n = 0; n < 5; n++) await ask();
      // The first tries have failed: their rows are put off, not held.
      for (;;) {
        const [tried] = await db.sql<{ count: number }>(
          'SELECT count(*) AS count FROM kiff.commands WHERE attempts > 0',
        );
        if (tried!.count === 5) break;
        await delay(50);
      }
      const [longest] = await db.sql<{ seconds: number | null }>(
        `SELECT max(extract(epoch FROM clock_timestamp() - xact_start))::float8 AS seconds FROM pg_stat_activity
          WHERE usename = 'kiff_sealing' AND datname = current_database()`,
      );
      assert.ok((longest!.seconds ?? 0) < 5);
    } finally {
      temporal.signal('SIGCONT');
    }
    await untilSettled(6);
    await assertOneRunEach();
  });

  it('in a sealing worker that is killed with kill -9, again and again', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'kiff-cloud-inbox-'));
    const worker = (n: number): Promise<RunningProcess> =>
      startProcess({
        name: 'sealing',
        entry: join(packageRoot, 'dist/workers/sealing/main.js'),
        env: {
          DATABASE_URL: db.urls.kiff_sealing,
          KIFF_HOST: db.host,
          KIFF_INCARNATION: db.incarnation,
          TEMPORAL_ADDRESS: temporal.address,
          TEMPORAL_NAMESPACE: temporal.namespace,
        },
        logFile: join(directory, `${n}.log`),
        ready: /"msg":"ready"/,
      });
    try {
      let asked = 0;
      for (let life = 0; life < 3; life++) {
        const running = await worker(life);
        const before = asked;
        // Killed while it is in the middle of them.
        for (; asked < before + 20; asked++) await ask();
        for (;;) {
          const [row] = await db.sql<{ count: number }>(
            'SELECT count(*) AS count FROM kiff.commands WHERE settled_at IS NOT NULL',
          );
          if (row!.count > before) break;
        }
        process.kill(running.pid, 'SIGKILL');
        await running.exited;
      }
      const last = await worker(3);
      await untilSettled(asked);
      await last.stop();
      await assertOneRunEach();
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });

  const COUNT = 60;

  it('starts them soon (the time is printed, not judged)', async () => {
    open();
    await ask();
    await untilSettled(1);
    for (let n = 1; n < COUNT; n++) {
      await ask();
      await delay(50); // one by one: a rush would measure the server's throughput
    }
    await untilSettled(COUNT);
    const rows = await db.sql<{ id: number; at: number }>(
      'SELECT id, extract(epoch FROM issued_at)::float8 * 1000 AS at FROM kiff.commands ORDER BY id',
    );
    const runs = await runsOfAll();
    const startOf = new Map(runs.map(({ workflowId, startTime }) => [workflowId, startTime.getTime()]));
    const waits = rows.map(({ id, at }) => (startOf.get(`command/${id}`) ?? NaN) - at).toSorted((a, b) => a - b);
    assert.ok(waits.every(Number.isFinite));
    const at = (share: number): string => waits[Math.floor(COUNT * share)]!.toFixed(0);
    console.log(`        insert to workflow start: p50 ${at(0.5)} ms, p95 ${at(0.95)} ms`);
  });
});
