import assert from 'node:assert/strict';
import { generatePrivateKey, privateKeyToAccount, type PrivateKeyAccount } from 'viem/accounts';
import { parseSiweMessage, siweText, type SiweMessage } from '../../protocol/siwe.ts';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { assertProblem, recordText, startIngestApi, type Answer, type IngestApi } from './ingest-api.ts';
import { randomUser, sessionToken } from './session-tokens.ts';

const attribution = (account: PrivateKeyAccount): string =>
  `{"attribution":{"wallet":"${account.address.toLowerCase()}"},"record":{`;

const refused = async (answer: Promise<Answer>, why: RegExp): Promise<void> => {
  assertProblem(await answer, 422, 'invalid-wallet-proof');
  assert.match((await answer).json.detail, why);
};

const base64url = (text: string): string => Buffer.from(text).toString('base64url');

describe('wallet links', () => {
  let db: ProductDatabase;
  let api: IngestApi;
  let tenant: TestTenant;
  let organisation: string;
  let ahead = 0;
  const user = randomUser();
  const wallet = privateKeyToAccount(generatePrivateKey());

  before(async function () {
    this.timeout(60_000);
    db = await createProductDatabase();
    api = await startIngestApi(db, { now: () => Date.now() + ahead });
    tenant = await db.createTenant();
    organisation = await db.createOrganisation(tenant);
  });
  after(async () => {
    await api.stop();
    await db.drop();
  });

  const admin = (who = user): string => sessionToken({ organisation, user: who });
  const member = (who: string): string => sessionToken({ organisation, user: who, permissions: [] });
  const challenge = async (actor: string, credential = admin(), account = wallet): Promise<string> => {
    const answer = await api.call('POST', '/v1/wallet-challenges', credential, {
      actor_id: actor,
      wallet: account.address,
    });
    assert.equal(answer.status, 201, answer.text);
    return answer.json.message;
  };
  const hand = async (
    actor: string,
    message: string,
    { credential = admin(), signer = wallet }: { credential?: string; signer?: PrivateKeyAccount } = {},
  ): Promise<Answer> => {
    const signature = await signer.signMessage({ message });
    return api.call('POST', '/v1/wallets', credential, { actor_id: actor, message, signature });
  };
  const link = async (actor: string, account = wallet): Promise<void> => {
    const answer = await hand(actor, await challenge(actor, admin(), account), { signer: account });
    assert.equal(answer.status, 201, answer.text);
  };
  /** The body that a record of an actor gets now. */
  const bodyOf = async (actor: string): Promise<string> => {
    const id = `r-${Math.random()}`;
    // What the API remembers of keys, and with it of links, is 4 s old at most.
    ahead += 5_000;
    const { status } = await api.post(tenant.apiKey, recordText(id, { actor_id: actor }));
    assert.equal(status, 201);
    const [row] = await db.sql<{ body: string }>(
      `SELECT convert_from(b.body, 'UTF8') AS body FROM ${tenant.role}.bodies b
         JOIN ${tenant.role}.records r USING (leaf_index) WHERE r.id = $1`,
      [id],
    );
    return row!.body;
  };
  const changed = async (change: Partial<SiweMessage>): Promise<string> =>
    siweText({ ...parseSiweMessage(await challenge('agent-3')), ...change });

  it('a wallet that signs is linked, and appears in the actor’s later records until it is removed', async () => {
    const before = await bodyOf('agent-1');
    assert.ok(before.startsWith('{"attribution":null,"record":{'));
    const message = await challenge('agent-1');
    const linked = await hand('agent-1', message);
    assert.equal(linked.status, 201);
    const view = linked.json;
    assert.deepEqual([view.actor_id, view.wallet, view.linked_by], ['agent-1', wallet.address.toLowerCase(), user]);
    assert.deepEqual((await api.get('/v1/wallets', tenant.apiKey)).json, { wallets: [view] });

    assert.ok((await bodyOf('agent-1')).startsWith(attribution(wallet)));
    assert.ok((await bodyOf('agent-2')).startsWith('{"attribution":null,'), 'control: nobody else’s');

    assert.equal((await api.call('DELETE', '/v1/wallets/agent-1', admin())).status, 200);
    assert.ok((await bodyOf('agent-1')).startsWith('{"attribution":null,'));
    assertProblem(await api.call('DELETE', '/v1/wallets/agent-1', admin()), 404, 'not-found');
    const { events } = (await api.get('/v1/audit?limit=1000', admin())).json;
    assert.deepEqual(
      events.filter(({ kind }: any) => kind.startsWith('wallet.')).map(({ kind, detail }: any) => [kind, detail]),
      ['wallet.linked', 'wallet.unlinked'].map((kind) => [
        kind,
        { by: user, actor: 'agent-1', wallet: wallet.address.toLowerCase() },
      ]),
    );
  });

  it('in NDJSON each line has its own actor’s, and the record’s bytes are what they were', async () => {
    await link('agent-lines');
    ahead += 5_000;
    const lines = ['agent-lines', 'somebody'].map((actor, n) => recordText(`line-${n}`, { actor_id: actor }));
    const answer = await api.postLines(tenant.apiKey, lines.join('\n'));
    assert.deepEqual(
      answer.json.map(({ status }: any) => status),
      ['accepted', 'accepted'],
    );
    const rows = await db.sql<{ body: string }>(
      `SELECT convert_from(b.body, 'UTF8') AS body FROM ${tenant.role}.bodies b
         JOIN ${tenant.role}.records r USING (leaf_index) WHERE r.id LIKE 'line-%' ORDER BY leaf_index`,
    );
    assert.deepEqual(
      rows.map(({ body }) => body),
      [
        `{"attribution":{"wallet":"${wallet.address.toLowerCase()}"},"record":${lines[0]}}`,
        `{"attribution":null,"record":${lines[1]}}`,
      ],
    );
    const got = await api.get('/v1/records/line-0', tenant.apiKey);
    assert.ok(got.text.endsWith(`,"record":${lines[0]}}`), 'the record comes back without it');
    assert.equal((await api.post(tenant.apiKey, lines[0]!)).json.status, 'duplicate');
    await api.call('DELETE', '/v1/wallets/agent-lines', admin());
    ahead += 5_000;
    assert.equal((await api.post(tenant.apiKey, lines[0]!)).json.status, 'duplicate', 'whatever is known of its actor');
  });

  it('appears in the records that this service writes of the actor too: what its guard reports', async () => {
    const report = async (agent: string, path: string, more: object): Promise<string> => {
      ahead += 5_000;
      const said = { agent_id: agent, adapter: 'agno', mode: 'observe', ...more };
      const answer = await api.call('POST', path, tenant.apiKey, said);
      assert.equal(answer.status, 200, answer.text);
      const [row] = await db.sql<{ body: string }>(
        `SELECT convert_from(body, 'UTF8') AS body FROM ${tenant.role}.bodies WHERE leaf_index = $1`,
        [answer.json.record.leafIndex],
      );
      return row!.body;
    };
    const reports = (agent: string) => [
      () => report(agent, '/v1/guard/connect', {}),
      () => report(agent, '/v1/guard/observations', { tools: [{ name: 'refund_order' }] }),
    ];
    await link('guarded');
    for (const body of reports('guarded')) assert.ok((await body()).startsWith(attribution(wallet)));
    for (const body of reports('nobody')) assert.ok((await body()).startsWith('{"attribution":null,'), 'control');
    await api.call('DELETE', '/v1/wallets/guarded', admin());
    for (const body of reports('guarded')) assert.ok((await body()).startsWith('{"attribution":null,'));
  });

  describe('are refused (B23)', () => {
    after(async () => {
      const { wallets } = (await api.get('/v1/wallets', admin())).json;
      assert.deepEqual(
        wallets.filter(({ actor_id }: any) => actor_id === 'agent-3'),
        [],
        'none of these linked anything',
      );
    });

    it('a replay: a nonce works once', async () => {
      const message = await challenge('agent-once');
      assert.equal((await hand('agent-once', message)).status, 201);
      await api.call('DELETE', '/v1/wallets/agent-once', admin());
      await refused(hand('agent-once', message), /used/);
    });

    it('a replay by ten at once links once', async () => {
      const message = await challenge('agent-race');
      const answers = await Promise.all(Array.from({ length: 10 }, () => hand('agent-race', message)));
      assert.deepEqual(
        answers.map(({ status }) => status).toSorted((a, b) => a - b),
        [201, ...Array<number>(9).fill(422)],
      );
    });

    it('a nonce that was never given, and one that another took the place of', async () => {
      await refused(hand('agent-3', await changed({ nonce: 'a'.repeat(32) })), /unknown/);
      const first = await challenge('agent-3');
      await challenge('agent-3');
      await refused(hand('agent-3', first), /unknown/);
    });

    it('another user’s challenge', async () => {
      const message = await challenge('agent-3');
      await refused(hand('agent-3', message, { credential: admin(randomUser()) }), /somebody else/);
    });

    it('a message for another actor, or another tenant', async () => {
      const message = await challenge('agent-3');
      await refused(hand('agent-4', message), /another actor/);
      const other = await db.createTenant();
      const theirs = sessionToken({ organisation: await db.createOrganisation(other), user });
      await challenge('agent-3', theirs);
      await refused(hand('agent-3', message, { credential: theirs }), /another actor or log/);
    });

    it('another domain, another scheme, another URI, another chain', async () => {
      await refused(hand('agent-3', await changed({ domain: 'evil.example' })), /domain/);
      await refused(hand('agent-3', await changed({ scheme: 'http' })), /domain/);
      await refused(hand('agent-3', await changed({ uri: 'https://evil.example' })), /URI/);
      await refused(hand('agent-3', await changed({ chainId: 1 })), /another chain/);
    });

    it('an expired one, one that never expires, one from the future', async () => {
      const past = Date.now() + ahead - 1;
      await refused(hand('agent-3', await changed({ expirationTime: past })), /expired/);
      const { expirationTime: _, ...endless } = parseSiweMessage(await challenge('agent-3'));
      await refused(hand('agent-3', siweText(endless)), /never expires/);
      await refused(hand('agent-3', await changed({ issuedAt: past + 120_000 })), /future/);
      await refused(hand('agent-3', await changed({ notBefore: past + 60_000 })), /not valid yet/);
    });

    it('a challenge whose ten minutes are over, whatever the message says', async () => {
      const message = await challenge('agent-3');
      await db.sql(`UPDATE kiff.wallet_challenges SET expires_at = clock_timestamp() WHERE user_id = $1`, [user]);
      await refused(hand('agent-3', message), /expired/);
    });

    it('another wallet’s signature, and signatures in another form (B18)', async () => {
      const stranger = privateKeyToAccount(generatePrivateKey());
      await refused(hand('agent-3', await challenge('agent-3'), { signer: stranger }), /not of the wallet/);
      const message = await challenge('agent-3');
      const signature = await wallet.signMessage({ message });
      const bad = [
        `${signature.slice(0, -2)}0${signature.endsWith('1b') ? 0 : 1}`,
        signature.toUpperCase().replace('0X', '0x'),
        `${signature}00`,
        '0x',
        'x',
      ];
      for (const text of bad) {
        await refused(
          api.call('POST', '/v1/wallets', admin(), { actor_id: 'agent-3', message, signature: text }),
          /signature is refused/,
        );
      }
    });

    it('a text that is no such message', async () => {
      await refused(hand('agent-3', 'I own this wallet.'), /first line/);
      await refused(hand('agent-3', `${await challenge('agent-3')}\n`), /malformed/);
    });
  });

  it('members link their own actor; for agents it takes who manages their keys', async () => {
    const who = randomUser();
    const own = await challenge(who, member(who));
    assert.equal((await hand(who, own, { credential: member(who) })).status, 201);
    const challenged = await api.call('POST', '/v1/wallet-challenges', member(who), {
      actor_id: 'agent-5',
      wallet: wallet.address,
    });
    assertProblem(challenged, 403, 'missing-permission');
    const message = await challenge('agent-5');
    assertProblem(await hand('agent-5', message, { credential: member(who) }), 403, 'missing-permission');
    assertProblem(await api.call('DELETE', '/v1/wallets/agent-5', member(who)), 403, 'missing-permission');
    assert.equal((await api.call('DELETE', `/v1/wallets/${who}`, member(who))).status, 200);
    assertProblem(await api.call('DELETE', `/v1/wallets/${who}`, tenant.apiKey), 403, 'missing-scope');
  });

  describe('give no rights', () => {
    const owner = privateKeyToAccount(generatePrivateKey());
    it('a linked wallet cannot sign in: nothing that it can sign is taken for a credential', async () => {
      await link('agent-rights', owner);
      const message = await challenge('agent-rights', admin(), owner);
      const signature = await owner.signMessage({ message });
      const claims = base64url(
        JSON.stringify({ v: 2, sub: user, sid: 'sess_1', azp: 'https://app.kiff.test', o: { id: organisation } }),
      );
      const signed = `${base64url('{"alg":"ES256K","typ":"JWT"}')}.${claims}`;
      const jwt = `${signed}.${base64url(await owner.signMessage({ message: signed }))}`;
      for (const authorization of [
        `Bearer ${signature}`,
        `Bearer ${owner.address}`,
        `Bearer ${base64url(message)}.${signature}`,
        `Bearer ${jwt}`,
        `SIWE ${base64url(message)}.${signature}`,
        `Ethereum ${owner.address}:${signature}`,
      ]) {
        for (const path of ['/v1/seals', '/v1/keys', '/v1/wallets', '/v1/audit']) {
          const answer = await fetch(api.url + path, { headers: { authorization } });
          assert.equal(answer.status, 401, `${path} ${authorization.slice(0, 30)}`);
        }
      }
    });

    it('nor does it help a session: the same person may the same as before', async () => {
      const who = randomUser();
      const message = await challenge(who, member(who), owner);
      assert.equal((await hand(who, message, { credential: member(who), signer: owner })).status, 201);
      for (const [method, path] of [
        ['GET', '/v1/seals'],
        ['GET', '/v1/keys'],
        ['GET', '/v1/audit'],
        ['POST', '/v1/keys'],
        ['DELETE', `/v1/keys/${tenant.keyId}`],
      ] as const) {
        const answer = await api.call(method, path, member(who), ...(method === 'POST' ? [{ label: 'a' }] : []));
        assertProblem(answer, 403, 'missing-permission');
      }
    });

    it('and no function that decides on access reads a link', async () => {
      const readers = await db.sql<{ name: string }>(
        `SELECT DISTINCT regexp_replace(p.oid::regproc::text, '^kiff_t_[a-z0-9]+', 'kiff_t') AS name FROM pg_proc p
          JOIN pg_namespace n ON n.oid = p.pronamespace
         WHERE n.nspname LIKE 'kiff%' AND CASE WHEN p.prokind = 'f' THEN pg_get_functiondef(p.oid) END LIKE '%wallet_links%'
         ORDER BY 1`,
      );
      assert.deepEqual(
        readers.map(({ name }) => name),
        ['kiff_t.link_wallet', 'kiff_t.list_wallet_links', 'kiff_t.unlink_wallet'],
      );
      const grants = await db.sql(
        `SELECT FROM information_schema.role_table_grants
          WHERE table_schema = 'kiff' AND grantee <> 'kiff_owner' AND table_name IN ('wallet_links', 'wallet_challenges')`,
      );
      assert.equal(grants.length, 0);
    });
  });
});
