import assert from 'node:assert/strict';
import type pg from 'pg';
import { commit, encodeEntry, leafHash } from '../../protocol/entry.ts';
import { fromHex, toHex } from '../../protocol/hex.ts';
import { recordText } from '../api/ingest-api.ts';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { accept } from './batch.ts';

interface StoredRow {
  leaf_index: number;
  id: string;
  received_at: Date;
  entry: Buffer;
  leaf_hash: Buffer;
  salt: Buffer;
  body: Buffer;
}

describe('accept()', () => {
  let db: ProductDatabase;
  let tenant: TestTenant;
  let client: pg.Client;

  before(async function () {
    this.timeout(60_000);
    db = await createProductDatabase();
  });
  beforeEach(async () => {
    tenant = await db.createTenant();
    client = await db.connect(tenant.url);
  });
  after(() => db.drop());

  const stored = (): Promise<StoredRow[]> =>
    db.sql<StoredRow>(
      `SELECT * FROM ${tenant.role}.records JOIN ${tenant.role}.bodies USING (leaf_index) ORDER BY leaf_index`,
    );
  const headSize = async (): Promise<number> =>
    (await db.sql<{ size: number }>(`SELECT size FROM ${tenant.role}.log_head`))[0]!.size;

  it('builds the entries and leaf hashes that protocol/ defines', async () => {
    const rows = await accept(client, tenant, ['a.b_c:d-1', 'b'], 'kabc');
    const records = await stored();
    assert.equal(records.length, 2);
    for (const [at, record] of records.entries()) {
      const entry = encodeEntry({
        id: record.id,
        receivedAt: record.received_at.toISOString(),
        key: 'kabc',
        commitment: Buffer.from(commit(record.salt, record.body)).toString('hex'),
      });
      assert.deepEqual(record.entry, Buffer.from(entry));
      assert.equal(toHex(record.leaf_hash), leafHash(entry));
      assert.deepEqual(rows[at], {
        outcome: 'accepted',
        leaf_index: at,
        leaf_hash: record.leaf_hash,
        received_at: record.received_at,
      });
    }
  });

  it('tells duplicates, conflicts and erased ones apart, within a batch and across', async () => {
    const outcomes = async (...records: string[]): Promise<[string, number][]> =>
      (await accept(client, tenant, records)).map((row) => [row.outcome, row.leaf_index]);
    const other = recordText('a', { message: 'other' });
    assert.deepEqual(await outcomes('a', 'b', 'a', other), [
      ['accepted', 0],
      ['accepted', 1],
      ['duplicate', 0],
      ['conflict', 0],
    ]);
    assert.deepEqual(await outcomes('b', 'c', other, 'a'), [
      ['duplicate', 1],
      ['accepted', 2],
      ['conflict', 0],
      ['duplicate', 0],
    ]);
    await db.sql(`DELETE FROM ${tenant.role}.bodies WHERE leaf_index = 1`);
    assert.deepEqual(await outcomes('b', recordText('b', { message: 'x' }), 'd'), [
      ['erased', 1],
      ['erased', 1],
      ['accepted', 3],
    ]);
    assert.equal(await headSize(), 4);
  });

  it('moves nothing when nothing is new; of a duplicate there is only a count', async () => {
    await accept(client, tenant, ['a']);
    const head = async () => (await db.sql(`SELECT xmin::text, * FROM ${tenant.role}.log_head`))[0]!;
    const before = await head();
    await accept(client, tenant, [recordText('a', { message: 'other' })]);
    await accept(client, tenant, []);
    assert.deepEqual(await head(), before);
    await accept(client, tenant, ['a']);
    const { xmin, ...after } = await head();
    assert.deepEqual({ ...after, xmin: before['xmin'], hour_duplicates: 0 }, before);
    assert.notEqual(xmin, before['xmin']);
  });

  it('gives gapless indexes in order of time to many writers, some of whom roll back (F9)', async function () {
    this.timeout(60_000);
    const writers = await Promise.all(Array.from({ length: 6 }, () => db.connect(tenant.url)));
    let rolledBack = 0;
    await Promise.all(
      writers.map(async (writer, w) => {
        for (let turn = 0; turn < 25; turn++) {
          await writer.query('BEGIN');
          await accept(
            writer,
            tenant,
            Array.from({ length: 1 + (turn % 4) }, (_, at) => `w${w}-${turn}-${at}`),
          );
          const back = (turn + w) % 5 === 0;
          if (back) rolledBack++;
          await writer.query(back ? 'ROLLBACK' : 'COMMIT');
        }
      }),
    );
    assert.ok(rolledBack > 0);
    const records = await stored();
    assert.deepEqual(
      records.map((record) => record.leaf_index),
      records.map((_, at) => at),
    );
    for (const [at, record] of records.entries()) {
      if (at > 0) assert.ok(record.received_at >= records[at - 1]!.received_at);
    }
    assert.equal(await headSize(), records.length);
  });

  it('reads the clock after it has the head: a writer that waited is not dated before its wait ended', async () => {
    const holder = await db.connect(db.superuserUrl);
    await holder.query('BEGIN');
    await holder.query(`SELECT FROM ${tenant.role}.log_head FOR UPDATE`);
    const waiting = accept(client, tenant, ['waited']);
    for (;;) {
      const blocked = await db.sql(`SELECT FROM pg_stat_activity WHERE usename = $1 AND wait_event_type = 'Lock'`, [
        tenant.role,
      ]);
      if (blocked.length > 0) break;
    }
    const [released] = (await holder.query<{ at: Date }>('SELECT clock_timestamp()::timestamptz(3) AS at')).rows;
    await holder.query('COMMIT');
    assert.ok((await waiting)[0]!.received_at >= released!.at);
  });

  it('never goes back in time: a head up to 5 s ahead of the clock is kept, one further ahead is refused', async () => {
    const ahead = async (interval: string): Promise<Date> => {
      const [row] = await db.sql<{ at: Date }>(
        `UPDATE ${tenant.role}.log_head SET last_received_at = clock_timestamp() + $1::interval RETURNING last_received_at AS at`,
        [interval],
      );
      return row!.at;
    };
    const near = await ahead('4 seconds');
    assert.deepEqual((await accept(client, tenant, ['a']))[0]!.received_at, near);
    await ahead('6 seconds');
    await assert.rejects(accept(client, tenant, ['b']), { code: 'KF002' });
    assert.equal(await headSize(), 1);
  });

  it('refuses batches of a wrong shape, and key ids that would not be JSON', async () => {
    const bytes = Buffer.alloc(32);
    const refused = async (count: number, idCount: number, key: string): Promise<void> => {
      const ids = Array.from({ length: idCount }, (_, at) => `i${at}`);
      const bodies = Array.from({ length: count }, () => bytes);
      const call = client.query(`SELECT * FROM ${tenant.role}.accept($1, $2, $3, $2, $2, $4)`, [
        ids,
        bodies,
        bodies.map(() => 1),
        key,
      ]);
      await assert.rejects(call, { code: 'KF001' });
    };
    await refused(1, 2, 'k');
    await refused(2, 1, 'k');
    await refused(1_001, 1_001, 'k');
    for (const key of ['', 'K', 'a"b', 'a'.repeat(65)]) await refused(1, 1, key);
    assert.equal(await headSize(), 0);
  });

  it('the tables refuse what accept() would never write', async () => {
    const row = (index: number, id: string, hash: Buffer): Promise<unknown> =>
      db.sql(`INSERT INTO ${tenant.role}.records VALUES ($1, $2, now(), 'entry', $3)`, [index, id, hash]);
    const right = Buffer.from(fromHex(leafHash('entry')));
    const wrong = Buffer.from(right);
    wrong[0]! ^= 1;
    await assert.rejects(row(0, 'a', wrong), { code: '23514', constraint: 'leaf_hash_of_entry' });
    for (const id of ['', 'a b', `a'"`, 'a\n', '\na', 'é', 'a'.repeat(129)]) {
      await assert.rejects(row(0, id, right), { code: '23514', constraint: 'records_id_check' }, id);
    }
    await assert.rejects(row(-1, 'a', right), { code: '23514' });
    await row(0, 'a', right); // control
    await row(7, 'Az09._:-'.repeat(16), right);
    await assert.rejects(row(1, 'a', right), { code: '23505' });
    await assert.rejects(row(0, 'b', right), { code: '23505' });
    await assert.rejects(db.sql(`INSERT INTO ${tenant.role}.bodies VALUES (0, '\\x00', '\\x0001', 1)`), {
      code: '23514',
    });
  });
});
