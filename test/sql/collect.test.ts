import assert from 'node:assert/strict';
import type pg from 'pg';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { accept, databaseTime } from './batch.ts';

const P = 1;

interface Cut {
  seq: number;
  period: number;
  tree_size: number;
}

describe('collect(), the cut', () => {
  let db: ProductDatabase;
  let sealing: pg.Client;

  before(async function () {
    this.timeout(60_000);
    db = await createProductDatabase({ periodSeconds: P });
    sealing = await db.connect(db.urls.kiff_sealing);
  });
  after(() => db.drop());

  const collect = async (tenant: TestTenant, upTo: number, client = sealing): Promise<Cut> => {
    const { rows } = await client.query<Cut>(`SELECT * FROM ${tenant.role}.collect($1)`, [upTo]);
    return rows[0]!;
  };
  /** As soon as the period is over: KF004 says that it is not. */
  const collectWhenOver = async (tenant: TestTenant, upTo: number): Promise<Cut> => {
    for (;;) {
      try {
        return await collect(tenant, upTo);
      } catch (error) {
        if ((error as { code?: string }).code !== 'KF004') throw error;
      }
    }
  };
  const thisPeriod = async (): Promise<number> => Math.floor((await databaseTime(sealing)) / P) * P;
  const seals = (tenant: TestTenant): Promise<Cut[]> =>
    db.sql<Cut>(`SELECT seq, period, tree_size FROM ${tenant.role}.seals ORDER BY seq`);
  /** Seals whose size is not exactly the number of records before their period's end. */
  const wrongCuts = (tenant: TestTenant): Promise<unknown[]> =>
    db.sql(
      `SELECT s.* FROM ${tenant.role}.seals s WHERE tree_size <>
         (SELECT count(*) FROM ${tenant.role}.records r WHERE r.received_at < to_timestamp(s.period + ${P}))`,
    );

  it('makes up every missed period, and reads the same when repeated', async () => {
    const now = await thisPeriod();
    const tenant = await db.createTenant({ firstPeriod: now - 5 });
    const cut = await collect(tenant, now - 1);
    assert.deepEqual(cut, { seq: 5, period: now - 1, tree_size: 0 });
    const first = await seals(tenant);
    assert.deepEqual(
      first,
      [5, 4, 3, 2, 1].map((back, at) => ({ seq: at + 1, period: now - back, tree_size: 0 })),
    );
    assert.deepEqual(await collect(tenant, now - 1), cut);
    assert.deepEqual(await collect(tenant, now - 3), cut);
    assert.deepEqual(await seals(tenant), first);
  });

  it('makes up long gaps in steps of 1,000', async () => {
    const now = await thisPeriod();
    const tenant = await db.createTenant({ firstPeriod: now - 1_500 });
    assert.deepEqual(await collect(tenant, now - 1), { seq: 1_000, period: now - 501, tree_size: 0 });
    assert.deepEqual(await collect(tenant, now - 1), { seq: 1_500, period: now - 1, tree_size: 0 });
  });

  it('refuses a period that is not over, one that is none, and a log that is not active', async () => {
    const now = await thisPeriod();
    const tenant = await db.createTenant({ firstPeriod: now - 5 });
    await assert.rejects(collect(tenant, now + 60), { code: 'KF004' });
    const hourly = await createProductDatabase({ periodSeconds: 3600 });
    try {
      const other = await hourly.createTenant();
      const client = await hourly.connect(hourly.urls.kiff_sealing);
      await assert.rejects(collect(other, other.firstPeriod - 3599, client), { code: 'KF003' });
      await assert.rejects(collect(other, other.firstPeriod, client), { code: 'KF004' });
    } finally {
      await hourly.drop();
    }
    const young = await db.createTenant({ activate: false });
    await assert.rejects(collect(young, now - 1), { code: 'KF005' });
    assert.deepEqual(await seals(tenant), []);
  });

  it('before the log’s first period there is nothing to cut', async () => {
    const now = await thisPeriod();
    const tenant = await db.createTenant({ firstPeriod: now });
    assert.equal(await collect(tenant, now - 10), undefined);
  });

  it('moves the head to the period’s end: nothing can be dated before it any more', async () => {
    const tenant = await db.createTenant();
    const writer = await db.connect(tenant.url);
    await accept(writer, tenant, ['a', 'b']);
    // The cut of a period that has only just ended; a slower clock may come after it (a failover).
    const cut = await collectWhenOver(tenant, await thisPeriod());
    assert.equal(cut.tree_size, 2);
    const end = new Date((cut.period + P) * 1000);
    const [head] = await db.sql<{ at: Date }>(`SELECT last_received_at AS at FROM ${tenant.role}.log_head`);
    assert.ok(head!.at >= end);
    await db.sql(
      `UPDATE ${tenant.role}.log_head SET last_received_at = greatest(last_received_at, clock_timestamp() + interval '3 seconds')`,
    );
    const [late] = await accept(writer, tenant, ['c']);
    assert.ok(late!.received_at >= end);
    assert.deepEqual(await wrongCuts(tenant), []);
  });

  it('lets no record of a writer that waited across the end fall before it (F45)', async () => {
    const tenant = await db.createTenant();
    const period = await thisPeriod();
    const holder = await db.connect(tenant.url);
    await holder.query('BEGIN');
    await accept(holder, tenant, ['rolled-back']);
    const writer = await db.connect(tenant.url);
    const waiting = accept(writer, tenant, ['waited']);
    for (;;) {
      if ((await databaseTime(sealing)) >= period + P) break;
    }
    await holder.query('ROLLBACK');
    const [row] = await waiting;
    assert.equal(row!.leaf_index, 0);
    assert.ok(row!.received_at >= new Date((period + P) * 1000));
    const cut = await collect(tenant, period);
    assert.equal(cut.tree_size, 0);
    assert.deepEqual(await wrongCuts(tenant), []);
  });

  it('holds under writers, rollbacks and cuts at once: every record in exactly one period', async function () {
    this.timeout(60_000);
    const tenant = await db.createTenant();
    const first = await thisPeriod();
    const stop = new AbortController();
    const writers = [0, 1, 2].map(async (w) => {
      const writer = await db.connect(tenant.url);
      for (let turn = 0; !stop.signal.aborted; turn++) {
        await writer.query('BEGIN');
        await accept(writer, tenant, [`w${w}-${turn}`, `w${w}-${turn}-b`]);
        await writer.query(turn % 7 === 3 ? 'ROLLBACK' : 'COMMIT');
      }
    });
    const read: Cut[] = [];
    try {
      for (let period = first; period < first + 4; period += P) read.push(await collectWhenOver(tenant, period));
    } finally {
      stop.abort();
      await Promise.all(writers);
    }
    await collectWhenOver(tenant, await thisPeriod());

    assert.deepEqual(await wrongCuts(tenant), []);
    const all = await seals(tenant);
    for (const cut of read) assert.deepEqual(all[cut.seq - 1], cut);
    assert.deepEqual(
      all.map(({ seq, period }) => [seq, period]),
      all.map((_, at) => [at + 1, tenant.firstPeriod + at * P]),
    );
    const [head] = await db.sql<{ size: number; records: number }>(
      `SELECT size, (SELECT count(*) FROM ${tenant.role}.records) AS records FROM ${tenant.role}.log_head`,
    );
    assert.equal(all.at(-1)!.tree_size, head!.size);
    assert.equal(head!.size, head!.records);
    assert.ok(head!.size > 0);
  });
});
