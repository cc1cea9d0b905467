/** F41: connections that take too long are closed, and nobody else notices. Real sockets; the time-outs are short ones. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { startServer, type RunningServer, type Timeouts } from '../../api/http/server.ts';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { recordText, startIngestApi, type IngestApi } from './ingest-api.ts';

/** Long enough that no test sees one of them; each test shortens its own. */
const PATIENT: Timeouts = {
  headersTimeout: 600_000,
  requestTimeout: 600_000,
  keepAliveTimeout: 600_000,
  idleTimeout: 600_000,
  connectionsCheckingInterval: 20,
};

/** A connection that has sent this much, what came back, and its end. */
async function client(url: string, sent: string): Promise<{ socket: Socket; closed: Promise<string> }> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  let received = '';
  socket.setEncoding('utf8').on('data', (text: string) => (received += text));
  socket.on('error', () => undefined);
  const closed = once(socket, 'close').then(() => received);
  await once(socket, 'connect');
  socket.write(sent);
  return { socket, closed };
}

describe('slow and idle connections (F41)', () => {
  let db: ProductDatabase;
  let tenant: TestTenant;
  let patient: IngestApi;
  const ends: (() => Promise<void>)[] = [];

  before(async function () {
    this.timeout(60_000);
    db = await createProductDatabase();
    tenant = await db.createTenant();
    patient = await startIngestApi(db, { timeouts: PATIENT });
  });
  afterEach(async () => {
    await Promise.all(ends.splice(0).map((end) => end()));
  });
  after(async () => {
    await patient.stop();
    await db.drop();
  });

  /** The same connection to an API that is impatient in this way, and to one that is not: only the first is closed. */
  async function closedBy(impatience: Partial<Timeouts>, sent: string): Promise<string> {
    const api = await startIngestApi(db, { timeouts: { ...PATIENT, ...impatience } });
    ends.push(() => api.stop());
    const control = await client(patient.url, sent);
    const slow = await client(api.url, sent);
    const meanwhile = await api.post(tenant.apiKey, recordText('meanwhile'));
    assert.ok(meanwhile.status === 201 || meanwhile.status === 200, 'another client is served');
    const answer = await slow.closed;
    assert.equal(control.socket.readyState, 'open', 'control: without the time-out it stays open');
    control.socket.destroy();
    assert.equal((await api.post(tenant.apiKey, recordText('meanwhile'))).status, 200);
    return answer;
  }

  const head = (): string =>
    [
      'POST /v1/records HTTP/1.1',
      'Host: kiff.test',
      `Authorization: Bearer ${tenant.apiKey}`,
      'Content-Type: application/x-ndjson',
      'Content-Length: 1000',
    ].join('\r\n');

  it('a connection that sends nothing', async () => {
    await closedBy({ headersTimeout: 300, requestTimeout: 300 }, '');
  });

  it('headers that do not end', async () => {
    assert.match(await closedBy({ headersTimeout: 300, requestTimeout: 300 }, head()), /^HTTP\/1\.1 408 /);
  });

  it('a body that does not end: nothing of it is stored', async () => {
    const answer = await closedBy(
      { headersTimeout: 300, requestTimeout: 300 },
      `${head()}\r\n\r\n${recordText('slow')}\n`,
    );
    assert.doesNotMatch(answer, /^HTTP\/1\.1 2/);
    assert.equal((await patient.get('/v1/records/slow', tenant.apiKey)).status, 404);
  });

  it('a connection that is kept alive after its answer', async () => {
    const get = 'GET /healthz HTTP/1.1\r\nHost: kiff.test\r\n\r\n';
    assert.match(await closedBy({ keepAliveTimeout: 300 }, get), /^HTTP\/1\.1 200 /);
  });

  it('a client that stops reading its answer', async () => {
    // Larger than the buffers between the two.
    const answer = Buffer.alloc(64 * 1024 * 1024);
    const answers: ServerResponse[] = [];
    const serve = (idleTimeout: number): Promise<RunningServer> =>
      startServer(
        (_request, response) => {
          answers.push(response);
          response.end(answer);
        },
        { host: '127.0.0.1', port: 0, graceMilliseconds: 0, timeouts: { ...PATIENT, idleTimeout } },
      );
    const [control, impatient] = [await serve(PATIENT.idleTimeout), await serve(300)];
    for (const server of [control, impatient]) ends.push(() => server.drain());
    for (const { url } of [control, impatient]) {
      const { socket } = await client(url, 'GET / HTTP/1.1\r\nHost: kiff.test\r\n\r\n');
      socket.pause();
      while (answers.length < (url === control.url ? 1 : 2)) await new Promise((resolve) => void setImmediate(resolve));
    }
    await once(answers[1]!, 'close');
    assert.equal(answers[0]!.closed, false, 'control: without the time-out it stays open');
  });
});
