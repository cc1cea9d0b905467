import assert from 'node:assert/strict';
import type pg from 'pg';
import { usageHours, usageSums, type UsageCounters } from '../../api/ingest/usage.ts';
import { recordText } from '../api/ingest-api.ts';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { accept } from './batch.ts';
import { settableClock } from './settable-clock.ts';

const EVER = { from: new Date('2020-01-01T00:00:00Z'), to: new Date('2100-01-01T00:00:00Z') };
const DENIED = { code: '42501' };

const bytesOf = (...records: string[]): number =>
  records.reduce((sum, record) => sum + Buffer.byteLength(record.startsWith('{') ? record : recordText(record)), 0);

describe('usage, counted inside accept()', () => {
  let db: ProductDatabase;
  let tenant: TestTenant;
  let client: pg.Client;
  let setClock: (shift: string) => Promise<void>;

  before(async function () {
    this.timeout(60_000);
    db = await createProductDatabase();
    setClock = await settableClock(db);
  });
  beforeEach(async () => {
    await setClock('0');
    tenant = await db.createTenant();
    client = await db.connect(tenant.url);
  });
  after(() => db.drop());

  const sums = (reader = client): Promise<UsageCounters> => usageSums(reader, tenant.id, EVER);
  const exact = async (): Promise<Pick<UsageCounters, 'records' | 'bytes' | 'duplicates'>> => {
    const { records, bytes, duplicates } = await sums();
    return { records, bytes, duplicates };
  };
  it('counts records with their own bytes, and duplicates, of every kind of batch', async () => {
    assert.deepEqual(await exact(), { records: 0, bytes: 0, duplicates: 0 });
    const wide = recordText('wide', { message: 'é😀' });
    await accept(client, tenant, ['a', 'b', wide]);
    assert.deepEqual(await exact(), { records: 3, bytes: bytesOf('a', 'b', wide), duplicates: 0 });

    const mixed = ['a', 'c', 'c', recordText('b', { message: 'other' }), recordText('c', { message: 'other' }), 'd'];
    const outcomes = (await accept(client, tenant, mixed)).map(({ outcome }) => outcome);
    assert.deepEqual(outcomes, ['duplicate', 'accepted', 'duplicate', 'conflict', 'conflict', 'accepted']);
    assert.deepEqual(await exact(), { records: 5, bytes: bytesOf('a', 'b', wide, 'c', 'd'), duplicates: 2 });

    await accept(client, tenant, ['a', 'b']);
    assert.equal((await exact()).duplicates, 4, 'a batch of nothing but duplicates');
    const before = await exact();
    await accept(client, tenant, [recordText('a', { message: 'other' })]);
    await accept(client, tenant, []);
    await db.sql(`DELETE FROM ${tenant.role}.bodies WHERE leaf_index = 0`);
    assert.equal((await accept(client, tenant, ['a']))[0]?.outcome, 'erased');
    assert.deepEqual(await exact(), before, 'conflicts and erased ids are neither');
  });

  it('counts what is committed and nothing else', async () => {
    await client.query('BEGIN');
    await accept(client, tenant, ['a']);
    await client.query('ROLLBACK');
    await assert.rejects(accept(client, tenant, ['b'], 'no key id!'), { code: 'KF001' });
    assert.deepEqual(await exact(), { records: 0, bytes: 0, duplicates: 0 });
    const clients = await Promise.all(Array.from({ length: 4 }, () => db.connect(tenant.url)));
    await Promise.all(
      clients.map(async (each, at) => {
        for (let batch = 0; batch < 10; batch++) await accept(each, tenant, [`${at}-${batch}`, 'shared']);
      }),
    );
    const { records, duplicates } = await exact();
    assert.deepEqual({ records, duplicates }, { records: 41, duplicates: 39 });
    const [head] = await db.sql<{ size: number }>(`SELECT size FROM ${tenant.role}.log_head`);
    assert.equal(head?.size, 41);
  });

  it('an hour’s counts are put away when the next one begins, each hour once', async () => {
    await accept(client, tenant, ['a', 'b']);
    await setClock('1 hour');
    await accept(client, tenant, ['a']);
    await setClock('3 hours');
    await accept(client, tenant, ['c']);
    await accept(client, tenant, ['c']);
    const hours = await usageHours(client, tenant.id, { ...EVER, limit: 10 });
    assert.deepEqual(
      hours.map(({ records, duplicates }) => [records, duplicates]),
      [
        [2, 0],
        [0, 1],
        [1, 1],
      ],
    );
    const [first, second, third] = hours.map(({ hour }) => hour.getTime() / 3_600_000);
    assert.deepEqual([second! - first!, third! - second!], [1, 2]);
    const kept = await db.sql('SELECT FROM kiff.usage WHERE tenant = $1', [tenant.id]);
    assert.equal(kept.length, 2, 'the running hour stands in the head');
    assert.deepEqual(
      await usageHours(client, tenant.id, {
        from: hours[1]!.hour,
        to: hours[2]!.hour,
        limit: 10,
      }),
      [hours[1]],
    );
  });

  it('what API processes count is added, also to hours that are over; a tenant sees and changes its own alone', async () => {
    const other = await db.createTenant();
    await accept(client, tenant, ['a']);
    await client.query(`SELECT kiff.note_usage(clock_timestamp(), 3, 1)`);
    await client.query(`SELECT kiff.note_usage(clock_timestamp() - interval '2 hours', 4, 0)`);
    await client.query(`SELECT kiff.note_usage(clock_timestamp(), 1, 1)`);
    const { records, rejectedRequests, receiptsRead } = await sums();
    assert.deepEqual([records, rejectedRequests, receiptsRead], [1, 8, 2]);
    const stranger = await db.connect(other.url);
    assert.deepEqual((await stranger.query('SELECT FROM kiff.usage')).rowCount, 0);
    for (const statement of [
      `UPDATE kiff.usage SET records = 0`,
      `INSERT INTO kiff.usage (tenant, hour) VALUES ('${other.id}', '2026-01-01T00:00:00Z')`,
      `UPDATE ${other.role}.log_head SET hour_records = 0`,
    ]) {
      await assert.rejects(stranger.query(statement), DENIED, statement);
    }
    for (const url of [db.urls.kiff_api, other.custodyUrl]) {
      const login = await db.connect(url);
      await assert.rejects(login.query(`SELECT kiff.note_usage(now(), 1, 1)`), DENIED);
      await assert.rejects(login.query(`SELECT FROM kiff.usage`), DENIED);
    }
  });
});
