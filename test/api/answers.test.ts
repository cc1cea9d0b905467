import assert from 'node:assert/strict';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { assertProblem, recordText, startIngestApi, type Answer, type IngestApi } from './ingest-api.ts';
import { LogSealer, SIGNER } from './seal-log.ts';

describe('what holds for every answer', () => {
  let db: ProductDatabase;
  let api: IngestApi;
  let tenant: TestTenant;
  let sealer: LogSealer;
  let seq: number;

  before(async function () {
    this.timeout(60_000);
    db = await createProductDatabase({ periodSeconds: 1 });
    api = await startIngestApi(db);
    tenant = await db.createTenant({ genesisSigner: SIGNER });
    sealer = new LogSealer(db, tenant);
    await api.post(tenant.apiKey, recordText('a'));
    seq = await sealer.collect();
    await sealer.hash(seq);
    await sealer.sign();
  });
  after(async () => {
    await sealer.close();
    await api.stop();
    await db.drop();
  });

  const get = (path: string, headers: Record<string, string> = {}): Promise<Answer> =>
    api.send(path, { headers: { authorization: `Bearer ${tenant.apiKey}`, ...headers } });

  it('another origin’s page gets nothing: no CORS header anywhere, and a preflight is refused', async () => {
    const origin = 'https://elsewhere.example';
    const preflight = await api.send('/v1/records', {
      method: 'OPTIONS',
      headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization' },
    });
    assertProblem(preflight, 405, 'method-not-allowed');
    const answers = [
      preflight,
      await get('/v1/seals', { origin }),
      await get('/healthz', { origin }),
      await get('/docs', { origin }),
    ];
    for (const { headers } of answers) {
      for (const [name] of headers) assert.doesNotMatch(name, /^access-control-/);
      assert.equal(headers.get('cross-origin-resource-policy'), 'same-origin');
      assert.match(headers.get('content-security-policy') ?? '', /default-src/);
      assert.equal(headers.get('x-content-type-options'), 'nosniff');
    }
  });

  it('what is final has a strong ETag and is not sent twice; what may change has none', async () => {
    const addresses = [`/v1/seals/${seq}`, '/v1/records/a', '/v1/records/a/receipt'];
    for (const level of ['included', 'safe'] as const) {
      await sealer.setLevel(seq, level);
      for (const path of addresses) {
        const { headers } = await get(path);
        assert.deepEqual([path, headers.get('etag'), headers.get('cache-control')], [path, null, 'no-store']);
      }
    }
    await sealer.setLevel(seq, 'final');
    for (const path of addresses) {
      const first = await get(path);
      const etag = first.headers.get('etag') ?? assert.fail(path);
      assert.match(etag, /^"[\w-]{27}"$/);
      assert.equal(first.headers.get('cache-control'), 'private, no-cache');
      const again = await get(path, { 'if-none-match': etag });
      assert.deepEqual([again.status, again.text, again.headers.get('etag')], [304, '', etag]);
      const other = await get(path, { 'if-none-match': '"something-else"' });
      assert.deepEqual([other.status, other.text], [200, first.text]);
      const stranger = await api.send(path, { headers: { 'if-none-match': etag } });
      assert.equal(stranger.status, 401, 'an ETag is no key');
    }
    const etag = (await get('/v1/records/a')).headers.get('etag') ?? '';
    await db.sql(`DELETE FROM ${tenant.role}.bodies`);
    const erased = await get('/v1/records/a', { 'if-none-match': etag });
    assert.deepEqual([erased.status, erased.json.record], [200, null], 'an erased record is not shown from a cache');
  });

  it('a list leads to its end by its Link headers', async () => {
    for (let more = 0; more < 3; more++) await sealer.collect();
    const { seals } = (await get('/v1/seals')).json;
    const seen: number[] = [];
    let path: string | undefined = '/v1/seals?limit=1';
    while (path !== undefined) {
      const { json, headers } = await get(path);
      seen.push(...json.seals.map((seal: { seq: number }) => seal.seq));
      path = /^<(\/v1\/seals\?after=\d+&limit=1)>; rel="next"$/.exec(headers.get('link') ?? '')?.[1];
      assert.equal(path === undefined, json.next === null);
    }
    assert.deepEqual(
      seen.slice(0, seals.length),
      seals.map((seal: { seq: number }) => seal.seq),
    );
  });
});
