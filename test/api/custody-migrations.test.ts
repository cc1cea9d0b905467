/** The custody API's content against a real database, with rows as the signing plane writes them. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { hashTypedData } from 'viem';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { CUSTODY_APPROVAL, hashStruct, typedDigest } from '../../protocol/eip712.ts';
import { toHex, type Hex } from '../../protocol/hex.ts';
import { handoverHash } from '../../protocol/handover.ts';
import { SagaRows } from '../custody/rows.ts';
import { createPasskey, type SoftwarePasskey } from '../passkey.ts';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { startCustodyApi, type CustodyApi } from './custody-api.ts';
import { assertProblem, type Answer } from './ingest-api.ts';
import { sessionToken, type TokenOptions } from './session-tokens.ts';

const ARN = 'arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab';
const DAY = 86_400_000;

interface TestAdmin {
  id: string;
  passkey: SoftwarePasskey;
}

function assertRefused(answer: Answer, status: 409 | 422, reason: string): void {
  assertProblem(answer, status, status === 409 ? 'custody-conflict' : 'custody-refused');
  assert.equal(answer.json.reason, reason);
}

describe('custody over HTTP', function () {
  this.timeout(60_000);
  let db: ProductDatabase;
  let api: CustodyApi;
  let tenant: TestTenant;
  let organisation: string;
  let rows: SagaRows;
  /** Added to the clock: passkeys become old, and rate limits full. */
  let later = 0;
  let waited = 0;

  before(async () => {
    db = await createProductDatabase();
    // Each question comes a second after the one before: limits are tried where they are meant.
    api = await startCustodyApi(db, { now: () => Date.now() + later + (waited += 1_000) });
  });
  after(async () => {
    await api.stop();
    await db.drop();
  });
  beforeEach(async () => {
    later = 0;
    tenant = await db.createTenant();
    organisation = await db.createOrganisation(tenant);
    rows = await SagaRows.of(db, tenant);
  });

  const token = (user: string, options: TokenOptions = {}): string => sessionToken({ organisation, user, ...options });

  const challengeFor = async (user: string): Promise<string> =>
    (await api.call('POST', '/v1/custody/passkeys/options', token(user))).json.challenge as string;
  const register = (user: string, challenge: string, change: object = {}, passkey = createPasskey()) =>
    api.call('POST', '/v1/custody/passkeys', token(user), {
      challenge,
      registration: passkey.register({ challenge, origin: api.origin, ...change }),
    });

  async function admin(name: string): Promise<TestAdmin> {
    const id = `user_${name}${randomBytes(4).toString('hex')}`;
    const passkey = createPasskey();
    const { json } = await api.call('POST', '/v1/custody/passkeys/options', token(id));
    const registration = passkey.register({ challenge: json.challenge, origin: api.origin });
    const answer = await api.call('POST', '/v1/custody/passkeys', token(id), {
      challenge: json.challenge,
      registration,
    });
    assert.equal(answer.status, 202, answer.text);
    await rows.finish(answer.json.ref, 'done');
    return { id, passkey };
  }

  async function start(by: string, more: object = { custody: 'tenant-kms', keyArn: ARN }): Promise<string> {
    const answer = await api.call('POST', '/v1/custody/migrations', token(by), more);
    assert.equal(answer.status, 202, answer.text);
    return answer.json.ref as string;
  }

  const signer = privateKeyToAccount(generatePrivateKey());
  const newSigner = signer.address.toLowerCase() as Hex;

  /** A migration that waits for approvals. */
  async function opened(by: string, more?: object): Promise<string> {
    const id = await start(by, more);
    await rows.open(id);
    await rows.step(id, 'identify', 'begun');
    await rows.identify(id, newSigner, ARN);
    await rows.step(id, 'authorise', 'waiting');
    return id;
  }

  const read = async (id: string): Promise<any> =>
    (await api.get(`/v1/custody/migrations/${id}`, token('user_reader'))).json;

  async function approve({ id: user, passkey }: TestAdmin, id: string, change: object = {}): Promise<Answer> {
    const options = await api.call('POST', `/v1/custody/migrations/${id}/approve/options`, token(user));
    if (options.status !== 200) return options;
    const assertion = passkey.assert({ challenge: options.json.challenge, origin: api.origin, ...change });
    return api.call('POST', `/v1/custody/migrations/${id}/approve`, token(user), { assertion });
  }

  it('says who holds the key: at first our own, from the log’s first period on', async () => {
    const { status, json } = await api.get('/v1/custody', token('user_reader'));
    assert.equal(status, 200);
    assert.deepEqual(
      [
        json.holder.custody,
        json.holder.signer,
        json.holder.epoch,
        json.holder.since,
        json.epochs.length,
        json.migration,
      ],
      ['cloud', tenant.genesisSigner, 0, new Date(tenant.firstPeriod * 1000).toISOString(), 1, null],
    );
  });

  describe('lets in', () => {
    it('people of the tenant with the permission, and nobody else (B14)', async () => {
      assert.equal((await api.get('/v1/custody', token('user_a'))).status, 200, 'control');
      assertProblem(await api.get('/v1/custody'), 401, 'unauthorized');
      assertProblem(await api.get('/v1/custody', tenant.apiKey), 401, 'unauthorized');
      assertProblem(await api.get('/v1/custody', `${token('user_a')}x`), 401, 'unauthorized');
      const less = token('user_a', { permissions: ['org:keys:manage', 'org:records:read'] });
      assertProblem(await api.get('/v1/custody', less), 403, 'missing-permission');
      assertProblem(await api.get('/v1/custody', sessionToken({ organisation: 'org_other' })), 503, 'tenant-not-ready');
    });

    it('to what moves a key only with two fresh factors; a veto needs none', async () => {
      const id = await opened('user_a');
      const stale = { factors: [0, 11] as const };
      for (const [method, path] of [
        ['POST', '/v1/custody/passkeys/options'],
        ['POST', '/v1/custody/passkeys'],
        ['DELETE', `/v1/custody/passkeys/${'A'.repeat(22)}`],
        ['PUT', '/v1/custody/contacts/mine'],
        ['POST', '/v1/custody/migrations'],
        ['POST', `/v1/custody/migrations/${id}/approve/options`],
        ['POST', `/v1/custody/migrations/${id}/approve`],
        ['POST', `/v1/custody/migrations/${id}/cancel`],
      ] as const) {
        assertProblem(await api.call(method, path, token('user_a', stale), {}), 403, 'reverification-required');
        const single = token('user_a', { factors: [0, -1] });
        assertProblem(await api.call(method, path, single, {}), 403, 'second-factor-required');
        const other = token('user_a', { claims: { act: { sub: 'user_boss' } } });
        assertProblem(await api.call(method, path, other, {}), 403, 'impersonated');
      }
      const veto = await api.call('POST', `/v1/custody/migrations/${id}/veto`, token('user_a', stale));
      assert.equal(veto.status, 202);
    });

    it('five acts a second of a tenant; what comes then waits', async () => {
      const still = await startCustodyApi(db, { now: () => 0 });
      try {
        const ask = () => still.call('POST', '/v1/custody/passkeys/options', token('user_a'));
        for (let n = 0; n < 10; n++) assert.equal((await ask()).status, 200);
        assertProblem(await ask(), 429, 'rate-limited');
        assert.equal((await still.get('/v1/custody', token('user_a'))).status, 200, 'reading goes on');
      } finally {
        await still.stop();
      }
    });
  });

  describe('passkeys', () => {
    it('are registered with a challenge of ours and user verification, and left as evidence with the session’s token', async () => {
      const { id, passkey } = await admin('ada');
      const { json } = await api.get('/v1/custody/passkeys', token('user_reader'));
      assert.deepEqual(
        json.passkeys.map((one: any) => [one.id, one.user, one.state]),
        [[passkey.id, id, 'done']],
      );
      assert.equal(Date.parse(json.passkeys[0].countsFrom) - Date.parse(json.passkeys[0].registeredAt), DAY);
      const [row] = await db.sql<{ payload: any; issuer: string }>(
        'SELECT payload, issuer FROM kiff.commands WHERE tenant = $1',
        [tenant.id],
      );
      assert.equal(row?.issuer, 'kiff_c');
      assert.match(row?.payload.token, /^[\w-]+\.[\w-]+\.[\w-]+$/);
      assert.equal(row?.payload.registration.id, passkey.id);
    });

    it('are refused without user verification, for another origin, with somebody else’s or an old challenge, or twice', async () => {
      const challenge = await challengeFor('user_ada');
      assertRefused(await register('user_ada', challenge, { verified: false }), 422, 'bad-registration');
      assertRefused(await register('user_ada', challenge, { origin: 'http://localhost:1' }), 422, 'bad-registration');
      assertRefused(await register('user_ada', challenge, { rpId: 'evil.test' }), 422, 'bad-registration');
      assertRefused(await register('user_bob', challenge), 422, 'bad-challenge');
      assertRefused(await register('user_ada', `A${challenge.slice(1)}`), 422, 'bad-challenge');
      assertRefused(await register('user_ada', 'AAAA'), 422, 'bad-challenge');
      const passkey = createPasskey();
      assert.equal((await register('user_ada', challenge, {}, passkey)).status, 202, 'control');
      assertRefused(await register('user_ada', challenge, {}, passkey), 409, 'known-passkey');
      const another = createPasskey();
      later = 11 * 60_000;
      assertRefused(await register('user_ada', challenge, {}, another), 422, 'bad-challenge');
    });
  });

  it('a passkey is removed by any admin of its tenant: it is listed and asked no more', async () => {
    const ada = await admin('ada');
    later = DAY;
    const id = await opened(ada.id);
    const path = `/v1/custody/passkeys/${ada.passkey.id}`;
    const other = await db.createTenant();
    const theirs = sessionToken({ organisation: await db.createOrganisation(other) });
    assertProblem(await api.call('DELETE', path, theirs), 404, 'not-found');
    const options = () => api.call('POST', `/v1/custody/migrations/${id}/approve/options`, token(ada.id));
    assert.deepEqual(
      (await options()).json.allowCredentials.map((one: any) => one.id),
      [ada.passkey.id],
      'control',
    );
    const removed = await api.call('DELETE', path, token('user_bob'));
    assert.equal(removed.status, 202, removed.text);
    const listed = async () => (await api.get('/v1/custody/passkeys', token(ada.id))).json.passkeys.length as number;
    assert.equal(await listed(), 0);
    assertRefused(await options(), 409, 'no-passkey');
    assertProblem(await api.call('DELETE', path, token('user_bob')), 404, 'not-found');
    assertRefused(await register(ada.id, await challengeFor(ada.id), {}, ada.passkey), 409, 'known-passkey');
    await rows.finish(removed.json.ref, 'failed', 'not-two-factor');
    assert.equal(await listed(), 1, 'the signing plane has refused it');
  });

  describe('a migration', () => {
    it('is asked for: 202 and where to look, until the signing plane has opened it', async () => {
      const answer = await api.call('POST', '/v1/custody/migrations', token('user_ada'), {
        custody: 'tenant-kms',
        keyArn: ARN,
      });
      const { ref, result, migration } = answer.json;
      assert.deepEqual(
        [answer.status, answer.headers.get('location'), result, migration],
        [202, result, `/v1/custody/commands/${ref}`, `/v1/custody/migrations/${ref}`],
      );
      assert.match(ref, /^[0-9a-f]{32}$/, 'a word that a command line takes for no option');
      assert.equal((await api.get(result, token('user_ada'))).json.state, 'pending');
      assert.equal((await read(ref)).state, 'requested');
      await rows.open(ref);
      await rows.finish(ref, 'done');
      const view = await read(ref);
      assert.deepEqual(
        [view.state, view.custody, view.keyRef, view.epochTo, view.newSigner],
        ['active', 'tenant-kms', ARN, 1, null],
      );
      assert.equal(view.fromSigner, tenant.genesisSigner);
      assert.equal((await api.get(result, token('user_ada'))).json.state, 'done');
    });

    it('that the signing plane refuses is a problem, there and under its id (B21)', async () => {
      const ref = await start('user_ada');
      await rows.finish(ref, 'failed', 'foreign-region');
      assertRefused(await api.get(`/v1/custody/commands/${ref}`, token('user_ada')), 422, 'foreign-region');
      assertRefused(await api.get(`/v1/custody/migrations/${ref}`, token('user_ada')), 422, 'foreign-region');
      const other = await start('user_ada');
      await rows.finish(other, 'failed', 'custody-active');
      assertRefused(await api.get(`/v1/custody/commands/${other}`, token('user_ada')), 409, 'custody-active');
    });

    it('is refused without its key or address, with an alias, and while another one is active (C9)', async () => {
      const ask = (body: object) => api.call('POST', '/v1/custody/migrations', token('user_ada'), body);
      for (const body of [
        { custody: 'tenant-kms' },
        { custody: 'cloud', keyArn: ARN },
        { custody: 'tenant-kms', keyArn: ARN.replace('key/', 'alias/') },
        { custody: 'tenant-kms', keyArn: `${ARN}'; RESET ROLE; --` },
        { custody: 2, keyArn: ARN },
        { custody: 'tenant-agent' },
        { custody: 'tenant-agent', keyArn: ARN },
        { custody: 'tenant-agent', signer: `0x${'AB'.repeat(20)}` },
        { custody: 'cloud', signer: newSigner },
        { custody: 'cloud', more: 1 },
      ]) {
        assertProblem(await ask(body), 422, 'invalid-body');
      }
      const id = await opened('user_ada', { custody: 'tenant-agent', signer: newSigner });
      assertRefused(await ask({ custody: 'cloud' }), 409, 'custody-active');
      assert.equal((await api.get('/v1/custody', token('user_ada'))).json.migration, id);
    });

    it('shows what is to be signed, ready for eth_signTypedData_v4', async () => {
      const id = await opened('user_ada');
      const view = await read(id);
      for (const signable of [view.approval, view.proof]) {
        const { types, primaryType, domain, message } = signable.typedData;
        const { EIP712Domain: _, ...rest } = types;
        const theirs = hashTypedData({ types: rest, primaryType, domain, message });
        assert.equal(signable.digest, theirs, primaryType);
      }
      const { message } = view.approval.typedData;
      assert.deepEqual([message.newSigner, message.custody, message.logId], [newSigner, 2, tenant.logId]);
      const ours = typedDigest({ chainId: db.chainId, contract: db.contract }, hashStruct(CUSTODY_APPROVAL, message));
      assert.equal(Buffer.from(view.approval.challenge, 'base64url').toString('hex'), ours.slice(2));
    });

    it('is approved by passkeys whose challenge is the approval’s digest; each admin once', async () => {
      const ada = await admin('ada');
      const bob = await admin('bob');
      later = DAY;
      const id = await opened(ada.id);
      const given = await approve(ada, id);
      assert.equal(given.status, 202, given.text);
      assertRefused(await approve(ada, id), 409, 'approved-already');
      await rows.finish(given.json.ref, 'done');
      assert.equal((await approve(bob, id)).status, 202);
      const view = await read(id);
      assert.deepEqual(
        view.approvals.map((one: any) => [one.user, one.state]),
        [
          [ada.id, 'done'],
          [bob.id, 'pending'],
        ],
      );
      assert.match(view.says, /two different admins.*one has so far/);
      const [row] = await db.sql<{ payload: any }>(
        `SELECT payload FROM kiff.commands WHERE kind = 'custody.approve' AND tenant = $1`,
        [tenant.id],
      );
      assert.deepEqual([row?.payload.migration, row?.payload.assertion.id], [id, ada.passkey.id]);
      assert.ok(!JSON.stringify(view).includes(row?.payload.token), 'a token leaves the database for nobody');
    });

    it('is not approved with another challenge, another’s passkey, a young one, none, without user verification, or too late', async () => {
      const ada = await admin('ada');
      const bob = await admin('bob');
      const id = await opened(ada.id);
      assertRefused(await approve(ada, id), 409, 'passkey-too-young');
      later = DAY;
      assertRefused(await approve(ada, id, { challenge: randomBytes(32).toString('base64url') }), 422, 'bad-assertion');
      assertRefused(await approve(ada, id, { origin: 'http://localhost:1' }), 422, 'bad-assertion');
      assertRefused(await approve(ada, id, { verified: false }), 422, 'bad-assertion');
      assertRefused(await approve({ id: ada.id, passkey: bob.passkey }, id), 422, 'unknown-passkey');
      assertRefused(await approve({ id: 'user_nobody', passkey: bob.passkey }, id), 409, 'no-passkey');
      later = 4 * DAY;
      assertRefused(await approve(ada, id), 422, 'expired');
      later = DAY;
      assert.equal((await approve(ada, id)).status, 202, 'control');
    });

    it('of another tenant is not there (B15)', async () => {
      const id = await opened('user_ada');
      const other = await db.createTenant();
      const theirs = sessionToken({ organisation: await db.createOrganisation(other) });
      assertProblem(await api.get(`/v1/custody/migrations/${id}`, theirs), 404, 'not-found');
      assertProblem(await api.get(`/v1/custody/commands/${id}`, theirs), 404, 'not-found');
      assertProblem(await api.call('POST', `/v1/custody/migrations/${id}/veto`, theirs), 404, 'not-found');
    });

    it('is stopped until the new key has accepted, and not afterwards; its handover is shown as it stands', async () => {
      const id = await opened('user_ada');
      const view = await read(id);
      const times = { notBefore: 1, expiresAt: 4_000_000_000 };
      const handover = {
        logId: tenant.logId,
        epochTo: 1,
        from: tenant.genesisSigner,
        to: newSigner,
        custody: 2,
        ...times,
        nonce: view.approval.typedData.message.nonce as Hex,
      };
      const hash = handoverHash(handover);
      await rows.handover(id, hash, times.notBefore, times.expiresAt);
      await rows.step(id, 'cooling-off', 'waiting');
      await rows.onChain(hash, 'proposed', 'final', 2_000_000_000);
      const cooling = await read(id);
      assert.deepEqual(
        [cooling.handover.hash, cooling.handover.proposed.level, cooling.stoppable],
        [hash, 'final', true],
      );
      assert.deepEqual(cooling.handover.handover.typedData.message, handover);
      assert.match(cooling.says, /cools off until 2033-05-18 03:33 UTC/);
      const veto = await api.call('POST', `/v1/custody/migrations/${id}/veto`, token('user_bob'));
      assert.equal(veto.status, 202);
      assert.equal((await api.call('POST', `/v1/custody/migrations/${id}/cancel`, token('user_ada'))).status, 202);

      await rows.acceptance(hash, 9, toHex(randomBytes(32)));
      await rows.step(id, 'accept', 'done');
      assert.deepEqual(
        [(await read(id)).stoppable, (await read(id)).handover.accept.typedData.message.seq],
        [false, 9],
      );
      for (const way of ['veto', 'cancel']) {
        assertRefused(
          await api.call('POST', `/v1/custody/migrations/${id}/${way}`, token('user_ada')),
          409,
          'too-late',
        );
      }

      await rows.onChain(hash, 'accepted', 'final');
      await rows.step(id, 'cut-over', 'done');
      await db.sql(
        `UPDATE kiff.logs SET current_signer = $2, epoch = 1, custody = 2, key_ref = $3, signer_since = now() WHERE tenant = $1`,
        [tenant.id, Buffer.from(newSigner.slice(2), 'hex'), ARN],
      );
      const { json } = await api.get('/v1/custody', token('user_ada'));
      assert.deepEqual([json.holder.custody, json.holder.signer, json.holder.keyRef], ['tenant-kms', newSigner, ARN]);
      assert.deepEqual(
        json.epochs.map((one: any) => [one.epoch, one.custody, one.signer, one.afterSeq]),
        [
          [0, 'cloud', tenant.genesisSigner, 0],
          [1, 'tenant-kms', newSigner, 9],
        ],
      );
    });
  });

  const contacts = async () => (await api.get('/v1/custody/contacts', token('user_ada'))).json;
  const setContact = (user: string, body: object) => api.call('PUT', '/v1/custody/contacts/mine', token(user), body);

  it('contacts are each admin’s own; the webhook’s secret is shown once', async () => {
    assert.deepEqual(await contacts(), { contacts: [], asked: [] });
    for (const body of [
      {},
      { email: 'nobody' },
      { email: 'a@example.com\r\nBcc: b@example.com' },
      { webhook: 'http://example.com/' },
      { webhook: 'https://a:b@example.com/' },
    ]) {
      assertProblem(await setContact('user_ada', body), 422, 'invalid-body');
    }
    const bob = await setContact('user_bob', { email: 'bob@example.com' });
    const old = await setContact('user_ada', { email: 'old@example.com' });
    const answer = await setContact('user_ada', { email: 'security@example.com', webhook: 'https://example.com/kiff' });
    assert.match(answer.json.webhookSecret, /^whsec_[A-Za-z0-9+/]{43}=$/);
    const asked = await contacts();
    assert.deepEqual(asked.contacts, [], 'nobody is told because somebody said so');
    assert.deepEqual(
      asked.asked.map((one: any) => [one.user, one.email, one.webhook, one.result]),
      [
        ['user_bob', 'bob@example.com', null, bob.json.result],
        ['user_ada', 'old@example.com', null, old.json.result],
        ['user_ada', 'security@example.com', 'https://example.com/kiff', answer.json.result],
      ],
    );
    await rows.keepContact(bob.json.ref, 'user_bob');
    await rows.keepContact(old.json.ref, 'user_ada');
    await rows.finish(answer.json.ref, 'failed', 'not-a-member');
    const told = await contacts();
    assert.deepEqual(
      told.contacts.map((one: any) => [one.user, one.email, one.webhook]),
      [
        ['user_ada', 'old@example.com', null],
        ['user_bob', 'bob@example.com', null],
      ],
      'what stood before a refused one still stands',
    );
    assert.deepEqual(told.asked, []);
    assert.ok(!JSON.stringify([asked, told]).includes(answer.json.webhookSecret));
  });
});
