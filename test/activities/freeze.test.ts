/**
 * Rows F33 and F34, and what a freeze is: stored data that was changed is found before anything is signed, named by its
 * index, and the log stays frozen for everybody but an operator.
 */
import assert from 'node:assert/strict';
import { freezeLog } from '../../activities/log/freeze.ts';
import { createPool } from '../../activities/database.ts';
import { END_REASONS } from '../../protocol/ending.ts';
import type { TestTenant } from '../product-database.ts';
import { recordText, startIngestApi } from '../api/ingest-api.ts';
import { createPlane, failsAs, type Plane } from './plane.ts';

const schema = (tenant: TestTenant): string => `kiff_t_${tenant.id}`;

interface Grown {
  tenant: TestTenant;
  /** The last seal that is signed, over 3 records. */
  sealed: number;
  /** The first seal over all 6 records, and the newest one: collected only. */
  covering: number;
  seq: number;
}

describe('a frozen log', function () {
  this.timeout(60_000);
  let plane: Plane;

  before(async () => {
    plane = await createPlane();
  });
  after(() => plane.stop());
  beforeEach(() => plane.alerts());

  /** A tenant with a signed seal over three records, and three more records collected for the next. */
  async function grow(tenant: TestTenant): Promise<Grown> {
    await plane.post(tenant, 3);
    const first = await plane.collect(tenant);
    await sealAll(tenant, first);
    await plane.post(tenant, 3);
    const seq = await plane.collect(tenant);
    const [row] = await plane.database.sql<{ covering: number }>(
      `SELECT min(seq) AS covering FROM ${schema(tenant)}.seals WHERE tree_size = 6`,
    );
    return { tenant, sealed: first, covering: row!.covering, seq };
  }

  /** So many of them: they wait for the ends of their periods together, but are registered one after the other. */
  async function grown(count: number): Promise<Grown[]> {
    const tenants: TestTenant[] = [];
    while (tenants.length < count) tenants.push(await plane.tenant());
    return Promise.all(tenants.map(grow));
  }

  /** The newest period that is over. */
  async function periodBefore(): Promise<number> {
    const [now] = await plane.database.sql<{ period: number }>(
      'SELECT floor(extract(epoch FROM clock_timestamp()))::bigint - 1 AS period',
    );
    return now!.period;
  }

  async function sealAll(tenant: TestTenant, throughSeq: number): Promise<void> {
    await plane.log.hashSeals({ tenantId: tenant.id, throughSeq });
    const seqs = await plane.log.unsignedSeals({ tenantId: tenant.id, throughSeq });
    await plane.signing.signSeals({ tenantId: tenant.id, seqs });
  }

  /** Runs SQL as somebody who is past every guard of the product database. */
  async function tamper(tenant: TestTenant, table: string, sql: string): Promise<void> {
    await plane.database.sql(`ALTER TABLE ${schema(tenant)}.${table} DISABLE TRIGGER ALL`);
    await plane.database.sql(sql.replaceAll('{schema}', schema(tenant)));
  }

  const FOUND: [row: string, table: string, sql: string, type: string, facts: (log: Grown) => object][] = [
    [
      'F33: a record altered by a superuser',
      'records',
      `ALTER TABLE {schema}.records DROP CONSTRAINT leaf_hash_of_entry;
       UPDATE {schema}.records SET entry = convert_to(replace(convert_from(entry, 'UTF8'), '"key":"k', '"key":"x'), 'UTF8')
        WHERE leaf_index = 4`,
      'record-altered',
      () => ({ index: 4 }),
    ],
    [
      'a leaf hash altered by a superuser',
      'records',
      `ALTER TABLE {schema}.records DROP CONSTRAINT leaf_hash_of_entry;
       UPDATE {schema}.records SET leaf_hash = sha256('something else') WHERE leaf_index = 5`,
      'record-altered',
      () => ({ index: 5 }),
    ],
    [
      'F34: a record deleted by a superuser',
      'records',
      'DELETE FROM {schema}.records WHERE leaf_index = 4',
      'record-missing',
      () => ({ index: 4 }),
    ],
    [
      'the last record deleted by a superuser',
      'records',
      'DELETE FROM {schema}.records WHERE leaf_index = 5',
      'record-missing',
      () => ({ index: 5 }),
    ],
    [
      'a seal’s cut altered by a superuser',
      'seals',
      'UPDATE {schema}.seals SET tree_size = tree_size - 1 WHERE tree_size = 6',
      'seal-altered',
      ({ covering }) => ({ seq: covering }),
    ],
    [
      'a tile altered by a superuser',
      'tiles',
      `UPDATE {schema}.tiles SET hashes = set_byte(hashes, 40, get_byte(hashes, 40) # 1) WHERE level = 0 AND index = 0`,
      'tile-altered',
      () => ({ level: 0, index: 0 }),
    ],
  ];

  let spoilt: Grown[];
  before(async () => {
    spoilt = await grown(FOUND.length);
  });

  for (const [at, [row, table, sql, type, facts]] of FOUND.entries()) {
    it(`${row}: nothing is signed, the alert says where, the log stays frozen`, async () => {
      const log = spoilt[at]!;
      const { tenant, seq } = log;
      await tamper(tenant, table, sql);
      await assert.rejects(plane.log.hashSeals({ tenantId: tenant.id, throughSeq: seq }), failsAs(type));
      const [alert, ...more] = plane.alerts();
      assert.equal(more.length, 0, 'one alert');
      assert.equal(alert?.name, type);
      assert.deepEqual(alert.fields, { ...facts(log), tenantId: tenant.id });
      assert.equal(await plane.frozen(tenant), type);

      await assert.rejects(plane.log.hashSeals({ tenantId: tenant.id, throughSeq: seq }), failsAs('log-frozen'));
      await assert.rejects(plane.signing.signSeals({ tenantId: tenant.id, seqs: [seq] }), failsAs('log-frozen'));
      assert.deepEqual(plane.alerts(), [], 'the alert is not repeated');
      // Collecting goes on: it fixes what belongs to which period, and promises nothing.
      assert.ok((await plane.log.collect({ tenantId: tenant.id, period: await periodBefore() }))!.seq >= seq);
    });
  }

  it('a seal’s cut moved past a record of the next period: found as well', async () => {
    const [{ tenant, covering, seq }] = (await grown(1)) as [Grown];
    await plane.post(tenant, 1);
    await tamper(tenant, 'seals', `UPDATE {schema}.seals SET tree_size = 7 WHERE tree_size = 6`);
    await assert.rejects(plane.log.hashSeals({ tenantId: tenant.id, throughSeq: seq }), failsAs('seal-altered'));
    assert.deepEqual(
      plane.alerts().map(({ fields }) => fields),
      [{ seq: covering, tenantId: tenant.id }],
    );
  });

  it('control: the same log untouched is hashed, signed and anchored', async () => {
    const [{ tenant, seq }] = (await grown(1)) as [Grown];
    await sealAll(tenant, seq);
    await plane.anchorAll();
    assert.deepEqual([await plane.level(tenant, seq), await plane.frozen(tenant)], ['final', null]);
  });

  it('is not anchored, though its seals are signed; a neighbour’s are', async () => {
    const [{ tenant, seq }, neighbour] = (await grown(2)) as [Grown, Grown];
    await sealAll(tenant, seq);
    await sealAll(neighbour.tenant, neighbour.seq);
    const pool = createPool(plane.database.urls.kiff_anchoring, 1);
    await freezeLog({ pool, alert: () => undefined }, tenant.id, 'chain-differs');
    await pool.end();
    await plane.anchorAll();
    const level = (of: Pick<Grown, 'tenant' | 'seq'>) => plane.level(of.tenant, of.seq);
    assert.deepEqual([await level({ tenant, seq }), await level(neighbour)], ['sealed', 'final']);
    await plane.unfreeze(tenant);
    await plane.anchorAll();
    assert.equal(await level({ tenant, seq }), 'final', 'control: it was the freeze');
  });

  it('takes no records, since every acceptance carries a promise; reading goes on', async () => {
    const tenant = await plane.database.createTenant();
    let time = Date.now();
    const api = await startIngestApi(plane.database, { now: () => time });
    try {
      const post = (id: string) => api.post(tenant.apiKey, recordText(id));
      assert.equal((await post('before')).status, 201);
      await plane.database.sql(`SELECT kiff.freeze_log($1, 'record-altered')`, [tenant.id]);
      time += 5_000; // the time by which every process knows
      const refused = await post('frozen');
      assert.deepEqual([refused.status, refused.json.type], [503, 'https://kiff.dev/problems/log-frozen']);
      assert.equal(refused.headers.get('retry-after'), '60');
      assert.equal((await api.get('/v1/records/before', tenant.apiKey)).status, 200);
      await plane.unfreeze(tenant);
      time += 5_000;
      assert.equal((await post('frozen')).status, 201, 'control');
    } finally {
      await api.stop();
    }
  });

  it('is frozen by any worker’s login, by one fixed reason, the first; unfrozen by none', async () => {
    const tenant = await plane.database.createTenant();
    for (const login of ['kiff_sealing', 'kiff_signing', 'kiff_anchoring'] as const) {
      const client = await plane.database.connect(plane.database.urls[login]);
      await client.query(`SELECT kiff.freeze_log($1, 'chain-ahead')`, [tenant.id]);
      await assert.rejects(client.query('UPDATE kiff.logs SET frozen_reason = NULL'), { code: '42501' });
      await client.end();
    }
    const freeze = (reason: string) => plane.database.sql('SELECT kiff.freeze_log($1, $2)', [tenant.id, reason]);
    await freeze('record-missing');
    assert.equal(await plane.frozen(tenant), 'chain-ahead');
    await assert.rejects(plane.database.sql(`SELECT kiff.freeze_log('nobody', 'chain-ahead')`), { code: 'KF021' });
    const api = await plane.database.connect(plane.database.urls.kiff_api);
    await assert.rejects(api.query(`SELECT kiff.freeze_log('x', 'chain-ahead')`), { code: '42501' });
    await plane.unfreeze(tenant);
    for (const reason of END_REASONS) {
      await freeze(reason);
      await plane.unfreeze(tenant);
    }
    await assert.rejects(freeze('a-reason-of-its-own'), { code: '23514' });
  });
});
