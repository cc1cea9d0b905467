/** The API's process dies or freezes in the middle of a write (rows F4 and F5 of the fault table), and two of them share a log (F9). */
import assert from 'node:assert/strict';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { accept } from '../sql/batch.ts';
import { holdHead, untilWaiting } from '../sql/lock-waits.ts';
import { logFaults } from '../sql/log-faults.ts';
import { startApiProcess, type ApiProcess } from './api-process.ts';

describe('an ingest process', function () {
  this.timeout(60_000);
  let db: ProductDatabase;
  let tenant: TestTenant;
  let first: ApiProcess;
  let second: ApiProcess;

  before(async () => {
    db = await createProductDatabase();
    second = await startApiProcess(db);
  });
  beforeEach(async () => {
    tenant = await db.createTenant();
    first = await startApiProcess(db);
  });
  afterEach(() => first.stop());
  after(async () => {
    await second.stop();
    await db.drop();
  });

  const size = async (): Promise<number> =>
    (await db.sql<{ size: number }>(`SELECT size FROM ${tenant.role}.log_head`))[0]!.size;
  const faults = async (): Promise<string[]> => logFaults(await db.connect(db.superuserUrl), tenant, db.periodSeconds);

  it('killed before COMMIT: the client gets an error, no row stays, a retry is accepted (F4)', async () => {
    // It must not be the 5 s limits that end the wait.
    for (const limit of ['statement_timeout', 'transaction_timeout']) {
      await db.sql(`ALTER ROLE ${tenant.role} SET ${limit} = '10min'`);
    }
    const release = await holdHead(db, tenant);
    const answer = assert.rejects(first.post(tenant, 'killed'));
    await untilWaiting(db, tenant, 1);
    first.signal('SIGKILL');
    await answer;
    // The server notices that nobody is there any more: what waited for the head gives up instead of writing unheard.
    await untilWaiting(db, tenant, 0);
    await release();
    assert.equal(await size(), 0);
    const retry = await second.post(tenant, 'killed');
    assert.deepEqual([retry.status, retry.lines[0]!.leafIndex], [201, 0]);
    assert.deepEqual(await faults(), []);
  });

  it('killed after COMMIT, before the answer: a retry is a duplicate of the same leaf (F5)', async () => {
    await second.post(tenant, 'earlier');
    const release = await holdHead(db, tenant);
    const answer = assert.rejects(first.post(tenant, 'unheard'));
    await untilWaiting(db, tenant, 1);
    // A frozen process keeps its connection: the server commits, and nobody reads the answer.
    first.signal('SIGSTOP');
    await release();
    while ((await size()) === 1);
    first.signal('SIGKILL');
    await answer;
    const [stored] = await db.sql<{ leaf_hash: string }>(
      `SELECT '0x' || encode(leaf_hash, 'hex') AS leaf_hash FROM ${tenant.role}.records WHERE id = 'unheard'`,
    );
    const retry = await second.post(tenant, 'unheard');
    assert.deepEqual(
      [retry.status, retry.lines[0]!.status, retry.lines[0]!.leafIndex, retry.lines[0]!.leafHash],
      [200, 'duplicate', 1, stored!.leaf_hash],
    );
    assert.equal(await size(), 2);
    assert.deepEqual(await faults(), []);
  });

  it('frozen with the largest batch in the database: its answer blocks nobody else (F45)', async () => {
    const ids = Array.from({ length: 1_000 }, (_, at) => `${'f'.repeat(120)}-${at}`);
    const release = await holdHead(db, tenant);
    const answer = assert.rejects(first.post(tenant, ...ids));
    await untilWaiting(db, tenant, 1);
    first.signal('SIGSTOP');
    await release();
    const other = await second.post(tenant, 'other');
    assert.deepEqual([other.status, other.lines[0]!.leafIndex], [201, 1_000]);
    first.signal('SIGKILL');
    await answer;
    const retry = await second.post(tenant, ...ids);
    assert.deepEqual(
      retry.lines.map(({ status, leafIndex }) => [status, leafIndex]),
      ids.map((_, at) => ['duplicate', at]),
    );
    assert.deepEqual(await faults(), []);
  });

  it('shares a log with another and with 64 more connections: gapless, no deadlock (F9)', async () => {
    const clients = await Promise.all(Array.from({ length: 64 }, () => db.connect(tenant.url)));
    const direct = clients.map(async (client, c) => {
      for (let turn = 0; turn < 3; turn++) {
        // Two batches in one transaction, each pair with its ids in opposite orders: what deadlocks would do so here.
        const ids = [`shared-${turn}-${c % 8}`, `shared-${turn}-${(c + 1) % 8}`];
        const back = (c + turn) % 4 === 0;
        await client.query('BEGIN');
        await accept(client, tenant, c % 2 === 0 ? ids : ids.toReversed());
        await accept(client, tenant, [`direct-${c}-${turn}`]);
        await client.query(back ? 'ROLLBACK' : 'COMMIT');
      }
    });
    const posted = Array.from({ length: 64 }, async (_, at) => {
      const { status, lines } = await (at % 2 === 0 ? first : second).post(
        tenant,
        `posted-${at}`,
        `shared-0-${at % 8}`,
      );
      assert.equal(status, 200);
      return lines;
    });
    await Promise.all(direct);
    const lines = (await Promise.all(posted)).flat();

    assert.deepEqual(await faults(), []);
    const stored = await db.sql<{ id: string; leaf_index: number }>(
      `SELECT id, leaf_index FROM ${tenant.role}.records`,
    );
    const indexes = new Map(stored.map(({ id, leaf_index: index }) => [id, index]));
    for (const line of lines) assert.equal(indexes.get(line.id), line.leafIndex, line.id);
    assert.equal(lines.filter(({ id, status }) => id.startsWith('posted') && status === 'accepted').length, 64);
    await Promise.all(clients.map((client) => client.end()));
  });
});
