import assert from 'node:assert/strict';
import { gzipSync } from 'node:zlib';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { assertProblem, recordText, startIngestApi, type Answer, type IngestApi } from './ingest-api.ts';

const JSON_TYPE = 'application/json';
const NDJSON = 'application/x-ndjson';

describe('the body of a request', () => {
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

  const post = (body: string | Uint8Array, headers?: Record<string, string>): Promise<Answer> =>
    api.post(tenant.apiKey, body, headers);

  it('may have 5 MiB and not a byte more (B5)', async () => {
    const line = `${recordText('x', { pad: 'x'.repeat(60_000) })}\n`;
    const lines = line.repeat(Math.floor((5 * 1024 * 1024) / line.length));
    const exact = lines.padEnd(5 * 1024 * 1024, ' ');
    assert.equal((await api.postLines(tenant.apiKey, exact)).status, 200);
    assertProblem(await api.postLines(tenant.apiKey, `${exact} `), 413, 'body-too-large');
  });

  it('without a length is bounded too (B5)', async () => {
    const chunk = new Uint8Array(64 * 1024).fill(0x20);
    let sent = 0;
    const body = new ReadableStream({
      pull(controller) {
        if (++sent > 81) controller.close();
        else controller.enqueue(chunk);
      },
    });
    const response = await fetch(`${api.url}/v1/records`, {
      method: 'POST',
      body,
      duplex: 'half',
      headers: { authorization: `Bearer ${tenant.apiKey}`, 'content-type': NDJSON },
    });
    assert.equal(response.status, 413);
  });

  const types: [string, number][] = [
    [JSON_TYPE, 201],
    ['Application/JSON', 201],
    ['application/json; charset=utf-8', 201],
    ['application/json;charset="UTF-8"', 201],
    ['application/json; charset=iso-8859-1', 415],
    ['application/json; charset=utf-16', 415],
    ['application/json; charset=utf-8; charset=utf-16', 415],
    ['application/jsonp', 415],
    ['text/plain', 415],
    ['application/x-www-form-urlencoded', 415],
    ['', 415],
  ];
  for (const [type, status] of types) {
    it(`as "${type}" gets ${status} (B3)`, async () => {
      const answer = await post(Buffer.from(recordText('t')), { 'content-type': type });
      if (status === 201) assert.equal(answer.status, 201);
      else assertProblem(answer, 415, 'unsupported-media-type');
    });
  }

  it('with a content encoding is refused; identity is none (B6)', async () => {
    const plain = Buffer.from(recordText('g'));
    const bodies = { gzip: gzipSync(plain), 'x-unknown': plain, 'gzip, identity': plain };
    for (const [encoding, body] of Object.entries(bodies)) {
      const answer = await post(body, { 'content-type': JSON_TYPE, 'content-encoding': encoding });
      assertProblem(answer, 415, 'unsupported-encoding');
    }
    const identity = { 'content-type': JSON_TYPE, 'content-encoding': 'identity' };
    assert.equal((await post(plain, identity)).status, 201);
  });
});
