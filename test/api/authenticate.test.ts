import assert from 'node:assert/strict';
import { createApiKey } from '../../api/ingest/api-key.ts';
import { TENANT_SCHEMA_VERSION } from '../../api/access/tenant-state.ts';
import { createAuthenticate } from '../../api/ingest/authenticate.ts';
import { readMigrations } from '../../sql/migrate.ts';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { recordText, startIngestApi, type IngestApi } from './ingest-api.ts';
import { verifySession } from './session-tokens.ts';

describe('authentication', () => {
  let db: ProductDatabase;
  let api: IngestApi;
  let tenant: TestTenant;
  let time = Date.now();

  before(async function () {
    this.timeout(60_000);
    db = await createProductDatabase();
    api = await startIngestApi(db, { now: () => time });
    tenant = await db.createTenant();
  });
  after(async () => {
    await api.stop();
    await db.drop();
  });

  const refused = async (key: string | undefined): Promise<void> => {
    const answer = await api.get('/v1/seals', key);
    assert.equal(answer.status, 401);
    assert.equal(answer.headers.get('www-authenticate'), 'Bearer');
    assert.equal(answer.json.type, 'https://kiff.dev/problems/unauthorized');
    assert.equal(answer.json.error, answer.json.detail);
  };

  it('lets a key in (control), and looks it up once for many requests at a time', async () => {
    const lookups = api.keyLookups();
    const answers = await Promise.all(Array.from({ length: 20 }, () => api.get('/v1/seals', tenant.apiKey)));
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
    assert.equal(api.keyLookups() - lookups, 1);
  });

  it('refuses no key, other schemes, mistyped and over-long keys without a lookup (B13)', async () => {
    const lookups = api.keyLookups();
    const mistyped = tenant.apiKey.slice(0, -1) + (tenant.apiKey.endsWith('0') ? '1' : '0');
    for (const key of [undefined, '', 'x', mistyped, tenant.apiKey.repeat(150), `${tenant.apiKey} x`])
      await refused(key);
    const basic = await fetch(`${api.url}/v1/seals`, { headers: { authorization: `Basic ${tenant.apiKey}` } });
    assert.equal(basic.status, 401);
    assert.equal(api.keyLookups(), lookups);
  });

  it('refuses unknown, expired and revoked keys (B13)', async () => {
    await refused(createApiKey(tenant.id).key);
    await refused((await db.createKey(tenant, { expiresAt: new Date(time - 1) })).key);
    const { id, key } = await db.createKey(tenant, { expiresAt: new Date(time + 3_600_000) });
    assert.equal((await api.get('/v1/seals', key)).status, 200);
    await db.sql('UPDATE kiff.api_keys SET revoked_at = now() WHERE id = $1', [id]);
    time += 5_000; // the time by which a revocation counts in every process
    await refused(key);
  });

  it('a key that expires is refused even while it is remembered', async () => {
    const { key } = await db.createKey(tenant, { expiresAt: new Date(time + 1_000) });
    assert.equal((await api.get('/v1/seals', key)).status, 200);
    time += 1_000;
    await refused(key);
  });

  it('a made-up key is not remembered: it works once it exists', async () => {
    const made = createApiKey(tenant.id);
    await refused(made.key);
    await db.sql('INSERT INTO kiff.api_keys (id, tenant, hash) VALUES ($1, $2, $3)', [made.id, tenant.id, made.hash]);
    assert.equal((await api.get('/v1/seals', made.key)).status, 200);
  });

  it('honours scopes', async () => {
    const reader = await db.createKey(tenant, { scopes: ['read'] });
    const writer = await db.createKey(tenant, { scopes: ['ingest'] });
    const post = await api.post(reader.key, recordText('scope-1'));
    assert.deepEqual([post.status, post.json.type], [403, 'https://kiff.dev/problems/missing-scope']);
    assert.equal((await api.get('/v1/seals', writer.key)).status, 403);
    assert.equal((await api.get('/v1/seals', reader.key)).status, 200);
    assert.equal((await api.post(writer.key, recordText('scope-1'))).status, 201);
  });

  it('honours the state of the tenant', async () => {
    const young = await db.createTenant({ activate: false });
    const early = await api.post(young.apiKey, recordText('a'));
    assert.deepEqual([early.status, early.json.type], [503, 'https://kiff.dev/problems/tenant-not-ready']);
    assert.equal(early.headers.get('retry-after'), '5');

    const paused = await db.createTenant();
    assert.equal((await api.post(paused.apiKey, recordText('a'))).status, 201);
    time += 5_000;
    await db.sql(`UPDATE kiff.tenants SET status = 'paused' WHERE id = $1`, [paused.id]);
    const halted = await api.post(paused.apiKey, recordText('b'));
    assert.deepEqual([halted.status, halted.json.type], [503, 'https://kiff.dev/problems/tenant-not-ready']);
    assert.equal((await api.get('/v1/seals', paused.apiKey)).status, 200);

    await db.sql(`UPDATE kiff.tenants SET status = 'ended' WHERE id = $1`, [paused.id]);
    time += 5_000;
    assert.equal((await api.post(paused.apiKey, recordText('b'))).json.type, 'https://kiff.dev/problems/tenant-ended');
    assert.equal((await api.get('/v1/records/a', paused.apiKey)).status, 200);
  });

  it('refuses a tenant whose schema lags, and only that one', async () => {
    assert.ok(TENANT_SCHEMA_VERSION <= readMigrations('tenant').length, 'the code asks for a schema that exists');
    const lagging = await db.createTenant();
    await db.sql('UPDATE kiff.tenants SET schema_version = $2 WHERE id = $1', [lagging.id, TENANT_SCHEMA_VERSION - 1]);
    assert.equal((await api.post(lagging.apiKey, recordText('a'))).status, 503);
    assert.equal((await api.post(tenant.apiKey, recordText('neighbour'))).status, 201);
  });

  it('keeps each tenant to its own log: what is another tenant’s is not found (B15)', async () => {
    const other = await db.createTenant();
    await api.post(other.apiKey, recordText('theirs'));
    assert.equal((await api.get('/v1/records/theirs', other.apiKey)).status, 200);
    assert.equal((await api.get('/v1/records/theirs', tenant.apiKey)).status, 404);
    assert.equal((await api.get('/v1/records/theirs/receipt', tenant.apiKey)).status, 404);
  });

  it('a key under another tenant’s name is refused, even if its hash is known', async () => {
    const { key, id, hash } = createApiKey('somebody');
    const authenticate = createAuthenticate({
      verifySession,
      directory: {
        query: (async () => ({
          rows: [{ key_id: id, hash, tenant: tenant.id, scopes: ['read'], expires_at: null, revoked_at: null }],
        })) as never,
      },
    });
    await assert.rejects(authenticate(`Bearer ${key}`, 'read'), { slug: 'unauthorized' });
  });

  it('logs no key, no token and no record', () => {
    assert.match(api.logged(), /"tenant":"/);
    assert.doesNotMatch(api.logged(), /kiff_live_|Bearer|action_executed|order-1/);
  });
});
