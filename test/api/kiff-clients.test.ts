/** Requests that KIFF's own clients sent, sent again byte for byte, and the answers read as those clients read them. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../dev/root.ts';
import { parseEntry } from '../../protocol/entry.ts';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { assertProblem, startIngestApi, type Answer, type IngestApi } from './ingest-api.ts';

interface Recorded {
  client: string;
  method: string;
  path: string;
  headers: Record<string, string>;
  body: string;
}

const { requests } = JSON.parse(readFileSync(join(packageRoot, 'test/api/kiff-clients.json'), 'utf8')) as {
  requests: Recorded[];
};

const recorded = (client: string, path: string): Recorded =>
  requests.find((request) => request.client.startsWith(client) && request.path === path) ??
  assert.fail(`${client} ${path}`);
const said = (request: Recorded) => JSON.parse(request.body) as Record<string, unknown>;

describe('KIFF’s own clients', () => {
  let db: ProductDatabase;
  let api: IngestApi;
  let tenant: TestTenant;

  before(async function () {
    this.timeout(60_000);
    db = await createProductDatabase();
    api = await startIngestApi(db);
  });
  beforeEach(async () => {
    tenant = await db.createTenant();
  });
  after(async () => {
    await api.stop();
    await db.drop();
  });

  const replay = ({ method, path, headers, body }: Recorded, key = tenant.apiKey): Promise<Answer> => {
    const sent = Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [name, value.replace('API_KEY', key)]),
    );
    return api.send(path, { method, headers: sent, ...(body !== '' && { body }) });
  };
  /** What is done here; the rest is not ours. */
  const SERVED = [
    '/v1/me',
    '/v1/me/domains',
    '/v1/me/usage',
    '/v1/keys',
    '/v1/guard/runtimes',
    '/v1/guard/connect',
    '/v1/guard/observations',
  ];

  it('are answered, each request as its client expects it', async () => {
    for (const request of requests) {
      const answer = await replay(request);
      const served = SERVED.includes(request.path) && !(request.path === '/v1/me/domains' && request.method === 'POST');
      assert.equal(answer.status, served ? 200 : 501, `${request.client} ${request.method} ${request.path}`);
      // What the clients show when it is not a success.
      if (!served) assert.match(answer.json.error, /^[A-Z].*\.$/);
    }
  });

  it('the CLI knows who it is', async () => {
    const { json } = await replay(recorded('kiff CLI', '/v1/me'));
    assert.deepEqual(json, { subject: tenant.keyId, tenant_id: tenant.id, tenant_slug: tenant.id });
    assertProblem(await replay(recorded('kiff CLI', '/v1/me'), 'kiff_live_acme_x'), 401, 'unauthorized');
  });

  it('a connect is answered as both SDKs read it, and stands in the log with the exact words of the request', async () => {
    for (const client of ['kiff-guard for JavaScript', 'kiff-guard 1.7.0']) {
      const request = recorded(client, '/v1/guard/connect');
      const { json } = await replay(request);
      const { agent_id = tenant.keyId, project = 'default', adapter, mode, sdk_version } = said(request);
      const { runtime_id, first_seen_at, last_seen_at, record, ...rest } = json;
      assert.deepEqual(rest, {
        tenant_id: tenant.id,
        project,
        environment: 'dev',
        agent_id,
        workflow: 'default',
        adapter,
        mode,
        sdk_version,
        seen_count: 1,
        heartbeat_interval: '60s',
      });
      assert.equal(first_seen_at, last_seen_at);

      const stored = await api.get(`/v1/records/${record.id}`, tenant.apiKey);
      assert.equal(parseEntry(stored.json.entry).key, 'kiff', 'this service wrote it');
      assert.deepEqual(stored.json.record, {
        id: record.id,
        kind: 'guard_connected',
        entity_id: runtime_id,
        entity_type: 'guard_runtime',
        actor_id: agent_id,
        created_at: stored.json.record.created_at,
        data: {
          api_key: tenant.keyId,
          project,
          environment: 'dev',
          workflow: 'default',
          request: said(request),
        },
      });
      assert.ok(stored.text.includes(`"request":${request.body}`), 'byte for byte');
    }
  });

  it('a heartbeat is a connect: one more record, the same runtime, seen once more', async () => {
    const request = recorded('kiff-guard for JavaScript', '/v1/guard/connect');
    const first = (await replay(request)).json;
    const changed = { ...request, body: JSON.stringify({ ...said(request), mode: 'enforce', sdk_version: '0.2.0' }) };
    const second = (await replay(changed)).json;
    assert.deepEqual(
      [second.runtime_id, second.seen_count, second.first_seen_at, second.mode, second.record.leafIndex],
      [first.runtime_id, 2, first.first_seen_at, 'enforce', first.record.leafIndex + 1],
    );
    const elsewhere = { ...request, body: JSON.stringify({ ...said(request), environment: 'prod' }) };
    assert.notEqual((await replay(elsewhere)).json.runtime_id, first.runtime_id);

    const { runtimes } = (await replay(recorded('kiff CLI', '/v1/guard/runtimes'))).json;
    const { agent_id, adapter, project } = said(request);
    const common = { agent_id, adapter, project };
    assert.deepEqual(
      runtimes.map(({ last_seen_at, runtime_id, ...rest }: Record<string, unknown>) => {
        assert.match(String(last_seen_at), /^\d{4}-.*Z$/);
        assert.match(String(runtime_id), /^rt_/);
        return rest;
      }),
      [
        { ...common, mode: 'observe', environment: 'prod', seen_count: 1 },
        { ...common, mode: 'enforce', environment: 'dev', seen_count: 2 },
      ],
    );
    const other = await db.createTenant();
    assert.deepEqual((await api.get('/v1/guard/runtimes', other.apiKey)).json, { runtimes: [] }, 'another tenant’s');
  });

  it('observations come back as they were sent, and stand in the log', async () => {
    for (const client of ['kiff-guard for JavaScript', 'kiff-guard 1.7.0']) {
      const request = recorded(client, '/v1/guard/observations');
      const { observation, record } = (await replay(request)).json;
      assert.deepEqual(observation.tools, said(request)['tools']);
      assert.deepEqual([observation.tenant_id, observation.observed_at], [tenant.id, record.receivedAt]);
      const stored = await api.get(`/v1/records/${record.id}`, tenant.apiKey);
      assert.equal(stored.json.record.kind, 'guard_observed');
      assert.ok(stored.text.includes(`"request":${request.body}`), 'byte for byte');
    }
    assert.deepEqual(
      (await api.get('/v1/guard/runtimes', tenant.apiKey)).json,
      { runtimes: [] },
      'no connect, no runtime',
    );
  });

  it('a question for a decision is withheld, by the rules of both SDKs', async () => {
    for (const client of ['kiff-guard for JavaScript', 'kiff-guard 1.7.0']) {
      const { status, json } = await replay(recorded(client, '/v1/proposals/decide'));
      // Both take the outcome from the body, whatever the status; Python refuses `allowed` unless that is a success.
      assert.deepEqual([status, json.outcome], [501, 'invalid']);
      assert.equal(json.message, json.error);
      assert.equal(typeof json.proposal_id, 'string');
      assert.ok(json.reasons.every((reason: unknown) => typeof reason === 'string'));
    }
    // Whatever else goes wrong, there is no outcome, which both read as invalid.
    const refused = await replay(recorded('kiff-guard 1.7.0', '/v1/proposals/decide'), 'kiff_live_acme_x');
    assert.deepEqual([refused.status, refused.json.outcome], [401, undefined]);
  });

  it('what is no connect is refused, and nothing of it is stored', async () => {
    const request = recorded('kiff-guard 1.7.0', '/v1/guard/connect');
    const connect = (text: string) => replay({ ...request, body: text });
    for (const [text, pointer] of [
      ['{"mode":"observe"}', '/adapter'],
      ['{"adapter":"","mode":"observe"}', '/adapter'],
      ['{"adapter":"x"}', '/mode'],
      ['{"adapter":"x","mode":"watch"}', '/mode'],
      [`{"adapter":"x","mode":"observe","agent_id":"${'a'.repeat(257)}"}`, '/agent_id'],
      ['{"adapter":"x","mode":"observe","project":7}', '/project'],
    ]) {
      const answer = await connect(text!);
      assertProblem(answer, 422, 'invalid-body');
      assert.deepEqual(
        answer.json.errors.map((fault: { pointer: string }) => fault.pointer),
        [pointer],
        text,
      );
    }
    assertProblem(await connect('[]'), 422, 'invalid-body');
    assertProblem(await connect('{'), 400, 'malformed-json');
    assertProblem(await connect(''), 400, 'empty-body');
    assertProblem(await connect('{"adapter":"x","adapter":"y","mode":"observe"}'), 400, 'duplicate-key');
    assertProblem(await connect(`{"adapter":"${'x'.repeat(61_440)}"}`), 413, 'body-too-large');
    assertProblem(
      await replay({ ...request, headers: { ...request.headers, 'content-type': 'text/plain' } }),
      415,
      'unsupported-media-type',
    );
    const deep = `{"adapter":"x","mode":"observe","more":${'['.repeat(31)}${']'.repeat(31)}}`;
    assertProblem(await connect(deep), 400, 'too-deep');
    const writer = await db.createKey(tenant, { scopes: ['read'] });
    assertProblem(await replay(request, writer.key), 403, 'missing-scope');

    const [head] = await db.sql<{ size: number }>(`SELECT size FROM ${tenant.role}.log_head`);
    assert.equal(head?.size, 0);
    assert.equal(
      (await connect('{"adapter":"x","mode":"observe","more":{"a":1e999,"b":[null]}}')).status,
      200,
      'control',
    );
  });

  it('a tenant keeps the thousand guards that were seen last', async () => {
    const login = await db.connect(tenant.url);
    await login.query(
      `SELECT FROM generate_series(1, 1001) i, LATERAL kiff.see_runtime('rt_' || lpad(to_hex(i), 24, '0'), 'a', 'x', 'observe', 'p', 'e', 'w', '')`,
    );
    const { runtimes } = (await api.get('/v1/guard/runtimes', tenant.apiKey)).json;
    assert.equal(runtimes.length, 1_000);
    assert.ok(!runtimes.some(({ runtime_id }: { runtime_id: string }) => runtime_id === `rt_${'1'.padStart(24, '0')}`));
    const custody = await db.connect(tenant.custodyUrl);
    await assert.rejects(custody.query('SELECT FROM kiff.guard_runtimes'), { code: '42501' });
    await assert.rejects(login.query(`DELETE FROM kiff.guard_runtimes`), { code: '42501' });
  });
});
