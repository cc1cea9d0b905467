/** What a busy process leaves in its log, searched for everything that it was given and must not repeat. */
import assert from 'node:assert/strict';
import { gzipSync } from 'node:zlib';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { startApiProcess, type ApiProcess } from './api-process.ts';
import { recordText } from './ingest-api.ts';
import { sessionToken } from './session-tokens.ts';

const bearer = (credential: string) => ({ authorization: `Bearer ${credential}` });

/** The log's line of a request with these headers. */
const lineOf = async (api: ApiProcess, headers: Record<string, string>): Promise<Record<string, unknown>> => {
  const requestId = `address-${Math.random().toString(36).slice(2)}`;
  await (await fetch(`${api.url}/v1/seals`, { headers: { ...headers, 'x-request-id': requestId } })).arrayBuffer();
  for (;;) {
    const line = api
      .logged()
      .split('\n')
      .find((each) => each.includes(requestId));
    if (line !== undefined) return JSON.parse(line) as Record<string, unknown>;
    await new Promise((resolve) => setImmediate(resolve));
  }
};

describe('the log of a busy ingest process', () => {
  let db: ProductDatabase;
  let tenant: TestTenant;
  let api: ApiProcess;

  before(async function () {
    this.timeout(60_000);
    db = await createProductDatabase();
    tenant = await db.createTenant();
    api = await startApiProcess(db, { LOG_LEVEL: 'trace', TRUST_PROXY: '1' });
  });
  after(async () => {
    await api.stop();
    await db.drop();
  });

  it('holds no key, token, address of a request, header or word of a record, whatever went wrong', async function () {
    this.timeout(30_000);
    const dead = await db.createKey(tenant, { expiresAt: new Date(0) });
    const organisation = await db.createOrganisation(tenant);
    const token = sessionToken({ organisation });
    const forged = `${token.slice(0, -8)}CANARYsg`;
    const secret = 'CANARY-content';
    const json = { 'content-type': 'application/json' };
    const guard = { adapter: secret, mode: 'observe', agent_id: secret };
    const post = (body: string | Uint8Array, headers: Record<string, string> = json, credential = tenant.apiKey) =>
      fetch(`${api.url}/v1/records`, {
        method: 'POST',
        headers: { ...bearer(credential), ...headers },
        body: body as NonNullable<RequestInit['body']>,
      });
    const get = (path: string, credential: string, headers: Record<string, string> = {}) =>
      fetch(api.url + path, { headers: { ...bearer(credential), ...headers } });

    const requests: [number, () => Promise<Response>][] = [
      [201, () => post(recordText('fine', { message: secret, data: { secret } }))],
      [409, () => post(recordText('fine', { message: `${secret}-other` }))],
      [400, () => post(`{"id":"${secret}"`)],
      [400, () => post(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d]))],
      [422, () => post(JSON.stringify({ id: `not an id ${secret}`, kind: secret }))],
      [
        400,
        () =>
          post(gzipSync(recordText('zip', { message: secret })).subarray(0, 40), {
            ...json,
            'content-encoding': 'gzip',
          }),
      ],
      [413, () => post(recordText('large', { message: secret.repeat(6_000) }))],
      [415, () => post(secret, { 'content-type': 'text/CANARY-type' })],
      [
        200,
        () =>
          post(`${recordText('l-1', { message: secret })}\n{"${secret}`, { 'content-type': 'application/x-ndjson' }),
      ],
      [401, () => post(recordText('x'), json, dead.key)],
      [401, () => post(recordText('x'), json, `kiff_live_${tenant.id}_CANARYmadeup`)],
      [401, () => get('/v1/seals', forged)],
      [200, () => get('/v1/seals', token)],
      [404, () => get('/v1/records/CANARY-id', tenant.apiKey)],
      [422, () => get('/v1/seals?after=CANARY-query', tenant.apiKey)],
      [404, () => get('/CANARY-path', tenant.apiKey, { 'x-canary': 'CANARY-header', cookie: 'CANARY-cookie' })],
      [200, () => get('/healthz', 'CANARY-credential', { 'user-agent': 'CANARY-agent', 'x-request-id': 'CANARY id' })],
      [
        200,
        () =>
          fetch(`${api.url}/v1/guard/connect`, {
            method: 'POST',
            headers: { ...bearer(tenant.apiKey), ...json },
            body: JSON.stringify(guard),
          }),
      ],
      [
        501,
        () =>
          fetch(`${api.url}/v1/proposals/decide`, {
            method: 'POST',
            headers: { ...bearer(tenant.apiKey), ...json },
            body: JSON.stringify({ secret }),
          }),
      ],
    ];
    for (const [index, [status, request]] of requests.entries()) {
      const response = await request();
      await response.arrayBuffer();
      assert.equal(response.status, status, `request ${index}`);
    }
    // A failure of ours, with an error of the database that quotes what it was given.
    await db.sql(
      `ALTER TABLE ${tenant.role}.bodies ADD CHECK (convert_from(body, 'UTF8') NOT LIKE '%CANARY-refused%')`,
    );
    const refused = await post(recordText('refused', { message: 'CANARY-refused' }));
    assert.equal(refused.status, 422);
    await db.sql(`ALTER TABLE ${tenant.role}.bodies RENAME TO hidden`);
    const failed = await post(recordText('failed', { message: secret }));
    await db.sql(`ALTER TABLE ${tenant.role}.hidden RENAME TO bodies`);
    assert.equal(failed.status, 500);

    const wanted = requests.length + 2;
    const lines = (): string[] =>
      api
        .logged()
        .split('\n')
        .filter((line) => line.includes('"http.request"'));
    while (lines().length < wanted) await new Promise((resolve) => setImmediate(resolve));
    const logged = api.logged();
    for (const canary of [
      'CANARY',
      tenant.apiKey,
      dead.key,
      token,
      'Bearer',
      'Authorization',
      '11'.repeat(32),
      db.loginSecrets.tenant.toString('hex'),
    ]) {
      assert.equal(logged.toLowerCase().includes(canary.toLowerCase()), false, `the log holds ${canary}`);
    }
    assert.ok(
      logged.includes(tenant.keyId) && logged.includes('"http.problem"'),
      'control: ids and problems are there',
    );
    for (const line of logged.trimEnd().split('\n').slice(1))
      assert.doesNotThrow(() => JSON.parse(line) as unknown, line);
  });

  it('names the address that a refused credential came from, as the trusted proxy says it, and of nobody else', async () => {
    const forwarded = { 'x-forwarded-for': '203.0.113.9, 198.51.100.7' };
    // One proxy is trusted: the last address is its word, the one before it the client's own.
    assert.equal((await lineOf(api, { ...forwarded, authorization: 'Bearer nonsense' }))['address'], '198.51.100.7');
    assert.equal((await lineOf(api, { ...forwarded, authorization: `Bearer ${tenant.apiKey}` }))['address'], undefined);
  });
});
