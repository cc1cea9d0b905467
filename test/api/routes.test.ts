import assert from 'node:assert/strict';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { assertProblem, recordText, startIngestApi, type IngestApi } from './ingest-api.ts';

describe('routes that read', () => {
  let db: ProductDatabase;
  let api: IngestApi;
  let tenant: TestTenant;

  before(async function () {
    this.timeout(60_000);
    db = await createProductDatabase();
    api = await startIngestApi(db);
    tenant = await db.createTenant();
    await api.post(tenant.apiKey, recordText('a'));
  });
  after(async () => {
    await api.stop();
    await db.drop();
  });

  it('answers the record with its level and its place', async () => {
    const { status, json } = await api.get('/v1/records/a', tenant.apiKey);
    assert.equal(status, 200);
    const { leafHash, receivedAt, entry, sealBy, ...rest } = json;
    assert.deepEqual(rest, {
      id: 'a',
      origin: tenant.origin,
      level: 'accepted',
      leafIndex: 0,
      key: tenant.keyId,
      record: JSON.parse(recordText('a')) as unknown,
    });
    assert.match(leafHash, /^0x[0-9a-f]{64}$/);
    assert.equal(JSON.parse(entry).received_at, receivedAt);
    assert.equal(typeof sealBy, 'number');
  });

  it('and its receipt: unknown ids are not found, ids that cannot be are refused (B17)', async () => {
    for (const end of ['', '/receipt']) {
      assert.equal((await api.get(`/v1/records/unknown${end}`, tenant.apiKey)).status, 404);
      for (const id of ['a%20b', 'a%2Fb', '%00', 'x'.repeat(129), "'%20OR%201=1--", '%F0%9F%98%80']) {
        const { status, json } = await api.get(`/v1/records/${id}${end}`, tenant.apiKey);
        assert.deepEqual([id, status, json.type], [id, 422, 'https://kiff.dev/problems/invalid-parameter']);
      }
    }
  });

  it('an unsealed record has no receipt yet: 202 with its level and by when', async () => {
    const { status, json } = await api.get('/v1/records/a/receipt', tenant.apiKey);
    assert.equal(status, 202);
    const { sealBy } = (await api.get('/v1/records/a', tenant.apiKey)).json;
    assert.deepEqual(json, { id: 'a', level: 'accepted', sealBy });
  });

  it('seals: none yet; seqs that cannot be are refused, unsealed and huge ones not found (B17)', async () => {
    assert.deepEqual((await api.get('/v1/seals', tenant.apiKey)).json, { seals: [], signing: null, next: null });
    const expected = { '0': 422, '-1': 422, '1.5': 422, x: 422, '01': 422, '1e3': 422, '1': 404, '16777216': 404 };
    for (const [seq, status] of Object.entries({ ...expected, ['9'.repeat(40)]: 404, ['9'.repeat(41)]: 422 })) {
      assert.equal((await api.get(`/v1/seals/${seq}`, tenant.apiKey)).status, status, seq);
    }
    for (const query of ['after=-1', 'after=x', 'limit=0', 'limit=1001', 'limit=', 'after=1&after=2', 'limit[]=1']) {
      const { status } = await api.get(`/v1/seals?${query}`, tenant.apiKey);
      assert.equal(status, query === 'limit[]=1' ? 200 : 422, query);
    }
    assert.equal((await api.get(`/v1/seals?after=${'9'.repeat(30)}`, tenant.apiKey)).status, 200);
  });

  it('methods that are not there get 405, addresses that are not there 404', async () => {
    for (const [path, allow] of [
      ['/v1/records', 'POST'],
      ['/v1/seals', 'GET, HEAD'],
      ['/healthz', 'GET, HEAD'],
    ] as const) {
      const response = await fetch(api.url + path, { method: 'DELETE' });
      assert.deepEqual([response.status, response.headers.get('allow')], [405, allow]);
    }
    assertProblem(await api.get('/v1/nothing', tenant.apiKey), 404, 'not-found');
    assertProblem(await api.get('/v1/records/%E0%A4%A', tenant.apiKey), 400, 'bad-request');
  });

  it('every answer names its request, keeps a well-formed given name, and does not say what it runs on', async () => {
    const given = await fetch(`${api.url}/healthz`, { headers: { 'x-request-id': 'trace-1' } });
    assert.equal(given.headers.get('x-request-id'), 'trace-1');
    const odd = await fetch(`${api.url}/healthz`, { headers: { 'x-request-id': 'a b"<' } });
    assert.match(odd.headers.get('x-request-id') ?? '', /^[0-9a-f-]{36}$/);
    assert.equal(odd.headers.get('x-powered-by'), null);
    assert.equal(odd.headers.get('x-content-type-options'), 'nosniff');
  });
});
