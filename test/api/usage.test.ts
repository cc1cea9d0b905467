import assert from 'node:assert/strict';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { assertProblem, recordText, startIngestApi, type IngestApi } from './ingest-api.ts';
import { LogSealer, SIGNER } from './seal-log.ts';

const HOUR = 3_600_000;

describe('/v1/usage', () => {
  let db: ProductDatabase;
  let api: IngestApi;
  let tenant: TestTenant;

  before(async function () {
    this.timeout(60_000);
    db = await createProductDatabase({ periodSeconds: 1 });
    api = await startIngestApi(db);
    tenant = await db.createTenant({ genesisSigner: SIGNER });
  });
  after(async () => {
    await api.stop();
    await db.drop();
  });

  const usage = async (query = '') => (await api.get(`/v1/usage${query}`, tenant.apiKey)).json;

  it('tells what was posted, refused and read, and what of it is approximate', async () => {
    const posted = ['a', 'b', 'b'].map((id) => recordText(id));
    await api.postLines(tenant.apiKey, posted.join('\n'));
    const sealer = new LogSealer(db, tenant);
    const seq = await sealer.collect();
    await sealer.hash(seq);
    await sealer.sign();
    assert.equal((await api.get('/v1/records/a/receipt', tenant.apiKey)).status, 202, 'not a receipt yet');
    await sealer.setLevel(seq, 'final');
    for (const id of ['a', 'b']) assert.equal((await api.get(`/v1/records/${id}/receipt`, tenant.apiKey)).status, 200);
    await sealer.close();
    assert.equal((await api.post(tenant.apiKey, '{}')).status, 422);
    assert.equal((await api.get('/v1/records/none', tenant.apiKey)).status, 404);
    assert.equal((await api.get('/v1/seals', 'kiff_live_acme_x')).status, 401, 'nobody’s');

    const exact = { records: 2, bytes: posted[0]!.length * 2, duplicates: 1 };
    const now = await usage();
    assert.deepEqual(now.totals, { ...exact, rejectedRequests: 0, receiptsRead: 0 }, 'the rest is still in memory');
    await api.report();
    const then = await usage();
    const totals = { ...exact, rejectedRequests: 2, receiptsRead: 2 };
    assert.deepEqual(then.totals, totals);
    assert.deepEqual(then.approximate, ['rejectedRequests', 'receiptsRead']);
    assert.deepEqual([then.hours.length, then.next], [1, null]);
    assert.equal(Date.parse(then.to) - Date.parse(then.from), 24 * HOUR);
    const { hour, ...counted } = then.hours[0];
    assert.deepEqual(counted, totals);
    assert.equal(Date.parse(hour) % HOUR, 0);

    const mine = (await api.get('/v1/me/usage', tenant.apiKey)).json;
    assert.deepEqual(mine.counters, {
      records: 2,
      bytes: exact.bytes,
      duplicates: 1,
      rejected_requests_approximate: 2,
      receipts_read_approximate: 2,
    });
    assert.deepEqual([mine.plan, mine.monthly_proposal_limit], ['', 0]);
    assert.match(mine.from, /^\d{4}-\d\d-01T00:00:00\.000Z$/);

    const other = await db.createTenant();
    assert.deepEqual((await api.get('/v1/usage', other.apiKey)).json.totals.records, 0, 'another tenant’s');
  });

  it('comes in pages of hours', async () => {
    const login = await db.connect(tenant.url);
    for (let hour = 0; hour < 5; hour++) {
      await login.query(
        `SELECT kiff.note_usage('2026-01-01T00:30:00Z'::timestamptz + $1::integer * interval '1 hour', $1::integer + 1, 0)`,
        [hour],
      );
    }
    const range = 'from=2026-01-01T00:00:00Z&to=2026-01-01T05:00:00%2B00:00';
    const seen: number[] = [];
    let address: string | undefined = `/v1/usage?${range}&limit=2`;
    for (let page = 0; address !== undefined; page++) {
      const { json, headers } = await api.get(address, tenant.apiKey);
      seen.push(...json.hours.map(({ rejectedRequests }: { rejectedRequests: number }) => rejectedRequests));
      address = /^<(.*)>; rel="next"$/.exec(headers.get('link') ?? '')?.[1];
      assert.equal(address === undefined, json.next === null);
      assert.ok(page < 3);
    }
    assert.deepEqual(seen, [1, 2, 3, 4, 5]);
    assert.equal((await usage(`?${range}`)).totals.rejectedRequests, 15);
    assert.equal((await usage('?from=2026-01-01T01:00:00Z&to=2026-01-01T03:00:00Z')).totals.rejectedRequests, 5);
  });

  it('refuses what is no range of time', async () => {
    for (const query of [
      'from=yesterday',
      'to=2026-13-01T00:00:00Z',
      'from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z',
      'limit=0',
      'limit=1001',
    ]) {
      assertProblem(await api.get(`/v1/usage?${query}`, tenant.apiKey), 422, 'invalid-parameter');
    }
    const writer = await db.createKey(tenant, { scopes: ['ingest'] });
    assertProblem(await api.get('/v1/usage', writer.key), 403, 'missing-scope');
  });
});
