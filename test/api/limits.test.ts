import assert from 'node:assert/strict';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { assertProblem, recordText, startIngestApi, type Answer, type IngestApi } from './ingest-api.ts';

/** `"name";r=1;t=2, …` → name → its numbers. */
function items(header: string | null): Record<string, Record<string, number>> {
  return Object.fromEntries(
    (header ?? '').split(', ').map((item) => {
      const [, name = '', parameters = ''] = /^"([a-z-]+)"((?:;[a-z]+=\d+)+)$/.exec(item) ?? assert.fail(item);
      const pairs = [...parameters.matchAll(/;([a-z]+)=(\d+)/g)].map(([, key, value]) => [key, Number(value)]);
      return [name, Object.fromEntries(pairs) as Record<string, number>];
    }),
  );
}

const left = ({ headers }: Answer) =>
  Object.fromEntries(Object.entries(items(headers.get('ratelimit'))).map(([name, { r }]) => [name, r]));

const lines = (from: number, count: number): string =>
  Array.from({ length: count }, (_, at) => recordText(`r-${from + at}`)).join('\n');

describe('rate limits', () => {
  let db: ProductDatabase;
  let api: IngestApi;
  let tenant: TestTenant;
  let clock = 1_800_000_000_000;
  let next = 0;

  const post = (key = tenant.apiKey) => api.post(key, recordText(`p-${next++}`));

  before(async function () {
    this.timeout(60_000);
    db = await createProductDatabase();
    api = await startIngestApi(db, { now: () => clock });
  });
  beforeEach(async () => {
    tenant = await db.createTenant({ limits: { requests: 2, records: 100 } });
  });
  after(async () => {
    await api.stop();
    await db.drop();
  });

  it('say what they are and what is left of them, as the draft’s structured fields', async () => {
    const answer = await post();
    assert.equal(
      answer.headers.get('ratelimit-policy'),
      '"tenant";q=20;w=10, "key";q=20;w=10, "tenant-records";q=1000;w=10, "key-records";q=1000;w=10',
    );
    assert.equal(
      answer.headers.get('ratelimit'),
      '"tenant";r=19;t=1, "key";r=19;t=1, "tenant-records";r=999;t=1, "key-records";r=999;t=1',
    );
    const read = await api.get('/v1/seals', tenant.apiKey);
    assert.deepEqual(left(read), { tenant: 18, key: 18 }, 'reading takes a request and no record');
    clock += 10_000;
    assert.deepEqual(
      left(await api.get('/v1/seals', tenant.apiKey)),
      { tenant: 19, key: 19 },
      'full again, and no more',
    );
  });

  it('refuse with 429, a time, and the name of what was exceeded; what comes then is let in', async () => {
    for (let request = 0; request < 20; request++) assert.equal((await post()).status, 201);
    const refused = await post();
    assertProblem(refused, 429, 'rate-limited');
    assert.equal(refused.headers.get('retry-after'), '1');
    assert.deepEqual(refused.json['violated-policies'], ['tenant', 'key']);
    assert.deepEqual(left(refused), { tenant: 0, key: 0, 'tenant-records': 980, 'key-records': 980 });
    clock += 499;
    assert.equal((await post()).status, 429, 'half a second is one request');
    clock += 1;
    assert.equal((await post()).status, 201);
    assert.equal((await post()).status, 429);
    const { rows } = { rows: await db.sql<{ size: number }>(`SELECT size FROM ${tenant.role}.log_head`) };
    assert.equal(rows[0]?.size, 21, 'what was refused is not in the log');
  });

  it('count records too: a body that was let in is stored whole, and what was too much is paid back', async () => {
    assert.deepEqual(left(await api.postLines(tenant.apiKey, lines(0, 600)))['key-records'], 400);
    const over = await api.postLines(tenant.apiKey, lines(600, 1_000));
    assert.equal(over.status, 200);
    assert.equal(left(over)['key-records'], 0);
    const refused = await post();
    assertProblem(refused, 429, 'rate-limited');
    assert.deepEqual(refused.json['violated-policies'], ['tenant-records', 'key-records']);
    // 600 too many at 100 a second, and one to go on with.
    assert.equal(refused.headers.get('retry-after'), '7');
    assert.equal((await api.get('/v1/seals', tenant.apiKey)).status, 200, 'reading goes on');
    clock += 6_000;
    assert.equal((await post()).status, 429);
    clock += 1_000;
    assert.equal((await post()).status, 201);
  });

  it('are each key’s and their tenant’s: one key leaves room for the others, and no other tenant notices', async () => {
    const other = await db.createTenant({ limits: { requests: 2, records: 100 } });
    const second = await db.createKey(tenant);
    await db.sql('SELECT kiff.set_limits($1, $2, 1, 50)', [tenant.id, tenant.keyId]);
    for (let request = 0; request < 10; request++) assert.equal((await post()).status, 201);
    const refused = await post();
    assert.deepEqual(refused.json['violated-policies'], ['key']);
    for (let request = 0; request < 10; request++) assert.equal((await post(second.key)).status, 201);
    assert.deepEqual((await post(second.key)).json['violated-policies'], ['tenant']);
    for (let request = 0; request < 20; request++) assert.equal((await post(other.apiKey)).status, 201);
  });

  it('come from the directory: defaults of a new tenant, none at all, and what an operator sets within 5 s', async () => {
    const usual = await db.createTenant();
    const policy = async (key: string) => items((await post(key)).headers.get('ratelimit-policy'));
    assert.deepEqual(await policy(usual.apiKey), {
      tenant: { q: 1_000, w: 10 },
      key: { q: 500, w: 10 },
      'tenant-records': { q: 50_000, w: 10 },
      'key-records': { q: 25_000, w: 10 },
    });
    const free = await db.createTenant({ limits: { requests: null, records: null } });
    const answer = await post(free.apiKey);
    assert.deepEqual(
      [answer.status, answer.headers.get('ratelimit'), answer.headers.get('ratelimit-policy')],
      [201, null, null],
    );

    const operator = await db.connect(db.urls.kiff_operator);
    await operator.query('SELECT kiff.set_limits($1, NULL, 7, NULL)', [usual.id]);
    await operator.query('SELECT kiff.set_limits($1, $2, NULL, 8)', [usual.id, usual.keyId]);
    clock += 5_000;
    assert.deepEqual(await policy(usual.apiKey), { tenant: { q: 70, w: 10 }, 'key-records': { q: 80, w: 10 } });
    await assert.rejects(operator.query('SELECT kiff.set_limits($1, NULL, 0, 1)', [usual.id]), { code: '23514' });
    const ingest = await db.connect(db.urls.kiff_api);
    await assert.rejects(ingest.query(`SELECT kiff.set_limits('x', NULL, NULL, NULL)`), { code: '42501' });
  });

  it('are not spent on requests that nobody may make', async () => {
    const made = `${tenant.apiKey.slice(0, -1)}${tenant.apiKey.endsWith('0') ? '1' : '0'}`;
    for (let request = 0; request < 30; request++) assert.equal((await post(made)).status, 401);
    assert.equal((await post()).status, 201);
  });
});
