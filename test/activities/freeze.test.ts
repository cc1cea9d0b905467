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

describe('a frozen log', function () {
  this.timeout(60_000);
  let plane: Plane;

  before(async () => {
    plane = await createPlane();
  });
  after(() => plane.stop());
  beforeEach(() => plane.alerts());

  /** A tenant with one anchored seal over three records, and three more records collected for the next. */
  async function grown(): Promise<{ tenant: TestTenant; seq: number }> {
    const tenant = await plane.tenant();
    await plane.post(tenant, 3);
    const first = await plane.collect(tenant);
    await sealAll(tenant, first);
    await plane.anchorAll();
    await plane.post(tenant, 3);
    return { tenant, seq: await plane.collect(tenant) };
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

  const FOUND: [row: string, table: string, sql: string, type: string, facts: object][] = [
    [
      'F33: a record altered by a superuser',
      'records',
      `ALTER TABLE {schema}.records DROP CONSTRAINT leaf_hash_of_entry;
       UPDATE {schema}.records SET entry = convert_to(replace(convert_from(entry, 'UTF8'), '"key":"k', '"key":"x'), 'UTF8')
        WHERE leaf_index = 4`,
      'record-altered',
      { index: 4 },
    ],
    [
      'a leaf hash altered by a superuser',
      'records',
      `ALTER TABLE {schema}.records DROP CONSTRAINT leaf_hash_of_entry;
       UPDATE {schema}.records SET leaf_hash = sha256('something else') WHERE leaf_index = 5`,
      'record-altered',
      { index: 5 },
    ],
    [
      'F34: a record deleted by a superuser',
      'records',
      'DELETE FROM {schema}.records WHERE leaf_index = 4',
      'record-missing',
      { index: 4 },
    ],
    [
      'the last record deleted by a superuser',
      'records',
      'DELETE FROM {schema}.records WHERE leaf_index = 5',
      'record-missing',
      { index: 5 },
    ],
    [
      'a tile altered by a superuser',
      'tiles',
      `UPDATE {schema}.tiles SET hashes = set_byte(hashes, 40, get_byte(hashes, 40) # 1) WHERE level = 0 AND index = 0`,
      'tile-altered',
      { level: 0, index: 0 },
    ],
  ];

  for (const [row, table, sql, type, facts] of FOUND) {
    it(`${row}: nothing is signed, the alert says where, the log stays frozen`, async () => {
      const { tenant, seq } = await grown();
      await tamper(tenant, table, sql);
      await assert.rejects(plane.log.hashSeals({ tenantId: tenant.id, throughSeq: seq }), failsAs(type));
      const [alert, ...more] = plane.alerts();
      assert.equal(more.length, 0, 'one alert');
      assert.equal(alert?.name, type);
      assert.deepEqual(alert.fields, { ...facts, tenantId: tenant.id });
      assert.equal(await plane.frozen(tenant), type);

      await assert.rejects(plane.log.hashSeals({ tenantId: tenant.id, throughSeq: seq }), failsAs('log-frozen'));
      await assert.rejects(plane.signing.signSeals({ tenantId: tenant.id, seqs: [seq] }), failsAs('log-frozen'));
      assert.deepEqual(plane.alerts(), [], 'the alert is not repeated');
      await plane.collect(tenant); // collecting goes on: it fixes what belongs to which period, and promises nothing
    });
  }

  it('control: the same log untouched is hashed, signed and anchored', async () => {
    const { tenant, seq } = await grown();
    await sealAll(tenant, seq);
    await plane.anchorAll();
    const { level } = await plane.log.sealStanding({ tenantId: tenant.id, seq });
    assert.deepEqual([level, await plane.frozen(tenant)], ['final', null]);
  });

  it('is not anchored, though its seals are signed; a neighbour’s are', async () => {
    const [{ tenant, seq }, neighbour] = [await grown(), await grown()];
    await sealAll(tenant, seq);
    await sealAll(neighbour.tenant, neighbour.seq);
    const pool = createPool(plane.database.urls.kiff_anchoring, 1);
    await freezeLog({ pool, alert: () => undefined }, tenant.id, 'chain-differs');
    await pool.end();
    await plane.anchorAll();
    const level = async (of: typeof neighbour) =>
      (await plane.log.sealStanding({ tenantId: of.tenant.id, seq: of.seq })).level;
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
