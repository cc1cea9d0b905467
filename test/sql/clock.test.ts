/**
 * Row F46 of the fault table: the database's clock jumps back or ahead, or a failover lands on a server whose clock is
 * behind. The clock is a test's own (settable-clock.ts). A period is one second.
 */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { assertProblem, recordText, startIngestApi, type IngestApi } from '../api/ingest-api.ts';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { accept, databaseTime } from './batch.ts';
import { logFaults } from './log-faults.ts';
import { settableClock } from './settable-clock.ts';

const P = 1;

describe('a database clock that jumps (F46)', function () {
  this.timeout(30_000);
  let db: ProductDatabase;
  let setClock: (shift: string) => Promise<void>;
  let api: IngestApi;
  let tenant: TestTenant;
  let client: pg.Client;
  let observer: pg.Client;
  let sealing: pg.Client;

  before(async () => {
    db = await createProductDatabase({ periodSeconds: P });
    setClock = await settableClock(db);
    api = await startIngestApi(db);
    observer = await db.connect(db.superuserUrl);
    sealing = await db.connect(db.urls.kiff_sealing);
  });
  beforeEach(async () => {
    await setClock('0');
    tenant = await db.createTenant();
    client = await db.connect(tenant.url);
  });
  after(async () => {
    await api.stop();
    await db.drop();
  });

  const faults = (): Promise<string[]> => logFaults(observer, tenant, P);
  /** By the clock that jumps. */
  const untilTime = async (seconds: number): Promise<void> => {
    while ((await databaseTime(observer)) < seconds) await delay(10);
  };
  /** The period that this clock is in. */
  const period = async (): Promise<number> => Math.floor((await databaseTime(observer)) / P) * P;
  const collectPeriod = async (upTo: number): Promise<number> => {
    for (;;) {
      const { rows } = await sealing.query<{ period: number; tree_size: number }>(
        `SELECT * FROM ${tenant.role}.collect($1)`,
        [upTo],
      );
      if (rows[0]!.period >= upTo) return rows[0]!.tree_size;
    }
  };
  /** Cuts every period that is over by this clock, the current one included, for whose end it waits. */
  const collect = async (): Promise<number> => {
    const current = await period();
    await untilTime(current + P);
    return collectPeriod(current);
  };
  const post = (id: string): ReturnType<IngestApi['post']> => api.post(tenant.apiKey, recordText(id));
  const seals = (): Promise<unknown[]> =>
    db.sql(`SELECT seq, period, tree_size FROM ${tenant.role}.seals ORDER BY seq`);

  it('the control: the clock of the SQL is the one that the test sets', async () => {
    const real = await databaseTime(observer);
    await setClock('-1 hour');
    assert.ok((await databaseTime(observer)) < real - 3_500);
    await setClock('1 hour');
    const [row] = await accept(client, tenant, ['a']);
    assert.ok(row!.received_at.getTime() / 1000 > real + 3_500);
  });

  it('back by 2 s: records go on at the head’s time, each in the period that it is dated in', async () => {
    const [before] = await accept(client, tenant, ['before']);
    await setClock('-2 seconds');
    const [after] = await accept(client, tenant, ['after-1', 'after-2']);
    assert.deepEqual(after!.received_at, before!.received_at);
    const { status, json } = await post('posted');
    assert.deepEqual([status, json.receivedAt], [201, before!.received_at.toISOString()]);
    // A period is over when this clock says so, and not before: more may come into it.
    await assert.rejects(collectPeriod(Math.floor(before!.received_at.getTime() / 1000)), { code: 'KF004' });
    assert.deepEqual(await faults(), []);

    await untilTime(before!.received_at.getTime() / 1000);
    const [later] = await accept(client, tenant, ['caught-up']);
    assert.ok(later!.received_at >= before!.received_at);
    assert.equal(await collect(), 5);
    assert.deepEqual(await faults(), []);
  });

  it('back by more than 5 s: 503 with Retry-After and an error in the log, until the clock is near again', async () => {
    await accept(client, tenant, ['before']);
    await setClock('-6 seconds');
    await assert.rejects(accept(client, tenant, ['refused']), { code: 'KF002' });
    const answer = await post('refused');
    assertProblem(answer, 503, 'unavailable');
    assert.equal(answer.headers.get('retry-after'), '1');
    const line = api
      .logged()
      .split('\n')
      .find((text) => text.includes(String(answer.json.requestId)) && text.includes('http.problem'));
    assert.ok(line !== undefined);
    const logged = JSON.parse(line) as { level: number; code: string };
    assert.deepEqual([logged.level, logged.code], [50, 'KF002']);

    // Nothing was written, and nothing needs an operator: a second later the head is less than 5 s ahead.
    let again = answer;
    while (again.status === 503) {
      await delay(Number(again.headers.get('retry-after')) * 1000);
      again = await post('refused');
    }
    assert.equal(again.status, 201);
    assert.deepEqual(await faults(), []);
  });

  it('an hour ahead and back: what was cut and dated there stands, nothing is written until time has come', async () => {
    await accept(client, tenant, ['before']);
    await setClock('1 hour');
    const [ahead] = await accept(client, tenant, ['ahead']);
    await collectPeriod(tenant.firstPeriod + 5 * P);
    const cut = await seals();

    await setClock('0');
    await assert.rejects(accept(client, tenant, ['refused']), { code: 'KF002' });
    assert.equal((await post('refused')).status, 503);
    // Asked again, the cut of a period that has not even begun by this clock reads the same; a further one is refused.
    assert.equal(await collectPeriod(tenant.firstPeriod + 5 * P), 1);
    await assert.rejects(collectPeriod(tenant.firstPeriod + 6 * P), { code: 'KF004' });
    assert.deepEqual(await seals(), cut);
    assert.deepEqual(await faults(), []);

    // An hour later.
    await setClock('1 hour');
    const [row] = await accept(client, tenant, ['refused']);
    assert.ok(row!.received_at >= ahead!.received_at);
    assert.equal(await collect(), 3);
    assert.deepEqual((await seals()).slice(0, cut.length), cut);
    assert.deepEqual(await faults(), []);
  });

  for (const behind of [3, 3_600]) {
    it(`a failover after a cut to a clock that is ${behind} s behind: nothing is dated into a closed period`, async () => {
      await accept(client, tenant, ['before']);
      assert.equal(await collect(), 1);
      const cut = await seals();
      const closed = tenant.firstPeriod + cut.length * P;
      await setClock(`-${behind} seconds`);

      const late = await accept(client, tenant, ['late']).catch((error: unknown) => error as { code: string });
      if (behind > 5) {
        assert.equal((late as { code: string }).code, 'KF002');
      } else {
        assert.ok((late as { received_at: Date }[])[0]!.received_at >= new Date(closed * 1000));
      }
      // Asked for the same cut again, the slower server answers it, though by its clock the period is not over.
      assert.equal(await collectPeriod(closed - P), 1);
      assert.deepEqual(await seals(), cut);
      assert.deepEqual(await faults(), []);

      await setClock('0');
      await accept(client, tenant, ['later']);
      assert.equal(await collect(), behind > 5 ? 2 : 3);
      assert.deepEqual((await seals()).slice(0, cut.length), cut);
      assert.deepEqual(await faults(), []);
    });
  }

  it('back between activation and the first record: it is not dated before the log’s first period', async () => {
    await setClock('-2 seconds');
    assert.ok((await databaseTime(observer)) < tenant.firstPeriod, 'control: by this clock the log has not begun');
    const [row] = await accept(client, tenant, ['first']);
    assert.ok(row!.received_at >= new Date(tenant.firstPeriod * 1000));
    await untilTime(tenant.firstPeriod);
    assert.equal(await collect(), 1);
    assert.deepEqual(await faults(), []);
  });
});
