import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { verifyPromise } from '../../protocol/promise.ts';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { assertProblem, recordText, startIngestApi, type Answer, type IngestApi } from './ingest-api.ts';

function manyRecords(name: string): string {
  return Array.from({ length: 250 }, (_, at) => recordText(`${name}-${at}`)).join('\n');
}

describe('POST /v1/records, many as NDJSON', () => {
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

  const post = (body: string): Promise<Answer> => api.post(tenant.apiKey, body);

  const size = async (): Promise<number> =>
    (await db.sql<{ size: number }>(`SELECT size FROM ${tenant.role}.log_head`))[0]!.size;

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
    const items = answer.json as Record<string, any>[];
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
    const answers = await Promise.all(
      ['a', 'b', 'c', 'd'].map((name) => api.postLines(tenant.apiKey, manyRecords(name))),
    );
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
    assertProblem(await api.postLines(tenant.apiKey, ' \r\n\n'), 400, 'empty-body');
    assertProblem(await api.postLines(tenant.apiKey, '{}\n'.repeat(1_001)), 413, 'too-many-records');
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

  it('with one record too large refuse that line, however long it is (B5)', async () => {
    const pad = 'x'.repeat(64 * 1024 - recordText('a', { pad: '' }).length);
    const lines = [
      recordText('a', { pad }),
      recordText('b', { pad: `${pad}x` }),
      'x'.repeat(2_000_000),
      recordText('c'),
    ];
    const answer = await api.postLines(tenant.apiKey, lines.join('\n'));
    assert.deepEqual(
      answer.json.map((item: { status: string; problem?: { title: string } }) => item.problem?.title ?? item.status),
      ['accepted', 'The record is too large', 'The record is too large', 'accepted'],
    );
  });

  it('of 5 MiB are stored in the order of their lines', async () => {
    const lines = Array.from({ length: 80 }, (_, at) => recordText(`big-${at}`, { pad: 'x'.repeat(65_000) }));
    const answer = await api.postLines(tenant.apiKey, lines.join('\n'));
    assert.deepEqual(
      answer.json.map((item: { id: string; leafIndex: number }) => [item.id, item.leafIndex]),
      lines.map((_, at) => [`big-${at}`, at]),
    );
    assert.equal(answer.headers.get('content-length'), String(Buffer.byteLength(answer.text)));
  });

  it('past a limit on the way are refused; what was stored by then is a duplicate when it comes again', async () => {
    const lines = Array.from({ length: 40 }, (_, at) => recordText(`r-${at}`, { pad: 'x'.repeat(60_000) }));
    const tooMany = `${lines.join('\n')}\n${'{}\n'.repeat(961)}`;
    assertProblem(await api.postLines(tenant.apiKey, tooMany), 413, 'too-many-records');
    const stored = await size();
    assert.ok(stored > 0 && stored < 40, `${stored} are stored`);
    const again = await api.postLines(tenant.apiKey, lines.join('\n'));
    assert.deepEqual(
      again.json.map((item: { status: string; leafIndex: number }) => [item.status, item.leafIndex]),
      lines.map((_, at) => [at < stored ? 'duplicate' : 'accepted', at]),
    );
  });

  it('of a client that goes away mid-body: what came is stored or not, the retry is whole, nobody else notices', async () => {
    const lines = Array.from({ length: 40 }, (_, at) => recordText(`gone-${at}`, { pad: 'x'.repeat(60_000) }));
    const request = httpRequest(`${api.url}/v1/records`, {
      method: 'POST',
      headers: { authorization: `Bearer ${tenant.apiKey}`, 'content-type': 'application/x-ndjson' },
    });
    request.on('error', () => undefined);
    request.write(lines.slice(0, 30).join('\n'));
    while ((await size()) === 0);
    request.destroy();
    while (!api.logged().includes('"status":"aborted"')) await nextTurn();
    assert.equal((await post(recordText('neighbour'))).status, 201);
    assert.doesNotMatch(api.logged(), /http\.problem/);

    const again = await api.postLines(tenant.apiKey, lines.join('\n'));
    const statuses = again.json.map((item: { status: string }) => item.status);
    assert.deepEqual(new Set(statuses), new Set(['duplicate', 'accepted']));
    assert.equal(await size(), 41);
  });

  it('whose answer nobody reads are stored all the same, and answered as duplicates', async () => {
    const socket = connect(Number(new URL(api.url).port), '127.0.0.1');
    const text = `${recordText('unread')}\n`;
    const head = [
      'POST /v1/records HTTP/1.1',
      'Host: kiff.test',
      `Authorization: Bearer ${tenant.apiKey}`,
      'Content-Type: application/x-ndjson',
      `Content-Length: ${text.length}`,
    ];
    socket.write(`${head.join('\r\n')}\r\n\r\n${text}`);
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    while ((await size()) === 0);
    socket.resetAndDestroy();
    const again = await api.postLines(tenant.apiKey, text);
    assert.deepEqual([again.json[0].status, again.json[0].leafIndex], ['duplicate', 0]);
  });
});
