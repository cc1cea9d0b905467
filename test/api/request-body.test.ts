import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { createGunzip, deflateSync, gzipSync } from 'node:zlib';
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
    assertProblem(await api.postLines(tenant.apiKey, body), 413, 'body-too-large');
  });

  it('whose declared length is too large is refused before a byte of it is sent (B5)', async () => {
    const request = httpRequest(`${api.url}/v1/records`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${tenant.apiKey}`,
        'content-type': NDJSON,
        'content-length': 5 * 1024 * 1024 + 1,
      },
    });
    request.flushHeaders();
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    assert.equal(response.statusCode, 413);
    request.on('error', () => undefined).destroy();
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

  const gzipped = (body: Uint8Array, type = JSON_TYPE): Promise<Answer> =>
    post(body, { 'content-type': type, 'content-encoding': 'gzip' });

  it('may be gzip or identity, and nothing else (B6)', async () => {
    const plain = Buffer.from(recordText('g'));
    for (const encoding of ['x-unknown', 'gzip, identity', 'gzip, gzip', 'x-gzip', 'br', 'deflate']) {
      const answer = await post(plain, { 'content-type': JSON_TYPE, 'content-encoding': encoding });
      assertProblem(answer, 415, 'unsupported-encoding');
      assert.equal(answer.headers.get('accept-encoding'), 'gzip, identity');
    }
    const identity = { 'content-type': JSON_TYPE, 'content-encoding': 'Identity' };
    assert.equal((await post(plain, identity)).status, 201);
    assert.equal((await gzipped(gzipSync(plain))).status, 200, 'the same record, compressed, is a duplicate');
    const members = Buffer.concat([gzipSync(plain.subarray(0, 9)), gzipSync(plain.subarray(9))]);
    assert.equal((await gzipped(members)).status, 200, 'members follow one another (RFC 1952 section 2.2)');
    const lines = await gzipped(gzipSync(`${recordText('h')}\n${recordText('i')}`), NDJSON);
    assert.deepEqual(
      lines.json.map((item: { status: string }) => item.status),
      ['accepted', 'accepted'],
    );
  });

  it('that is no whole gzip data is refused, and nothing of it is stored (B6)', async () => {
    const plain = recordText('broken');
    const whole = gzipSync(plain);
    const flipped = Buffer.from(whole);
    flipped[flipped.length - 6]! ^= 1;
    const broken: Record<string, Uint8Array> = {
      'no gzip at all': Buffer.from(plain),
      zlib: deflateSync(plain),
      cut: whole.subarray(0, -1),
      'a wrong checksum': flipped,
      'text behind it': Buffer.concat([whole, Buffer.from('{"id":"hidden"}')]),
      'zeros behind it': Buffer.concat([whole, Buffer.alloc(100)]),
      'half a member behind it': Buffer.concat([whole, whole.subarray(0, 20)]),
    };
    for (const [name, body] of Object.entries(broken)) {
      for (const type of [JSON_TYPE, NDJSON]) {
        const answer = await gzipped(body, type);
        assert.equal(answer.json.type, 'https://kiff.dev/problems/malformed-encoding', name);
        assertProblem(answer, 400, 'malformed-encoding');
      }
    }
    assertProblem(await gzipped(new Uint8Array(0)), 400, 'malformed-encoding');
    assertProblem(await gzipped(gzipSync('')), 400, 'empty-body');
    assert.equal((await api.get('/v1/records/broken', tenant.apiKey)).status, 404);
  });

  it('is bounded by what comes out of it, and a bomb does not expand (B6)', async () => {
    const exact = gzipSync(Buffer.alloc(5 * 1024 * 1024, ' '));
    assertProblem(await gzipped(exact, NDJSON), 400, 'empty-body');
    assertProblem(await gzipped(gzipSync(Buffer.alloc(5 * 1024 * 1024 + 1, ' ')), NDJSON), 413, 'body-too-large');

    const bomb = Buffer.concat(Array<Buffer>(32).fill(gzipSync(Buffer.alloc(16 * 1024 * 1024))));
    const peak = process.resourceUsage().maxRSS;
    for (const type of [JSON_TYPE, NDJSON]) assertProblem(await gzipped(bomb, type), 413, 'body-too-large');
    const growth = (process.resourceUsage().maxRSS - peak) / 1024;
    assert.ok(growth < 128, `the process grew by ${growth} MiB`);

    let size = 0;
    for await (const chunk of Readable.from([bomb]).pipe(createGunzip())) size += (chunk as Buffer).length;
    assert.equal(size, 512 * 1024 * 1024, 'control: it is a bomb');
  });

  it('that decompresses to nothing is bounded as it is sent', async () => {
    const nothing = Buffer.concat(Array<Buffer>(5 * 1024 * 64).fill(gzipSync('')));
    assert.ok(nothing.length > 5 * 1024 * 1024);
    const answer = await api.post(tenant.apiKey, Readable.toWeb(Readable.from([nothing])), {
      'content-type': NDJSON,
      'content-encoding': 'gzip',
    });
    assertProblem(answer, 413, 'body-too-large');
  });
});
