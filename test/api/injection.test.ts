/** SQL in every string that the API takes: it is stored as text or refused, and the session stays whose it is (B16). */
import assert from 'node:assert/strict';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { recordText, startIngestApi, type IngestApi } from './ingest-api.ts';
import { sessionToken } from './session-tokens.ts';

describe('SQL in every string field (B16)', () => {
  let db: ProductDatabase;
  let api: IngestApi;
  let tenant: TestTenant;
  let victim: TestTenant;
  let admin: string;
  let attacks: string[];
  const wallet = privateKeyToAccount(generatePrivateKey());

  before(async function () {
    this.timeout(60_000);
    db = await createProductDatabase();
    api = await startIngestApi(db);
    tenant = await db.createTenant();
    victim = await db.createTenant();
    admin = sessionToken({ organisation: await db.createOrganisation(tenant) });
    attacks = [
      `'; RESET ROLE; SET ROLE ${victim.role}; --`,
      `'; SET SESSION AUTHORIZATION postgres; DROP SCHEMA ${victim.role} CASCADE; --`,
      `$$; RESET ROLE; SELECT pg_sleep(30); $$`,
      `" ; GRANT ALL ON kiff.api_keys TO PUBLIC; --`,
      `\\'; DELETE FROM kiff.tenants; --`,
      `{{tenant}}); SELECT 1; --`,
      `%s%I%L`,
    ];
  });
  after(async () => {
    await api.stop();
    await db.drop();
  });

  /** Every connection of the tenant's pool is asked who it is: as many at once as there can be. */
  afterEach(async () => {
    const who = await api.pools.use({ tenant: tenant.id, loginVersion: 1 }, (pool) =>
      Promise.all(
        Array.from({ length: 4 }, async () => {
          const { rows } = await pool.query(
            `SELECT session_user::text AS session, current_user::text AS current, current_setting('search_path') AS path
               FROM pg_sleep(0.05)`,
          );
          return rows[0] as unknown;
        }),
      ),
    );
    for (const each of who) {
      assert.deepEqual(each, { session: tenant.role, current: tenant.role, path: 'pg_catalog, pg_temp' });
    }
    const [left] = await db.sql<{ tables: number; tenants: number; grants: number }>(
      `SELECT (SELECT count(*) FROM pg_tables WHERE schemaname = $1) AS tables, (SELECT count(*) FROM kiff.tenants) AS tenants,
              (SELECT count(*) FROM information_schema.role_table_grants WHERE table_name = 'api_keys' AND grantee = 'PUBLIC') AS grants`,
      [victim.role],
    );
    assert.deepEqual(left, { tables: 6, tenants: 2, grants: 0 });
  });

  it('records: every field but the id keeps it as bytes, the id cannot have it', async () => {
    for (const [n, attack] of attacks.entries()) {
      const more = {
        kind: attack,
        entity_id: attack,
        entity_type: attack,
        actor_id: attack,
        message: attack,
        data: { [attack]: attack },
        trace_id: attack,
        correlation_id: attack,
        causation_id: attack,
        [attack]: attack,
      };
      const text = recordText(`attack-${n}`, more);
      assert.equal((await api.post(tenant.apiKey, text)).status, 201);
      assert.ok((await api.get(`/v1/records/attack-${n}`, tenant.apiKey)).text.endsWith(`"record":${text}}`));
      assert.equal((await api.post(tenant.apiKey, recordText(attack))).status, 422);
      const lines = await api.postLines(tenant.apiKey, `${recordText(attack)}\n${text}`);
      assert.deepEqual(
        lines.json.map(({ status }: any) => status),
        ['rejected', 'duplicate'],
      );
    }
  });

  it('keys: the label keeps it as text', async () => {
    for (const attack of attacks) {
      const made = await api.call('POST', '/v1/keys', admin, { label: attack });
      assert.equal(made.status, 201);
      const { keys } = (await api.get('/v1/keys', admin)).json;
      assert.equal(keys.find(({ id }: any) => id === made.json.id).label, attack);
      assert.equal((await api.call('POST', '/v1/keys', admin, { label: 'a', scopes: [attack] })).status, 422);
      assert.equal((await api.call('POST', '/v1/keys', admin, { label: 'a', expires_at: attack })).status, 422);
      const { events } = (await api.get('/v1/audit?limit=1000', admin)).json;
      assert.equal(events.find(({ detail }: any) => detail.key === made.json.id).detail.label, attack);
    }
  });

  it('wallets: the actor keeps it as text, a message cannot have it', async () => {
    for (const attack of attacks) {
      const challenge = await api.call('POST', '/v1/wallet-challenges', admin, {
        actor_id: attack,
        wallet: wallet.address,
      });
      assert.equal(challenge.status, 201, challenge.text);
      const { message } = challenge.json;
      const signature = await wallet.signMessage({ message });
      const body = { actor_id: attack, message, signature };
      assert.equal((await api.call('POST', '/v1/wallets', admin, { ...body, signature: attack })).status, 422);
      assert.equal((await api.call('POST', '/v1/wallets', admin, { ...body, message: attack })).status, 422);
      assert.equal((await api.call('POST', '/v1/wallets', admin, body)).status, 201);
      const { wallets } = (await api.get('/v1/wallets', admin)).json;
      assert.ok(wallets.some(({ actor_id }: any) => actor_id === attack));
      const path = `/v1/wallets/${encodeURIComponent(attack)}`;
      assert.equal((await api.call('DELETE', path, admin)).status, 200);
    }
  });

  it('guards: who runs where and what it calls keep it as text, in the log and in the list', async () => {
    for (const attack of attacks) {
      const place = { agent_id: attack, adapter: attack, project: attack, environment: attack, workflow: attack };
      const guard = { ...place, mode: 'observe', sdk_version: attack, [attack]: attack };
      const connected = await api.call('POST', '/v1/guard/connect', tenant.apiKey, guard);
      const tools = [{ name: attack, description: attack, entity_type: attack, action: attack, required: [attack] }];
      const observed = await api.call('POST', '/v1/guard/observations', tenant.apiKey, { ...guard, tools });
      for (const [{ status, json, text }, said] of [
        [connected, guard],
        [observed, { ...guard, tools }],
      ] as const) {
        assert.equal(status, 200, text);
        const stored = await api.get(`/v1/records/${json.record.id}`, tenant.apiKey);
        assert.deepEqual([stored.json.record.actor_id, stored.json.record.data.request], [attack, said]);
      }
      const { runtimes } = (await api.get('/v1/guard/runtimes', tenant.apiKey)).json;
      const {
        seen_count: _,
        last_seen_at: __,
        ...runtime
      } = runtimes.find(({ runtime_id }: any) => runtime_id === connected.json.runtime_id);
      const { workflow: ___, ...listed } = place;
      assert.deepEqual(runtime, { runtime_id: connected.json.runtime_id, ...listed, mode: 'observe' });
      const mode = await api.call('POST', '/v1/guard/connect', tenant.apiKey, { ...guard, mode: attack });
      assert.equal(mode.status, 422);
      const decided = await api.call('POST', '/v1/proposals/decide', tenant.apiKey, { ...guard, action: attack });
      assert.deepEqual([decided.status, decided.json.outcome], [501, 'invalid']);
      for (const path of ['/v1/me', '/v1/me/usage', '/v1/usage', '/v1/logs']) {
        assert.equal((await api.get(path, tenant.apiKey)).status, 200, path);
      }
    }
  });

  it('addresses and headers: nothing is found by it', async () => {
    for (const attack of attacks) {
      const text = encodeURIComponent(attack);
      for (const [method, path, statuses] of [
        ['GET', `/v1/records/${text}`, [422]],
        ['GET', `/v1/records/${text}/receipt`, [422]],
        ['GET', `/v1/seals/${text}`, [422]],
        ['GET', `/v1/seals?after=${text}`, [422]],
        ['GET', `/v1/seals?limit=${text}`, [422]],
        ['GET', `/v1/audit?after=${text}`, [422]],
        ['GET', `/v1/audit?limit=${text}`, [422]],
        ['GET', `/v1/records/attack-0?log=${text}`, [422]],
        ['GET', `/v1/records/attack-0/receipt?log=${text}`, [422]],
        ['GET', `/v1/seals?log=${text}`, [422]],
        ['GET', `/v1/usage?from=${text}`, [422]],
        ['GET', `/v1/usage?to=${text}`, [422]],
        ['GET', `/v1/usage?limit=${text}`, [422]],
        // These ask for nothing: what is said besides is not looked at.
        ['GET', `/v1/me?${text}=${text}`, [200]],
        ['GET', `/v1/me/usage?${text}=${text}`, [200]],
        ['GET', `/v1/logs?${text}=${text}`, [200]],
        ['GET', `/v1/guard/runtimes?${text}=${text}`, [200]],
        ['DELETE', `/v1/keys/${text}`, [404]],
        ['DELETE', `/v1/wallets/${text}`, [404]],
        ['GET', `/v1/${text}`, [404]],
      ] as const) {
        const { status } = await api.call(method, path, admin);
        assert.ok((statuses as readonly number[]).includes(status), `${method} ${path}: ${status}`);
      }
      for (const headers of [
        { authorization: `Bearer ${attack.replaceAll(' ', '')}` },
        { authorization: attack },
        { authorization: `Bearer ${sessionToken({ organisation: attack })}` },
        { authorization: `Bearer ${sessionToken({ user: attack })}` },
      ]) {
        const { status } = await fetch(`${api.url}/v1/seals`, { headers });
        assert.equal(status, 401);
      }
      const named = await fetch(`${api.url}/healthz`, { headers: { 'x-request-id': attack } });
      assert.notEqual(named.headers.get('x-request-id'), attack);
    }
  });
});
