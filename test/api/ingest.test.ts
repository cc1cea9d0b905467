import assert from 'node:assert/strict';
import { verifyPromise } from '../../protocol/promise.ts';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { assertProblem, recordText, startIngestApi, type Answer, type IngestApi } from './ingest-api.ts';

describe('POST /v1/records, one record', () => {
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

  const post = (body: string | Uint8Array): Promise<Answer> => api.post(tenant.apiKey, body);
  const size = async (): Promise<number> =>
    (await db.sql<{ size: number }>(`SELECT size FROM ${tenant.role}.log_head`))[0]!.size;

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
    assertProblem(await post(recordText('a', { message: 'other' })), 409, 'id-conflict');
    assertProblem(await post(recordText('a').replace('{', '{ ')), 409, 'id-conflict');
    const stored = await api.get('/v1/records/a', tenant.apiKey);
    assert.ok(stored.text.endsWith(`"record":${recordText('a')}}`));
    assert.equal(await size(), 1);
  });

  it('whose body was erased keeps its id taken', async () => {
    await post(recordText('a'));
    await db.sql(`DELETE FROM ${tenant.role}.bodies`);
    assertProblem(await post(recordText('a')), 409, 'erased');
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
    assertProblem(await post(''), 400, 'empty-body');
    assertProblem(await post('{"id":"a","id":"b"}'), 400, 'duplicate-key');
    assertProblem(await post(Buffer.from([0x7b, 0xff, 0x7d])), 400, 'invalid-utf8');
    assertProblem(await post(`\ufeff${recordText('a')}`), 400, 'byte-order-mark');
    assertProblem(await post('['.repeat(20_000)), 400, 'too-deep');
    assertProblem(await post('[]'), 400, 'not-an-object');
    assertProblem(await post(recordText('a', { pad: 'x'.repeat(64 * 1024) })), 413, 'record-too-large');
    const invalid = await post(recordText('a b', { kind: undefined }));
    assertProblem(invalid, 422, 'invalid-record');
    assert.deepEqual(
      invalid.json.errors.map((error: { pointer: string }) => error.pointer),
      ['/id', '/kind'],
    );
    assert.equal(await size(), 0);
  });
});
