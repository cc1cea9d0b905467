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

const statuses = async (answers: Promise<Answer>[]): Promise<number[]> =>
  (await Promise.all(answers)).map(({ status }) => status);

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
    tenant = await db.createTenant({ limits: { requests: 10, records: 500 } });
  });
  after(async () => {
    await api.stop();
    await db.drop();
  });

  it('say what they are and what is left of them, as the draft’s structured fields', async () => {
    const answer = await post();
    assert.equal(
      answer.headers.get('ratelimit-policy'),
      '"tenant";q=20;w=2, "key";q=20;w=2, "tenant-records";q=1000;w=2, "key-records";q=1000;w=2',
    );
    assert.equal(
      answer.headers.get('ratelimit'),
      '"tenant";r=19;t=1, "key";r=19;t=1, "tenant-records";r=999;t=1, "key-records";r=999;t=1',
    );
    const read = await api.get('/v1/seals', tenant.apiKey);
    assert.deepEqual(left(read), { tenant: 18, key: 18 }, 'reading takes a request and no record');
    clock += 2_000;
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
    clock += 99;
    assert.equal((await post()).status, 429, 'a tenth of a second is one request');
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
    // 600 too many at 500 a second, and one to go on with.
    assert.equal(refused.headers.get('retry-after'), '2');
    assert.equal((await api.get('/v1/seals', tenant.apiKey)).status, 200, 'reading goes on');
    clock += 1_200;
    assert.equal((await post()).status, 429);
    clock += 2;
    assert.equal((await post()).status, 201);
  });

  it('are each key’s and their tenant’s: one key leaves room for the others, and no other tenant notices', async () => {
    const other = await db.createTenant({ limits: { requests: 10, records: 500 } });
    const second = await db.createKey(tenant);
    await db.sql('SELECT kiff.set_limits($1, $2, 5, 250)', [tenant.id, tenant.keyId]);
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
      tenant: { q: 200, w: 2 },
      key: { q: 100, w: 2 },
      'tenant-records': { q: 10_000, w: 2 },
      'key-records': { q: 5_000, w: 2 },
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
    assert.deepEqual(await policy(usual.apiKey), { tenant: { q: 14, w: 2 }, 'key-records': { q: 16, w: 2 } });
    await assert.rejects(operator.query('SELECT kiff.set_limits($1, NULL, 0, 1)', [usual.id]), { code: '23514' });
    const ingest = await db.connect(db.urls.kiff_api);
    await assert.rejects(ingest.query(`SELECT kiff.set_limits('x', NULL, NULL, NULL)`), { code: '42501' });
  });

  it('refuse in the same words, whether little or much was made of the request', async () => {
    for (let request = 0; request < 20; request++) assert.equal((await post()).status, 201);
    const since = api.logged().length;
    // A query makes it go the long way: through Express, routes and all.
    const [short, long] = [
      await api.get('/v1/seals', tenant.apiKey),
      await api.get('/v1/seals?limit=5', tenant.apiKey),
    ];
    for (const answer of [short, long]) assertProblem(answer, 429, 'rate-limited');
    const own = ['x-request-id', 'date', 'content-length'];
    const said = ({ headers, json }: Answer) => [
      [...headers].filter(([name]) => !own.includes(name)).toSorted(([a], [b]) => a.localeCompare(b)),
      { ...json, requestId: '' },
    ];
    assert.deepEqual(said(short), said(long));
    assert.ok(short.headers.has('content-security-policy') && short.headers.has('ratelimit-policy'), 'control');
    const logged = async () => {
      const all = api.logged().slice(since).trim().split('\n');
      return all.filter((line) => line.includes('http.request')).map((line) => JSON.parse(line) as object);
    };
    while ((await logged()).length < 2) await api.report();
    const [first, second] = (await logged()).map((line) => ({ ...line, time: 0, milliseconds: 0, requestId: '' }));
    assert.deepEqual(first, second);
    assert.deepEqual(
      { ...first },
      { ...first, status: 429, route: '/v1/seals', method: 'GET', tenant: tenant.id, key: tenant.keyId },
    );
    // Both are counted where the tenant sees them.
    clock += 2_000;
    await api.report();
    assert.equal((await api.get('/v1/usage', tenant.apiKey)).json.totals.rejectedRequests, 2);
  });

  it('say nothing to whom there is more to say: a key without the right, a revoked one', async () => {
    const reader = await db.createKey(tenant, { scopes: ['read'] });
    for (let request = 0; request < 20; request++) {
      assert.equal((await api.get('/v1/seals', reader.key)).status, 200);
    }
    assert.equal((await api.get('/v1/seals', reader.key)).status, 429);
    assertProblem(await post(reader.key), 403, 'missing-scope');
    await db.sql('UPDATE kiff.api_keys SET revoked_at = now() WHERE id = $1', [reader.id]);
    clock += 5_000;
    assertProblem(await api.get('/v1/seals', reader.key), 401, 'unauthorized');
  });

  it('are not spent on requests that nobody may make', async () => {
    const made = `${tenant.apiKey.slice(0, -1)}${tenant.apiKey.endsWith('0') ? '1' : '0'}`;
    for (let request = 0; request < 30; request++) assert.equal((await post(made)).status, 401);
    assert.equal((await post()).status, 201);
  });

  it('one tenant floods: it gets 429s, and nine others at the same time are all served (F39)', async function () {
    this.timeout(30_000);
    const others = await Promise.all(Array.from({ length: 9 }, () => db.createTenant()));
    const flood = Array.from({ length: 200 }, () => post());
    const quiet = others.flatMap(({ apiKey }) => Array.from({ length: 5 }, () => post(apiKey)));
    assert.deepEqual(new Set(await statuses(quiet)), new Set([201]));
    const flooded = await statuses(flood);
    // Ten times what fits into the bucket; the clock stands still.
    assert.deepEqual(
      [flooded.filter((status) => status === 201).length, flooded.filter((status) => status === 429).length],
      [20, 180],
    );
    for (const { role } of others) {
      assert.deepEqual(await db.sql(`SELECT size FROM ${role}.log_head`), [{ size: 5 }]);
    }
  });
});
