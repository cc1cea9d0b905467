/** Row F45 of the fault table: writers that wait across a period's end, and one that never finishes. A period is one second. */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { recordText, startIngestApi } from '../api/ingest-api.ts';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { accept, databaseTime, type AcceptedRow } from './batch.ts';
import { untilWaiting } from './lock-waits.ts';
import { logFaults } from './log-faults.ts';

const P = 1;

describe('a writer that hangs inside its transaction', function () {
  this.timeout(30_000);
  let db: ProductDatabase;
  let tenant: TestTenant;
  let observer: pg.Client;
  let sealing: pg.Client;

  before(async () => {
    db = await createProductDatabase({ periodSeconds: P });
    observer = await db.connect(db.superuserUrl);
    sealing = await db.connect(db.urls.kiff_sealing);
  });
  beforeEach(async () => {
    tenant = await db.createTenant();
  });
  after(() => db.drop());

  const period = async (): Promise<number> => Math.floor((await databaseTime(observer)) / P) * P;
  const untilTime = async (seconds: number): Promise<void> => {
    while ((await databaseTime(observer)) < seconds) await delay(10);
  };
  const collect = async (upTo: number): Promise<{ period: number; tree_size: number }> =>
    (await sealing.query<{ period: number; tree_size: number }>(`SELECT * FROM ${tenant.role}.collect($1)`, [upTo]))
      .rows[0]!;

  it('that rolls back after a period’s end: who waited behind it is dated after the cut', async () => {
    const holder = await db.connect(tenant.url);
    await holder.query('BEGIN');
    const [undone] = await accept(holder, tenant, ['undone']);
    const closing = await period();
    const writers = await Promise.all([0, 1, 2].map(() => db.connect(tenant.url)));
    const waiting = writers.map((writer, w) => accept(writer, tenant, [`waited-${w}`]));
    await untilWaiting(db, tenant, 3);
    // They came while the period was open, and wait until it is over.
    await untilTime(closing + P);
    await holder.query('ROLLBACK');
    const rows = (await Promise.all(waiting)).flat();

    assert.ok(undone!.received_at < new Date((closing + P) * 1000), 'control: the writer before them was in time');
    for (const row of rows) assert.ok(row.received_at >= new Date((closing + P) * 1000));
    assert.deepEqual(
      rows.map((row) => row.leaf_index).toSorted((a, b) => a - b),
      [0, 1, 2],
    );
    assert.deepEqual((await collect(closing)).tree_size, 0);
    assert.deepEqual(await logFaults(observer, tenant, P), []);
  });

  it('is ended by the server; writers and the cut behind it go on, and nothing of it is left', async () => {
    const api = await startIngestApi(db);
    try {
      const hung = await db.connect(tenant.url);
      const ended = new Promise<Error & { code?: string }>((resolve) => hung.on('error', resolve));
      await hung.query('BEGIN');
      await accept(hung, tenant, ['hung']);
      const closing = await period();

      // All of them begin later than it did, so that their own 5 s end later than its.
      await untilTime(closing + P);
      const writer = await db.connect(tenant.url);
      const waiting = accept(writer, tenant, ['direct']);
      const cutting = collect(closing);
      const posting = api.post(tenant.apiKey, recordText('posted'));
      await untilWaiting(db, tenant, 2);

      // 25P03: idle in a transaction for 5 s; 25P04: a transaction of 5 s. Whichever the server counted to first.
      assert.match((await ended).code ?? '', /^25P0[34]$/);
      const rows: AcceptedRow[] = await waiting;
      const cut = await cutting;
      const posted = await posting;
      assert.equal(posted.status, 201);
      assert.deepEqual(
        [rows[0]!.leaf_index, Number(posted.json.leafIndex)].toSorted((a, b) => a - b),
        [0, 1],
      );
      assert.ok(rows[0]!.received_at >= new Date((closing + 4 * P) * 1000), 'it waited over several periods');
      assert.ok(cut.period >= closing);
      assert.equal((await db.sql(`SELECT FROM ${tenant.role}.records WHERE id = 'hung'`)).length, 0);

      const now = await period();
      await untilTime(now + P);
      assert.equal((await collect(now)).tree_size, 2);
      assert.deepEqual(
        await db.sql(`SELECT seq FROM ${tenant.role}.seals WHERE period = $1 AND tree_size > 0`, [closing]),
        [],
      );
      assert.deepEqual(await logFaults(observer, tenant, P), []);
    } finally {
      await api.stop();
    }
  });
});
