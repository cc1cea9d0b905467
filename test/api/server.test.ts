import assert from 'node:assert/strict';
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { readIngestEnv } from '../../api/ingest/env.ts';
import { startServer } from '../../api/http/server.ts';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { recordText, startIngestApi, type IngestApi } from './ingest-api.ts';
import { JWT_KEY, PARTY } from './session-tokens.ts';

const MAIN = join(import.meta.dirname, '../../api/ingest/main.js');

type Child = ChildProcessByStdio<null, Readable, Readable>;

describe('the ingest process', () => {
  let db: ProductDatabase;
  let tenant: TestTenant;
  const children: Child[] = [];
  const apis: IngestApi[] = [];

  before(async function () {
    this.timeout(60_000);
    db = await createProductDatabase();
    tenant = await db.createTenant();
  });
  afterEach(async () => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
    await Promise.all(apis.splice(0).map((api) => api.stop()));
  });
  after(() => db.drop());

  const environment = (): Record<string, string> => ({
    DATABASE_URL: db.urls.kiff_api,
    KIFF_INCARNATION: db.incarnation,
    TENANT_LOGIN_SECRET: db.loginSecrets.tenant.toString('hex'),
    PROMISE_KEY: '11'.repeat(32),
    API_PORT: '0',
    CHAIN_ID: String(db.chainId),
    CONTRACT: db.contract,
    CLERK_JWT_KEY: JWT_KEY,
    CLERK_AUTHORIZED_PARTIES: PARTY,
    LOG_LEVEL: 'info',
  });
  const start = (change: Record<string, string> = {}): Child => {
    const child = spawn(process.execPath, [MAIN], {
      env: { ...environment(), ...change },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    children.push(child);
    return child;
  };
  const listening = async (child: Child): Promise<string> => {
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    return (
      /^api listening on (http:\/\/127\.0\.0\.1:\d+)\n$/.exec(line.toString())?.[1] ?? assert.fail(line.toString())
    );
  };
  const post = (url: string, id: string): Promise<Response> =>
    fetch(`${url}/v1/records`, {
      method: 'POST',
      body: recordText(id),
      headers: { authorization: `Bearer ${tenant.apiKey}`, 'content-type': 'application/json' },
    });

  it('says where it listens, is healthy and ready, and serves', async () => {
    const url = await listening(start());
    assert.deepEqual(await (await fetch(`${url}/healthz`)).json(), { status: 'ok' });
    assert.deepEqual(await (await fetch(`${url}/readyz`)).json(), { status: 'ready' });
    assert.equal((await post(url, 'main-1')).status, 201);
  });

  it('drains at SIGTERM: the request in flight is answered, no new ones are taken, exit 0', async () => {
    const child = start();
    const exited = once(child, 'exit');
    const logged = text(child.stderr);
    const url = await listening(child);
    // The head is held, so a request hangs in the database for as long as this test wants.
    const holder = await db.connect(db.superuserUrl);
    await holder.query('BEGIN');
    await holder.query(`SELECT FROM ${tenant.role}.log_head FOR UPDATE`);
    const answer = post(url, 'drained');
    for (;;) {
      const waiting = await db.sql(`SELECT FROM pg_stat_activity WHERE usename = $1 AND wait_event_type = 'Lock'`, [
        tenant.role,
      ]);
      if (waiting.length > 0) break;
    }

    child.kill('SIGTERM');
    child.kill('SIGINT'); // a second signal changes nothing
    for (;;) {
      const socket = connect(Number(new URL(url).port), '127.0.0.1');
      const refused = await once(socket, 'connect').then(
        () => false,
        () => true,
      );
      socket.destroy();
      if (refused) break;
    }
    await holder.query('ROLLBACK');
    const response = await answer;
    assert.deepEqual([response.status, response.headers.get('connection')], [201, 'close']);
    assert.deepEqual(await exited, [0, null]);
    const events = (await logged)
      .trimEnd()
      .split('\n')
      .map((line) => (JSON.parse(line) as { msg: string }).msg);
    assert.deepEqual(events, ['api.draining', 'http.request', 'api.stopped']);
  });

  it('does not wait for connections that are only kept alive, also after an answer that had begun', async () => {
    let begun!: ServerResponse;
    const server = await startServer(
      (_request, response) => {
        begun = response;
        response.write('begun ');
      },
      { host: '127.0.0.1', port: 0, graceMilliseconds: 3_600_000 },
    );
    const response = await fetch(server.url);
    assert.equal(response.headers.get('connection'), 'keep-alive');
    const drained = server.drain();
    assert.equal(server.drain(), drained);
    begun.end('done');
    assert.equal(await response.text(), 'begun done');
    await drained;
    await assert.rejects(fetch(server.url));
  });

  it('cuts off what is still open when the grace time is over', async () => {
    const server = await startServer((_request, response) => void response.write('never done'), {
      host: '127.0.0.1',
      port: 0,
      graceMilliseconds: 1,
    });
    const response = await fetch(server.url);
    await server.drain();
    await assert.rejects(response.text());
  });

  it('refuses to start for another chain or contract than the database’s', async () => {
    for (const change of [{ CHAIN_ID: '1' }, { CONTRACT: `0x${'00'.repeat(20)}` }]) {
      const child = start(change);
      const [[code], message] = await Promise.all([once(child, 'exit'), text(child.stderr)]);
      assert.deepEqual([code, message], [1, 'CHAIN_ID and CONTRACT are not those of the database\n']);
    }
  });

  it('starts without its database, is not ready, and answers 503 with Retry-After', async () => {
    const url = await listening(start({ DATABASE_URL: 'postgres://kiff_api:x@127.0.0.1:1/kiff' }));
    assert.equal((await fetch(`${url}/healthz`)).status, 200);
    const responses = [await fetch(`${url}/readyz`), await post(url, 'away')];
    for (const response of responses) {
      assert.deepEqual([response.status, response.headers.get('retry-after')], [503, '1']);
      assert.equal(((await response.json()) as { type: string }).type, 'https://kiff.dev/problems/unavailable');
    }
  });

  it('names every problem of its configuration at once, and no value', async () => {
    const broken = {
      DATABASE_URL: 'mysql://secret',
      TENANT_LOGIN_SECRET: 'secret',
      PROMISE_KEY: '00',
      CHAIN_ID: '0',
      CONTRACT: 'x',
    };
    const child = start({ ...broken, API_PORT: '65536', LOG_LEVEL: 'loud' });
    const [[code], message] = await Promise.all([once(child, 'exit'), text(child.stderr)]);
    assert.equal(code, 1);
    for (const name of [...Object.keys(broken), 'API_PORT', 'LOG_LEVEL'])
      assert.match(message, new RegExp(`- ${name} `));
    assert.doesNotMatch(message, /secret/);
    assert.throws(
      () => readIngestEnv({}),
      /DATABASE_URL is missing\n- KIFF_INCARNATION is missing\n- TENANT_LOGIN_SECRET is missing\n- PROMISE_KEY is missing\n- CHAIN_ID is missing\n- CONTRACT is missing\n- CLERK_JWT_KEY is missing\n- CLERK_AUTHORIZED_PARTIES is missing$/,
    );
    assert.equal(readIngestEnv(environment()).API_HOST, '127.0.0.1');
  });

  it('answers 503 while the log’s head is ahead of the clock, and says so to the operator (F46)', async () => {
    const api = await startIngestApi(db);
    apis.push(api);
    const ahead = await db.createTenant();
    await db.sql(`UPDATE ${ahead.role}.log_head SET last_received_at = clock_timestamp() + interval '1 hour'`);
    const answer = await api.post(ahead.apiKey, recordText('a'));
    assert.deepEqual([answer.status, answer.headers.get('retry-after')], [503, '1']);
    assert.match(api.logged(), /"code":"KF002"/);
    await db.sql(`UPDATE ${ahead.role}.log_head SET last_received_at = clock_timestamp() + interval '4 seconds'`);
    assert.equal((await api.post(ahead.apiKey, recordText('a'))).status, 201);
  });

  it('answers 503 when its connection is ended mid-way; a retry finds out what happened', async () => {
    const api = await startIngestApi(db);
    apis.push(api);
    const other = await db.createTenant();
    const holder = await db.connect(db.superuserUrl);
    await holder.query('BEGIN');
    await holder.query(`SELECT FROM ${other.role}.log_head FOR UPDATE`);
    const answer = api.post(other.apiKey, recordText('ended'));
    for (;;) {
      const ended = await db.sql(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1 AND wait_event_type = 'Lock'`,
        [other.role],
      );
      if (ended.length > 0) break;
    }
    assert.deepEqual([(await answer).status, (await answer).headers.get('retry-after')], [503, '1']);
    await holder.query('ROLLBACK');
    assert.equal((await api.post(other.apiKey, recordText('ended'))).status, 201);
  });
});
