import assert from 'node:assert/strict';
import { gzipSync } from 'node:zlib';
import { verifyPromise } from '../../protocol/promise.ts';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { recordText, startIngestApi, type Answer, type IngestApi } from './ingest-api.ts';

const JSON_TYPE = 'application/json';
const NDJSON = 'application/x-ndjson';

describe('POST /v1/records', () => {
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
  const problem = (answer: Answer, status: number, slug: string): void => {
    assert.deepEqual([answer.status, answer.json.type], [status, `https://kiff.dev/problems/${slug}`]);
    assert.match(answer.headers.get('content-type') ?? '', /^application\/problem\+json/);
    assert.equal(answer.json.status, status);
    assert.equal(answer.json.error, answer.json.detail);
    assert.equal(answer.json.requestId, answer.headers.get('x-request-id'));
  };
  const size = async (): Promise<number> =>
    (await db.sql<{ size: number }>(`SELECT size FROM ${tenant.role}.log_head`))[0]!.size;

  describe('one record', () => {
    it('is accepted with its place, its level and a promise that the key signed', async () => {
      const answer = await post(recordText('a-1'));
      assert.equal(answer.status, 201);
      assert.equal(answer.headers.get('location'), '/v1/records/a-1');
      const { promise, leafHash, receivedAt, sealBy, ...rest } = answer.json;
      assert.deepEqual(rest, { id: 'a-1', status: 'accepted', level: 'accepted', leafIndex: 0 });
      assert.deepEqual(promise, {
        origin: tenant.origin,
        leafIndex: 0,
        leafHash,
        sealBy,
        signature: promise.signature,
      });
      assert.ok(verifyPromise(promise, api.promises.publicKey));
      assert.ok(!verifyPromise({ ...promise, leafIndex: 1 }, api.promises.publicKey));
      const received = Date.parse(receivedAt) / 1000;
      assert.equal(sealBy, Math.floor(received / db.periodSeconds) * db.periodSeconds + 2 * db.periodSeconds);

      const [row] = await db.sql<{ entry: string; hash: string; body: string }>(
        `SELECT convert_from(entry, 'UTF8') AS entry, encode(sha256('\\x00'::bytea || entry), 'hex') AS hash,
                convert_from(body, 'UTF8') AS body
           FROM ${tenant.role}.records JOIN ${tenant.role}.bodies USING (leaf_index)`,
      );
      assert.equal(`0x${row!.hash}`, leafHash);
      assert.equal(row!.body, `{"attribution":null,"record":${recordText('a-1')}}`);
      const entry = JSON.parse(row!.entry) as Record<string, unknown>;
      assert.deepEqual(
        { ...entry, commitment: null },
        { v: 1, id: 'a-1', received_at: receivedAt, key: tenant.keyId, commitment: null },
      );
    });

    it('is a duplicate the second time: the same answer, nothing stored', async () => {
      const first = await post(recordText('a'));
      const second = await post(` ${recordText('a')}\n`);
      assert.equal(second.status, 200);
      assert.deepEqual(second.json, { ...first.json, status: 'duplicate' });
      assert.equal(await size(), 1);
    });

    it('conflicts under the same id with other bytes; the original stands (B10)', async () => {
      await post(recordText('a'));
      problem(await post(recordText('a', { message: 'other' })), 409, 'id-conflict');
      problem(await post(recordText('a').replace('{', '{ ')), 409, 'id-conflict');
      const stored = await api.get('/v1/records/a', tenant.apiKey);
      assert.ok(stored.text.endsWith(`"record":${recordText('a')}}`));
      assert.equal(await size(), 1);
    });

    it('whose body was erased keeps its id taken', async () => {
      await post(recordText('a'));
      await db.sql(`DELETE FROM ${tenant.role}.bodies`);
      problem(await post(recordText('a')), 409, 'erased');
      const stored = await api.get('/v1/records/a', tenant.apiKey);
      assert.deepEqual([stored.status, stored.json.record, stored.json.leafIndex], [200, null, 0]);
    });

    it('posted 100 times at once is accepted once and 99 times a duplicate, with one index (B9)', async () => {
      const answers = await Promise.all(Array.from({ length: 100 }, () => post(recordText('same'))));
      assert.equal(answers.filter(({ status }) => status === 201).length, 1);
      assert.equal(answers.filter(({ status, json }) => status === 200 && json.status === 'duplicate').length, 99);
      assert.deepEqual(new Set(answers.map(({ json }) => `${json.leafIndex} ${json.leafHash}`)).size, 1);
      assert.equal(await size(), 1);
    });

    it('keeps its bytes, whatever a parser would make of them (B7, B12)', async () => {
      const text = recordText('n')
        .slice(0, -1)
        .concat(
          ',"big":123456789012345678901234567890,"huge":1e400,"zero":-0,"same":1.0,"é":"\\u00e9\\/",',
          '"__proto__":{"a":1},"constructor":{"prototype":{"polluted":true}} , "d" : [ 1,2 ] }',
        );
      assert.equal((await post(text)).status, 201);
      const { text: answer } = await api.get('/v1/records/n', tenant.apiKey);
      assert.ok(answer.endsWith(`,"record":${text}}`));
      assert.equal(({} as Record<string, unknown>)['polluted'], undefined);
    });

    it('may carry SQL in every string; it is text (B16)', async () => {
      const evil = `'; RESET ROLE; SET ROLE kiff_owner; DROP TABLE ${tenant.role}.records; --\\u0000`;
      const text = recordText('sql', {
        kind: evil,
        entity_id: evil,
        entity_type: evil,
        actor_id: evil,
        message: evil,
        data: { [evil]: evil },
        trace_id: evil,
      });
      assert.equal((await post(text)).status, 201);
      assert.ok((await api.get('/v1/records/sql', tenant.apiKey)).text.endsWith(`,"record":${text}}`));
      const roles = await db.sql(`SELECT FROM pg_stat_activity WHERE usename = $1`, [tenant.role]);
      assert.ok(roles.length > 0);
    });

    it('that is bad is refused with its own problem, and nothing is stored', async () => {
      problem(await post(''), 400, 'empty-body');
      problem(await post('{"id":"a","id":"b"}'), 400, 'duplicate-key');
      problem(await post(Buffer.from([0x7b, 0xff, 0x7d])), 400, 'invalid-utf8');
      problem(await post(`\ufeff${recordText('a')}`), 400, 'byte-order-mark');
      problem(await post('['.repeat(20_000)), 400, 'too-deep');
      problem(await post('[]'), 400, 'not-an-object');
      problem(await post(recordText('a', { pad: 'x'.repeat(64 * 1024) })), 413, 'record-too-large');
      const invalid = await post(recordText('a b', { kind: undefined }));
      problem(invalid, 422, 'invalid-record');
      assert.deepEqual(
        invalid.json.errors.map((error: { pointer: string }) => error.pointer),
        ['/id', '/kind'],
      );
      assert.equal(await size(), 0);
    });
  });

  describe('many records as NDJSON', () => {
    it('get one answer per line, in order (B11: CRLF, blank lines, no final newline, one bad line)', async () => {
      await post(recordText('old'));
      await post(recordText('taken'));
      const lines = [
        `${recordText('a')}\r`,
        '',
        recordText('old'),
        '   \t',
        '{"id":"a","id":"b"}',
        recordText('taken', { message: 'x' }),
        recordText('a'),
        recordText('b b'),
        recordText('c'),
      ];
      const answer = await api.postLines(tenant.apiKey, lines.join('\n'));
      assert.equal(answer.status, 200);
      assert.match(answer.headers.get('content-type') ?? '', /^application\/x-ndjson/);
      const items = answer.json as Record<string, any>[]; // oxlint-disable-line typescript/no-explicit-any
      assert.deepEqual(
        items.map((item) => [
          item['line'],
          item['id'],
          item['status'],
          item['leafIndex'],
          item['problem']?.type?.split('/').at(-1),
        ]),
        [
          [1, 'a', 'accepted', 2, undefined],
          [3, 'old', 'duplicate', 0, undefined],
          [5, undefined, 'rejected', undefined, 'duplicate-key'],
          [6, 'taken', 'rejected', undefined, 'id-conflict'],
          [7, 'a', 'duplicate', 2, undefined],
          [8, undefined, 'rejected', undefined, 'invalid-record'],
          [9, 'c', 'accepted', 3, undefined],
        ],
      );
      for (const item of items) {
        if (item['status'] !== 'rejected') assert.ok(verifyPromise(item['promise'], api.promises.publicKey));
      }
      assert.equal(items[4]!['level'], 'accepted');
      assert.equal(await size(), 4);
    });

    it('keep their order and are gapless, also when several bodies come at once', async () => {
      const body = (name: string): string =>
        Array.from({ length: 250 }, (_, at) => recordText(`${name}-${at}`)).join('\n');
      const answers = await Promise.all(['a', 'b', 'c', 'd'].map((name) => api.postLines(tenant.apiKey, body(name))));
      const indexes = answers.flatMap(({ json }) => json.map((item: { leafIndex: number }) => item.leafIndex));
      assert.deepEqual(
        indexes.toSorted((x, y) => x - y),
        Array.from({ length: 1_000 }, (_, at) => at),
      );
      for (const { json } of answers) {
        for (const [at, item] of json.entries()) assert.equal(item.leafIndex, json[0].leafIndex + at);
      }
    });

    it('are refused as a whole when nothing is in them, or too much (B5)', async () => {
      problem(await api.postLines(tenant.apiKey, ' \r\n\n'), 400, 'empty-body');
      problem(await api.postLines(tenant.apiKey, `${'{}\n'.repeat(1_001)}`), 413, 'too-many-records');
      const all = await api.postLines(tenant.apiKey, `\n${'{}\n\n'.repeat(1_000)}`);
      assert.deepEqual([all.status, all.json.length, all.json.at(-1).line], [200, 1_000, 2_000]);
    });

    it('may be all bad: each line says why', async () => {
      const answer = await api.postLines(tenant.apiKey, 'x\n\ufeff{}\n');
      assert.deepEqual(
        answer.json.map((item: { problem: { type: string } }) => item.problem.type.split('/').at(-1)),
        ['malformed-json', 'byte-order-mark'],
      );
    });
  });

  describe('the body', () => {
    it('may have 5 MiB and not a byte more (B5)', async () => {
      const line = `${recordText('x', { pad: 'x'.repeat(60_000) })}\n`;
      const lines = line.repeat(Math.floor((5 * 1024 * 1024) / line.length));
      const exact = lines.padEnd(5 * 1024 * 1024, ' ');
      assert.equal((await api.postLines(tenant.apiKey, exact)).status, 200);
      problem(await api.postLines(tenant.apiKey, `${exact} `), 413, 'body-too-large');
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
      } as RequestInit);
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
        else problem(answer, 415, 'unsupported-media-type');
      });
    }

    it('with a content encoding is refused; identity is none (B6)', async () => {
      const encoded = (encoding: string, body: Uint8Array): Promise<Answer> =>
        post(body, { 'content-type': JSON_TYPE, 'content-encoding': encoding });
      const plain = Buffer.from(recordText('g'));
      problem(await encoded('gzip', gzipSync(plain)), 415, 'unsupported-encoding');
      problem(await encoded('x-unknown', plain), 415, 'unsupported-encoding');
      assert.equal((await encoded('identity', plain)).status, 201);
    });
  });

  it('is the only method there (405), and other addresses are not found (404)', async () => {
    for (const [path, allow] of [
      ['/v1/records', 'POST'],
      ['/v1/seals', 'GET, HEAD'],
      ['/healthz', 'GET, HEAD'],
    ] as const) {
      const response = await fetch(api.url + path, { method: 'DELETE' });
      assert.deepEqual([response.status, response.headers.get('allow')], [405, allow]);
    }
    problem(await api.get('/v1/nothing', tenant.apiKey), 404, 'not-found');
    problem(await api.get('/v1/records/%E0%A4%A', tenant.apiKey), 400, 'bad-request');
  });

  it('names each request, keeps a well-formed given name, and does not say what it runs on', async () => {
    const given = await fetch(`${api.url}/healthz`, { headers: { 'x-request-id': 'trace-1' } });
    assert.equal(given.headers.get('x-request-id'), 'trace-1');
    const odd = await fetch(`${api.url}/healthz`, { headers: { 'x-request-id': 'a b"<' } });
    assert.match(odd.headers.get('x-request-id') ?? '', /^[0-9a-f-]{36}$/);
    assert.equal(odd.headers.get('x-powered-by'), null);
    assert.equal(odd.headers.get('x-content-type-options'), 'nosniff');
  });
});

describe('GET /v1/records/{id}', () => {
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
    assert.deepEqual((await api.get('/v1/seals', tenant.apiKey)).json, { seals: [], next: null });
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
});
