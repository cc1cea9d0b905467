import assert from 'node:assert/strict';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { assertProblem, startIngestApi, type IngestApi } from './ingest-api.ts';
import { randomUser, sessionToken } from './session-tokens.ts';
import {
  membershipEvent,
  newDelivery,
  newSecret,
  organisationEvent,
  startWebhooks,
  type WebhooksApi,
} from './webhooks-app.ts';

const newOrganisation = (): string => `org_${newDelivery().slice(4)}`;

describe('Clerk’s webhooks', () => {
  let db: ProductDatabase;
  let webhooks: WebhooksApi;

  before(async function () {
    this.timeout(60_000);
    db = await createProductDatabase();
    webhooks = await startWebhooks(db);
  });
  after(async () => {
    await webhooks.stop();
    await db.drop();
  });

  const commands = () =>
    db.sql<{ issuer: string; tenant: null; kind: string; payload: { tenantId: string } }>(
      'SELECT issuer, tenant, kind, payload FROM kiff.commands ORDER BY id',
    );
  const tenantOf = async (organisation: string): Promise<string | null | undefined> =>
    (await db.sql<{ tenant: string | null }>('SELECT tenant FROM kiff.organisations WHERE id = $1', [organisation]))[0]
      ?.tenant;

  describe('of organisations', () => {
    it('a new one gets a tenant with an opaque id, and its onboarding is asked for', async () => {
      const organisation = newOrganisation();
      const answer = await webhooks.deliver(organisationEvent('created', organisation));
      assert.deepEqual([answer.status, answer.json], [200, { outcome: 'changed' }]);
      const tenant = await tenantOf(organisation);
      assert.match(tenant!, /^t[0-9a-f]{15}$/);
      assert.deepEqual((await commands()).at(-1), {
        issuer: 'kiff_webhooks',
        tenant: null,
        kind: 'tenant.onboard',
        payload: { tenantId: tenant },
      });
    });

    it('a delivery counts once, and so does an organisation: replays change nothing', async () => {
      const organisation = newOrganisation();
      const id = newDelivery();
      const before = (await commands()).length;
      const answers = await Promise.all(
        Array.from({ length: 8 }, () => webhooks.deliver(organisationEvent('created', organisation), { id })),
      );
      answers.push(await webhooks.deliver(organisationEvent('created', organisation)));
      const outcomes = answers.map(({ json }) => json.outcome as string);
      assert.deepEqual(outcomes.toSorted(), ['changed', ...Array<string>(8).fill('unchanged')]);
      assert.equal((await commands()).length - before, 1);
    });

    it('one that is deleted before we heard of it never becomes a tenant', async () => {
      const organisation = newOrganisation();
      const before = (await commands()).length;
      assert.equal((await webhooks.deliver(organisationEvent('deleted', organisation))).json.outcome, 'changed');
      assert.equal((await webhooks.deliver(organisationEvent('created', organisation))).json.outcome, 'unchanged');
      assert.deepEqual([await tenantOf(organisation), (await commands()).length], [null, before]);
    });

    it('what fails is not remembered: the next try does it', async () => {
      const organisation = newOrganisation();
      const id = newDelivery();
      await db.sql(`CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'no'; END $$`);
      await db.sql('CREATE TRIGGER refuse BEFORE INSERT ON kiff.commands EXECUTE FUNCTION public.refuse()');
      assertProblem(await webhooks.deliver(organisationEvent('created', organisation), { id }), 500, 'internal');
      await db.sql('DROP FUNCTION public.refuse() CASCADE');
      assert.equal(await tenantOf(organisation), undefined);
      assert.equal(
        (await webhooks.deliver(organisationEvent('created', organisation), { id })).json.outcome,
        'changed',
      );
    });
  });

  describe('of memberships', () => {
    let api: IngestApi;
    let tenant: TestTenant;
    let organisation: string;
    let ahead = 0;
    const start = Date.now() - 3_600_000;

    before(async () => {
      api = await startIngestApi(db, { now: () => Date.now() + ahead });
      tenant = await db.createTenant();
      organisation = await db.createOrganisation(tenant);
    });
    after(() => api.stop());

    const hear = async (kind: 'created' | 'updated' | 'deleted', user: string, minute: number): Promise<string> =>
      (await webhooks.deliver(membershipEvent(kind, organisation, user, start + minute * 60_000))).json
        .outcome as string;
    const reads = async (user: string): Promise<number> => {
      ahead += 5_000;
      return (await api.get('/v1/seals', sessionToken({ organisation, user }))).status;
    };

    it('a removed member is out at the next gate, whatever its token says, and in again when it comes back', async () => {
      const user = randomUser();
      const token = sessionToken({ organisation, user });
      assert.equal(await hear('created', user, 1), 'changed');
      assert.equal((await api.get('/v1/seals', token)).status, 200);
      assert.equal((await api.call('POST', '/v1/keys', token, { label: 'a' })).status, 201);
      assert.equal(await hear('deleted', user, 2), 'changed');
      // A key is not made within the memory of a few seconds; reading ends with it.
      assertProblem(await api.call('POST', '/v1/keys', token, { label: 'b' }), 403, 'not-a-member');
      assert.equal(await reads(user), 403);
      assert.equal(await hear('created', user, 3), 'changed');
      assert.equal(await reads(user), 200);
    });

    it('events in any order come to the same: the newest says it', async () => {
      const user = randomUser();
      assert.equal(await hear('deleted', user, 5), 'changed');
      assert.equal(await hear('updated', user, 4), 'unchanged');
      assert.equal(await hear('created', user, 1), 'unchanged');
      assert.equal(await reads(user), 403);
      assert.equal(await hear('created', user, 5), 'unchanged', 'a removal at the same moment wins');
      const other = randomUser();
      assert.equal(await hear('created', other, 5), 'changed');
      assert.equal(await hear('deleted', other, 5), 'changed');
      assert.equal(await reads(other), 403);
    });

    it('a changed role needs a new token', async () => {
      const user = randomUser();
      const old = sessionToken({ organisation, user, claims: { iat: Math.floor(start / 1000) + 60 } });
      await hear('created', user, 0);
      assert.equal((await api.get('/v1/seals', old)).status, 200);
      await hear('updated', user, 2);
      ahead += 5_000;
      assertProblem(await api.get('/v1/seals', old), 401, 'unauthorized');
      assert.equal(await reads(user), 200);
    });

    it('keep ids and times, and nothing that says who somebody is', async () => {
      const rows = await db.sql<{ text: string }>(
        `SELECT to_jsonb(m)::text AS text FROM kiff.memberships m UNION ALL SELECT to_jsonb(o)::text FROM kiff.organisations o
         UNION ALL SELECT to_jsonb(c)::text FROM kiff.commands c`,
      );
      for (const { text } of rows) assert.doesNotMatch(text, /Ada|Lovelace|example\.org|Acme|acme/);
      assert.doesNotMatch(webhooks.logged(), /Ada|Lovelace|example\.org|Acme|acme|whsec_/);
    });
  });

  describe('are refused', () => {
    const event = organisationEvent('created', 'org_refused');
    after(async () => assert.equal(await tenantOf('org_refused'), undefined, 'none of these did anything'));

    it('without a good signature: another secret, another body, missing headers', async () => {
      const other = JSON.stringify(event).replace('Acme', 'Evil');
      for (const answer of [
        await webhooks.deliver(event, { secret: newSecret() }),
        await webhooks.deliver(event, { headers: { 'svix-id': newDelivery() } }),
        await webhooks.deliver(event, { headers: { 'svix-timestamp': String(Math.floor(Date.now() / 1000) + 1) } }),
        await webhooks.deliver(event, { headers: { 'svix-signature': 'v1,' } }),
        await webhooks.deliver(event, { headers: { 'svix-signature': 'v2,AAAA' } }),
        await webhooks.deliver(event, { headers: { 'svix-signature': undefined } }),
        await webhooks.deliver(event, { headers: { 'svix-id': undefined } }),
        await webhooks.deliver('not json at all'),
      ]) {
        assertProblem(answer, 400, 'invalid-signature');
      }
      const unsigned = await fetch(`${webhooks.url}/webhooks/clerk`, {
        method: 'POST',
        body: other,
        headers: { 'content-type': 'application/json' },
      });
      assert.equal(unsigned.status, 400);
    });

    it('when they are older than five minutes, or from later than that', async () => {
      const now = Math.floor(Date.now() / 1000);
      assertProblem(await webhooks.deliver(event, { sentAt: now - 330 }), 400, 'invalid-signature');
      assertProblem(await webhooks.deliver(event, { sentAt: now + 330 }), 400, 'invalid-signature');
    });

    it('when they are too large, or no JSON', async () => {
      assertProblem(await webhooks.deliver({ ...event, padding: 'x'.repeat(256 * 1024) }), 413, 'body-too-large');
      const typed = await webhooks.deliver(event, { headers: { 'content-type': 'text/plain' } });
      assertProblem(typed, 415, 'unsupported-media-type');
    });

    it('when a known event is not of its form; a later try may be', async () => {
      const id = newDelivery();
      for (const data of [{}, { id: 'acme' }, { id: `org_'; RESET ROLE; --` }, { id: 7 }]) {
        assertProblem(await webhooks.deliver({ ...event, data }, { id }), 422, 'invalid-body');
      }
      const late = membershipEvent('created', 'org_1', 'user_1', -1);
      assertProblem(await webhooks.deliver(late), 422, 'invalid-body');
      const kept = await db.sql('SELECT FROM kiff.webhook_deliveries WHERE id = $1', [id]);
      assert.equal(kept.length, 0);
    });

    it('and what nothing here depends on is answered and forgotten', async () => {
      const id = newDelivery();
      const answer = await webhooks.deliver({ type: 'user.created', data: { id: 'user_1' } }, { id });
      assert.deepEqual([answer.status, answer.json], [200, { outcome: 'ignored' }]);
      assert.equal((await db.sql('SELECT FROM kiff.webhook_deliveries WHERE id = $1', [id])).length, 0);
    });
  });

  it('their login can do what they tell, and nothing else', async () => {
    const client = await db.connect(db.urls.kiff_webhooks);
    const tenant = await db.createTenant();
    for (const statement of [
      'SELECT FROM kiff.organisations',
      'SELECT FROM kiff.memberships',
      'SELECT FROM kiff.webhook_deliveries',
      'SELECT FROM kiff.tenants',
      'SELECT FROM kiff.api_keys',
      `INSERT INTO kiff.commands (kind, payload) VALUES ('tenant.onboard', '{"tenantId":"mine"}')`,
      `INSERT INTO kiff.memberships VALUES ('org_1', 'user_1', true, now())`,
      'DELETE FROM kiff.organisations',
      `SELECT kiff.find_member('org_1', 'user_1')`,
      `SELECT kiff.find_api_key('')`,
      `SELECT kiff.is_new_delivery('x')`,
      `SELECT FROM ${tenant.role}.events`,
      `SELECT ${tenant.role}.create_api_key('k000000000000000', '', '', '{read}', NULL, 'x')`,
      'SET ROLE kiff_owner',
      'CREATE TABLE kiff.mine ()',
    ]) {
      await assert.rejects(client.query(statement), { code: '42501' }, statement);
    }
    await client.query(`SELECT kiff.organisation_created('msg_control', 'org_control')`);
    await client.end();
  });
});
