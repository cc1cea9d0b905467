import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { parseApiKey } from '../../api/ingest/api-key.ts';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { startApiProcess, type ApiProcess } from './api-process.ts';
import { assertProblem, recordText, startIngestApi, type Answer, type IngestApi } from './ingest-api.ts';
import { randomUser, sessionToken } from './session-tokens.ts';

describe('API keys', () => {
  let db: ProductDatabase;
  let api: IngestApi;
  let tenant: TestTenant;
  let admin: string;
  /** How far the API's clock is ahead of ours, in milliseconds. */
  let ahead = 0;
  const user = randomUser();

  before(async function () {
    this.timeout(60_000);
    db = await createProductDatabase();
    api = await startIngestApi(db, { now: () => Date.now() + ahead });
    tenant = await db.createTenant();
    admin = sessionToken({ organisation: await db.createOrganisation(tenant), user });
  });
  after(async () => {
    await api.stop();
    await db.drop();
  });

  const make = (body: object = { label: 'a' }): Promise<Answer> => api.call('POST', '/v1/keys', admin, body);
  const raw = (body: string, type = 'application/json') =>
    fetch(`${api.url}/v1/keys`, {
      method: 'POST',
      body,
      headers: { authorization: `Bearer ${admin}`, 'content-type': type },
    });
  const list = async (credential = admin): Promise<any[]> => (await api.get('/v1/keys', credential)).json.keys;

  it('are made by an admin and shown once: kept as a hash, they post and read', async () => {
    const made = await make({ label: 'billing agent' });
    assert.equal(made.status, 201);
    const { id, key } = made.json;
    assert.deepEqual(parseApiKey(key), { tenant: tenant.id });
    assert.equal(made.headers.get('cache-control'), 'no-store');
    assert.equal((await api.post(key, recordText('made-1'))).status, 201);
    assert.equal((await api.get('/v1/records/made-1', key)).status, 200);
    // Wherever it could be: in a row of any table, in a log line, in another answer.
    const everything = await db.sql<{ text: string }>(
      `SELECT to_jsonb(k)::text AS text FROM kiff.api_keys k UNION ALL SELECT to_jsonb(e)::text FROM ${tenant.role}.events e`,
    );
    assert.ok(everything.length > 1);
    const secret = key.slice(-38);
    for (const { text } of everything) assert.ok(!text.includes(secret));
    assert.ok(!api.logged().includes(secret));
    assert.ok(!JSON.stringify(await list()).includes(secret));
    assert.ok((await list()).some((each) => each.id === id));
  });

  it('are listed as KIFF’s CLI reads them, by keys that may read too; last use is there to within a minute', async () => {
    const { key, id } = (await make({ label: 'cli', scopes: ['read'] })).json;
    await api.get('/v1/seals', key);
    await api.report();
    const mine = (await list(key)).find((each) => each.id === id);
    const view = mine;
    assert.deepEqual([view.label, view.roles, view.created_by], ['cli', ['read'], user]);
    assert.ok(Math.abs(Date.parse(view.last_used_at) - Date.now()) < 60_000);
    const unused = (await make({ label: 'unused' })).json.id;
    assert.equal((await list()).find((each) => each.id === unused).last_used_at, null);
    const writer = (await make({ label: 'writer', scopes: ['ingest'] })).json.key;
    assertProblem(await api.get('/v1/keys', writer), 403, 'missing-scope');
  });

  it('use costs no write: many requests, one report', async () => {
    const { key, id } = (await make()).json;
    const version = async (): Promise<string> =>
      (await db.sql<{ xmin: string }>('SELECT xmin::text FROM kiff.api_keys WHERE id = $1', [id]))[0]!.xmin;
    const before = await version();
    for (let n = 0; n < 5; n++) await api.get('/v1/seals', key);
    assert.equal(await version(), before);
    await api.report();
    const after = await version();
    assert.notEqual(after, before);
    await api.get('/v1/seals', key);
    await api.report();
    assert.equal(await version(), after, 'a report within ten seconds of the last changes nothing');
  });

  it('live side by side, so that one can take over from another; an end is an end', async () => {
    const first = (await make({ label: 'old' })).json.key;
    const second = (await make({ label: 'new' })).json.key;
    for (const key of [first, second]) assert.equal((await api.get('/v1/seals', key)).status, 200);
    const soon = new Date(Date.now() + 3_600_000).toISOString();
    const { key, expires_at } = (await make({ label: 'short', expires_at: soon })).json;
    assert.equal(expires_at, soon);
    assert.equal((await api.get('/v1/seals', key)).status, 200);
    ahead = 3_600_000;
    assertProblem(await api.get('/v1/seals', key), 401, 'unauthorized');
    ahead = 0;
  });

  it('are refused terms that make no sense, with pointers', async () => {
    const cases: [unknown, string][] = [
      [{}, '/label'],
      [{ label: '' }, '/label'],
      [{ label: 'x'.repeat(101) }, '/label'],
      [{ label: 'a\u0000b' }, '/label'],
      [{ label: 'a', scopes: [] }, '/scopes'],
      [{ label: 'a', scopes: ['read', 'read'] }, '/scopes'],
      [{ label: 'a', scopes: ['admin'] }, '/scopes/0'],
      [{ label: 'a', expires_at: 'tomorrow' }, '/expires_at'],
      [{ label: 'a', expires_at: '2020-01-01T00:00:00Z' }, '/expires_at'],
      [{ label: 'a', tenant: 'another' }, ''],
    ];
    for (const [body, pointer] of cases) {
      const answer = await make(body as object);
      assertProblem(answer, 422, 'invalid-body');
      assert.equal(answer.json.errors[0].pointer, pointer, JSON.stringify(body));
    }
    assert.equal((await raw('{"label":"a","label":"b"}')).status, 400);
    assert.equal((await raw('{')).status, 400);
    assert.equal((await raw('label=a', 'application/x-www-form-urlencoded')).status, 415);
    assert.equal((await raw(JSON.stringify({ label: 'a', padding: 'x'.repeat(20_000) }))).status, 413);
  });

  it('are managed by people with the permission and a fresh second factor, and by nobody else', async () => {
    const organisation = `org_${tenant.id}`;
    const { id } = (await make()).json;
    for (const [credential, problem, status] of [
      [tenant.apiKey, 'missing-scope', 403],
      [sessionToken({ organisation, permissions: ['org:records:read'] }), 'missing-permission', 403],
      [sessionToken({ organisation, factors: [3, -1] }), 'second-factor-required', 403],
      [sessionToken({ organisation, factors: [3, 11] }), 'reverification-required', 403],
      [sessionToken({ organisation, claims: { act: { sub: 'user_support' } } }), 'impersonated', 403],
      [undefined, 'unauthorized', 401],
    ] as const) {
      assertProblem(await api.call('POST', '/v1/keys', credential, { label: 'a' }), status, problem);
      assertProblem(await api.call('DELETE', `/v1/keys/${id}`, credential), status, problem);
    }
    assert.ok(
      (await list()).some((each) => each.id === id),
      'it lives',
    );
  });

  it('an admin who was removed a moment ago makes no key: sensitive acts look at the newest membership', async () => {
    const organisation = `org_${tenant.id}`;
    const leaver = randomUser();
    const token = sessionToken({ organisation, user: leaver });
    assert.equal((await api.call('POST', '/v1/keys', token, { label: 'last' })).status, 201);
    const webhooks = await db.connect(db.urls.kiff_webhooks);
    await webhooks.query(`SELECT kiff.membership_changed('msg_leaver', $1, $2, 'deleted', now())`, [
      organisation,
      leaver,
    ]);
    await webhooks.end();
    assertProblem(await api.call('POST', '/v1/keys', token, { label: 'one more' }), 403, 'not-a-member');
  });

  it('another tenant’s key is not found, and the attempt stands in the audit trail (B15)', async () => {
    const other = await db.createTenant();
    assertProblem(await api.call('DELETE', `/v1/keys/${other.keyId}`, admin), 404, 'not-found');
    assert.equal((await api.get('/v1/seals', other.apiKey)).status, 200, 'it lives');
    const { events } = (await api.get('/v1/audit?limit=1000', admin)).json;
    const { kind, detail } = events.at(-1);
    assert.deepEqual([kind, detail], ['access.refused', { by: user, askedFor: `key ${other.keyId}`, times: 1 }]);
  });

  it('revoking is told again the same, and stands in the audit trail once', async () => {
    const { id } = (await make({ label: 'twice' })).json;
    const first = await api.call('DELETE', `/v1/keys/${id}`, admin);
    const second = await api.call('DELETE', `/v1/keys/${id}`, admin);
    assert.deepEqual([first.status, first.json], [200, second.json]);
    assert.ok(!(await list()).some((each) => each.id === id));
    const { events } = (await api.get('/v1/audit?limit=1000', admin)).json;
    const mine = events.filter((event: any) => event.detail.key === id);
    assert.deepEqual(
      mine.map((event: any) => [event.kind, event.detail.by]),
      [
        ['key.created', user],
        ['key.revoked', user],
      ],
    );
  });

  it('a tenant has at most 100', async () => {
    const crowded = await db.createTenant();
    const token = sessionToken({ organisation: await db.createOrganisation(crowded) });
    await db.sql(
      `INSERT INTO kiff.api_keys (id, tenant, hash)
       SELECT 'k' || lpad(n::text, 15, '0'), $1, sha256(convert_to($1 || n, 'UTF8')) FROM generate_series(1, 98) n`,
      [crowded.id],
    );
    const answers = await Promise.all(['a', 'b', 'c'].map((label) => api.call('POST', '/v1/keys', token, { label })));
    assert.deepEqual(
      answers.map(({ status }) => status).toSorted((a, b) => a - b),
      [201, 409, 409],
    );
    assertProblem(
      answers.find(({ status }) => status === 409)!,
      409,
      'too-many-keys',
    );
  });

  describe('in two processes', () => {
    let processes: ApiProcess[];
    before(async function () {
      this.timeout(60_000);
      processes = await Promise.all([startApiProcess(db), startApiProcess(db)]);
    });
    after(() => Promise.all(processes.map((each) => each.stop())));

    it('a revocation counts in each of them within 5 s, and not before it is made', async function () {
      this.timeout(30_000);
      const { id, key } = (await make({ label: 'to be revoked' })).json;
      const asked = (url: string): Promise<number> =>
        fetch(`${url}/v1/seals`, { headers: { authorization: `Bearer ${key}` } }).then((answer) => answer.status);
      for (const { url } of processes) assert.equal(await asked(url), 200);
      await api.call('DELETE', `/v1/keys/${id}`, admin);
      const revoked = Date.now();
      await Promise.all(
        processes.map(async ({ url }) => {
          // Asked all the time: a memory that is renewed by being used would never end.
          for (let status = 200; status === 200; await delay(50)) {
            const asking = Date.now();
            status = await asked(url);
            assert.ok(status !== 200 || asking - revoked < 5_000, `let in ${asking - revoked} ms after it was revoked`);
          }
        }),
      );
    });
  });
});
