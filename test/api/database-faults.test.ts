/** The database goes away under the API: crashes during ingest (row F6 of the fault table), and turns read-only (F8). */
import assert from 'node:assert/strict';
import { renameSync, symlinkSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { databaseFailure } from '../../activities/database.ts';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { durableCluster, type TestCluster } from '../durable-cluster.ts';
import { databaseTime } from '../sql/batch.ts';
import { logFaults } from '../sql/log-faults.ts';
import { assertProblem, recordText, startIngestApi, type Answer, type IngestApi } from './ingest-api.ts';

describe('ingest while the database is away', function () {
  this.timeout(60_000);
  let cluster: TestCluster;
  let db: ProductDatabase;
  let api: IngestApi;
  let tenant: TestTenant;

  before(async () => {
    cluster = await durableCluster();
    db = await createProductDatabase({ superuserUrl: cluster.superuserUrl, periodSeconds: 1 });
    api = await startIngestApi(db);
    tenant = await db.createTenant();
    // The writers here know no moderation.
    await db.sql('UPDATE kiff.tenants SET requests_per_second = NULL');
    await db.sql('UPDATE kiff.api_keys SET requests_per_second = NULL');
  });
  after(async () => {
    await api.stop();
    await cluster.remove();
  });

  it('a crash of the server: 503 with Retry-After, nothing that was acknowledged is lost, and it recovers by itself (F6)', async () => {
    const acknowledged = new Map<string, number>();
    const refused: Answer[] = [];
    const progress = { answered: 0 };
    const stop = new AbortController();
    const writers = Array.from({ length: 8 }, async (_, w) => {
      for (let turn = 0; !stop.signal.aborted; turn++) {
        const ids = Array.from({ length: 1 + (turn % 3) }, (__, at) => `w${w}-${turn}-${at}`);
        for (;;) {
          const answer = await api.postLines(tenant.apiKey, ids.map((id) => recordText(id)).join('\n'));
          if (answer.status === 200) {
            for (const line of answer.json as { id: string; leafIndex: number }[]) {
              acknowledged.set(line.id, line.leafIndex);
            }
            progress.answered++;
            break;
          }
          refused.push(answer);
          await delay(20);
        }
      }
    });
    const untilAnswered = async (more: number): Promise<void> => {
      const goal = progress.answered + more;
      while (progress.answered < goal) await Promise.race([delay(5), Promise.all(writers)]);
    };

    try {
      for (let crash = 0; crash < 3; crash++) {
        await untilAnswered(100);
        await cluster.restart({ mode: 'immediate' });
        const back = performance.now();
        await untilAnswered(1);
        assert.ok(performance.now() - back < 10_000, 'it recovers within 10 s');
      }
      await untilAnswered(100);
    } finally {
      stop.abort();
    }
    await Promise.all(writers);

    assert.ok(refused.length > 0, 'control: the crashes were felt');
    for (const answer of refused) assertAway(answer);
    const client = await db.connect(db.superuserUrl);
    const { rows } = await client.query<{ id: string; leaf_index: number }>(
      `SELECT id, leaf_index FROM ${tenant.role}.records`,
    );
    const stored = new Map(rows.map(({ id, leaf_index: index }) => [id, index]));
    for (const [id, index] of acknowledged) assert.equal(stored.get(id), index, id);
    assert.deepEqual(await logFaults(client, tenant, 1), []);
    await client.end();
  });

  it('a read-only database: 503, no acknowledgement, no cut, an error in the log; reads go on (F8)', async () => {
    const superuser = await db.connect(cluster.superuserUrl);
    const owner = await db.connect(db.superuserUrl);
    const state = async (): Promise<unknown[]> =>
      (
        await owner.query(
          `SELECT h.size, (SELECT count(*) FROM ${tenant.role}.records) AS records,
                  (SELECT count(*) FROM ${tenant.role}.seals) AS seals FROM ${tenant.role}.log_head h`,
        )
      ).rows;
    assert.equal((await api.post(tenant.apiKey, recordText('before'))).status, 201);
    const [{ size: sizeBefore } = { size: 0 }] = (await state()) as { size: number }[];
    const sealing = await db.connect(db.urls.kiff_sealing);
    const cut = () => sealing.query(`SELECT * FROM ${tenant.role}.collect($1)`, [tenant.firstPeriod]);
    const readOnly = async (value: 'on' | 'off'): Promise<void> => {
      await superuser.query(`ALTER SYSTEM SET default_transaction_read_only = ${value}`);
      await superuser.query('SELECT pg_reload_conf()');
      for (;;) {
        const { rows } = await sealing.query<{ value: string }>(
          `SELECT current_setting('default_transaction_read_only') AS value`,
        );
        if (rows[0]!.value === value) return;
        await delay(10);
      }
    };

    await readOnly('on');
    try {
      // Each connection learns of it by itself, the API's perhaps a moment later.
      let answer: Answer;
      let id = 0;
      do answer = await api.post(tenant.apiKey, recordText(`perhaps-${id++}`));
      while (answer.status === 201);
      assertAway(answer);
      const before = await state();
      assert.equal((before[0] as { size: number }).size, sizeBefore + id - 1, 'the last one was not stored');
      const batch = await api.postLines(tenant.apiKey, [recordText('refused-a'), recordText('refused-b')].join('\n'));
      assertAway(batch);
      assert.match(api.logged(), new RegExp(`"level":50.*"requestId":"${batch.json.requestId}".*"code":"25006"`));
      await assert.rejects(cut(), (error) => databaseFailure(error)?.type === 'database-refuses-writes');
      assert.deepEqual(await state(), before);
      assert.equal((await api.get('/v1/records/before', tenant.apiKey)).status, 200);
    } finally {
      await readOnly('off');
    }
    let again: Answer;
    do again = await api.post(tenant.apiKey, recordText('refused-a'));
    while (again.status === 503);
    assert.equal(again.status, 201, 'it was not stored before');
    assert.equal((await cut()).rows.length, 1);
    assert.deepEqual(await logFaults(owner, tenant, 1), []);
  });

  it('a full disk: 503, no acknowledgement, no cut, an error in the log; reads go on, and all is taken once there is room (F8)', async () => {
    const full = await db.createTenant();
    const superuser = await db.connect(db.superuserUrl);
    const { rows } = await superuser.query<{ folder: string; table: string; path: string }>(
      `SELECT current_setting('data_directory') AS folder, t.name AS table, pg_relation_filepath($1 || '.' || t.name) AS path
         FROM unnest(ARRAY['bodies', 'seals']) AS t (name)`,
      [full.role],
    );
    // These tables are empty, and every byte that is written to them meets a device that is full.
    await superuser.query('CHECKPOINT');
    const files = rows.map(({ folder, path }) => join(folder, path));
    for (const file of files) {
      renameSync(file, `${file}.kept`);
      symlinkSync('/dev/full', file);
    }
    const sealing = await db.connect(db.urls.kiff_sealing);
    const cut = () => sealing.query(`SELECT * FROM ${full.role}.collect($1)`, [full.firstPeriod]);
    try {
      const answer = await api.post(full.apiKey, recordText('full'));
      assertAway(answer);
      assert.match(api.logged(), new RegExp(`"level":50.*"requestId":"${answer.json.requestId}".*"code":"53100"`));
      while ((await databaseTime(superuser)) < full.firstPeriod + 1) await delay(10);
      await assert.rejects(cut(), (error) => databaseFailure(error)?.type === 'database-refuses-writes');
      assert.equal((await api.get('/v1/records/full', full.apiKey)).status, 404);
      assert.equal((await api.post(tenant.apiKey, recordText('a-neighbour-with-room'))).status, 201, 'control');
    } finally {
      for (const file of files) {
        unlinkSync(file);
        renameSync(`${file}.kept`, file);
      }
      await cluster.restart({ mode: 'fast' }); // every server process lets go of the device
    }
    let again: Answer;
    do again = await api.post(full.apiKey, recordText('full'));
    while (again.status === 503);
    assert.deepEqual([again.status, again.json.leafIndex], [201, 0], 'nothing of it was stored before');
    const after = await db.connect(db.urls.kiff_sealing);
    await after.query(`SELECT * FROM ${full.role}.collect($1)`, [full.firstPeriod]);
    assert.deepEqual(await logFaults(await db.connect(db.superuserUrl), full, 1), []);
  });
});

function assertAway(answer: Answer): void {
  assertProblem(answer, 503, 'unavailable');
  assert.equal(answer.headers.get('retry-after'), '1');
}
