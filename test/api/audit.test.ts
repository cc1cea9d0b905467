import assert from 'node:assert/strict';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { assertProblem, recordText, startIngestApi, type IngestApi } from './ingest-api.ts';
import { randomUser, sessionToken } from './session-tokens.ts';

describe('the audit trail', () => {
  let db: ProductDatabase;
  let api: IngestApi;
  let tenant: TestTenant;
  let organisation: string;
  let auditor: string;
  let time = Date.now();

  before(async function () {
    this.timeout(60_000);
    db = await createProductDatabase();
    api = await startIngestApi(db, { now: () => time });
    tenant = await db.createTenant();
    organisation = await db.createOrganisation(tenant);
    auditor = sessionToken({ organisation, permissions: ['org:audit:read'] });
  });
  after(async () => {
    await api.stop();
    await db.drop();
  });

  const page = async (query = ''): Promise<any> => {
    const answer = await api.get(`/v1/audit${query}`, auditor);
    assert.equal(answer.status, 200);
    return answer.json;
  };
  const refusals = async (): Promise<any[]> =>
    (await page('?limit=1000')).events
      .filter(({ kind }: any) => kind === 'access.refused')
      .map(({ detail }: any) => detail);

  it('is read by who may, and by no key', async () => {
    assert.deepEqual(await page(), { events: [], next: null });
    assertProblem(await api.get('/v1/audit', tenant.apiKey), 403, 'missing-scope');
    const reader = sessionToken({ organisation, permissions: ['org:records:read', 'org:keys:manage'] });
    assertProblem(await api.get('/v1/audit', reader), 403, 'missing-permission');
  });

  it('asking for another tenant’s record is a 404 and an event, before the answer is sent (B15)', async () => {
    const other = await db.createTenant();
    await api.post(other.apiKey, recordText('theirs'));
    assertProblem(await api.get('/v1/records/theirs', tenant.apiKey), 404, 'not-found');
    assert.deepEqual(await refusals(), [{ by: tenant.keyId, askedFor: 'record theirs', times: 1 }]);
    const person = randomUser();
    await api.get('/v1/records/theirs/receipt', sessionToken({ organisation, user: person }));
    assert.deepEqual((await refusals()).at(-1), { by: person, askedFor: 'record theirs', times: 1 });
    const others = await db.sql(`SELECT FROM ${other.role}.events`);
    assert.equal(others.length, 0, 'the other tenant learns nothing, and nobody can fill its trail');
  });

  it('a caller that asks a thousand times leaves an event a minute, with how often', async () => {
    const { key, id } = await db.createKey(tenant);
    const miss = (): Promise<unknown> => api.get(`/v1/records/guess-${Math.random()}`, key);
    const mine = async (): Promise<number[]> =>
      (await refusals()).filter(({ by }) => by === id).map(({ times }) => times as number);
    await miss();
    await Promise.all([miss(), miss(), miss()]);
    assert.deepEqual(await mine(), [1]);
    time += 60_000;
    await miss();
    assert.deepEqual(await mine(), [1, 4]);
    await miss();
    await api.report();
    assert.deepEqual(await mine(), [1, 4, 1], 'what was only counted is written when the process reports');
  });

  it('without the event there is no answer: a database that cannot write is a 503', async () => {
    const reader = await db.createKey(tenant);
    assert.equal((await api.get('/v1/seals', reader.key)).status, 200, 'the key is known now');
    await db.sql(`ALTER ROLE ${tenant.role} SET default_transaction_read_only = on`);
    const fresh = await startIngestApi(db);
    try {
      assertProblem(await fresh.get('/v1/records/nothing', reader.key), 503, 'unavailable');
    } finally {
      await fresh.stop();
      await db.sql(`ALTER ROLE ${tenant.role} RESET default_transaction_read_only`);
    }
  });

  it('is paged by a cursor that misses nothing, also while others append', async () => {
    const writers = await Promise.all(Array.from({ length: 4 }, () => db.connect(tenant.url)));
    let open = writers.length;
    const writing = writers.map(async (client, who) => {
      for (let n = 0; n < 25; n++) {
        await client.query(`SELECT ${tenant.role}.note_refusal($1, 'test', 1)`, [`paged ${who} ${n}`]);
      }
      open--;
    });
    const seen = new Set<string>();
    let after = 0;
    for (let last = false; !last;) {
      last = open === 0;
      for (;;) {
        const { events, next } = await page(`?after=${after}&limit=7`);
        for (const { id, detail } of events) {
          assert.ok(id > after);
          after = id;
          if (detail.askedFor.startsWith('paged')) seen.add(detail.askedFor);
        }
        if (next === null) break;
        assert.equal(next, after);
      }
    }
    await Promise.all(writing);
    assert.equal(seen.size, 100);
  });

  it('refuses pages that cannot be', async () => {
    for (const query of ['?after=-1', '?after=x', '?limit=0', '?limit=1001', '?after=1&after=2', `?after=1'--`]) {
      assertProblem(await api.get(`/v1/audit${query}`, auditor), 422, 'invalid-parameter');
    }
    assert.deepEqual(await page('?after=999999999999999'), { events: [], next: null });
  });

  it('is appended to by functions alone, and changed by nobody', async () => {
    const client = await db.connect(tenant.url);
    for (const statement of [
      `INSERT INTO ${tenant.role}.events (kind) VALUES ('made.up')`,
      `UPDATE ${tenant.role}.events SET detail = '{}'`,
      `DELETE FROM ${tenant.role}.events`,
      `SELECT ${tenant.role}.append_event('key.created', '{}')`,
    ]) {
      await assert.rejects(client.query(statement), { code: '42501' }, statement);
    }
    await client.end();
  });
});
