/** Row F48, the API's part: on a restored database it stays closed until a recovery has opened the database again. */
import assert from 'node:assert/strict';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { takeBackup } from '../backup.ts';
import { assertProblem, recordText, startIngestApi, type IngestApi } from './ingest-api.ts';

describe('the API on a restored database (F48)', function () {
  this.timeout(60_000);
  let db: ProductDatabase;
  let tenant: TestTenant;
  const apis: IngestApi[] = [];
  const start = async (incarnation: string): Promise<IngestApi> => {
    const api = await startIngestApi(db, { incarnation });
    apis.push(api);
    return api;
  };

  before(async () => {
    db = await createProductDatabase();
    tenant = await db.createTenant();
  });
  after(async () => {
    await Promise.all(apis.map((api) => api.stop()));
    await db.drop();
  });

  async function assertClosed(api: IngestApi): Promise<void> {
    for (const answer of [
      await api.post(tenant.apiKey, recordText('closed')),
      await api.postLines(tenant.apiKey, recordText('closed')),
      await api.get('/v1/records/before', tenant.apiKey),
      await api.get('/v1/seals', tenant.apiKey),
      await api.get('/readyz'),
    ]) {
      assertProblem(answer, 503, 'recovering');
      assert.equal(answer.headers.get('retry-after'), '60');
    }
    assert.equal((await api.get('/healthz')).status, 200);
    assert.deepEqual(await db.sql(`SELECT id FROM ${tenant.role}.records`), [{ id: 'before' }]);
  }

  const open = (name: string) => db.sql('INSERT INTO kiff.incarnations (name) VALUES ($1)', [name]);

  it('is closed under the new name that was configured, and under the old one that somebody forgot to change', async () => {
    const running = await start(db.incarnation);
    assert.equal((await running.post(tenant.apiKey, recordText('before'))).status, 201, 'control');
    const backup = await takeBackup(db);
    assert.equal((await running.post(tenant.apiKey, recordText('lost'))).status, 201, 'control: a copy closes nothing');

    await backup.restore();
    await assertClosed(running); // the process that was running all along
    await assertClosed(await start(db.incarnation)); // restarted, with its old configuration
    await assertClosed(await start('after-the-restore'));

    await open('after-the-restore');
    await assertClosed(await start(db.incarnation));
    const opened = await start('after-the-restore');
    assert.equal((await opened.post(tenant.apiKey, recordText('after'))).status, 201, 'control: it was the name');
    assert.equal((await opened.get('/readyz')).status, 200);
  });

  it('a name is never used twice, and a database that was never opened is nobody’s', async () => {
    await assert.rejects(open('after-the-restore'), { code: '23505' });
    await db.sql('DELETE FROM kiff.incarnations');
    assertProblem(await (await start('after-the-restore')).get('/readyz'), 503, 'recovering');
  });
});
