import assert from 'node:assert/strict';
import { createHmac, generateKeyPairSync } from 'node:crypto';
import { createSessionVerifier } from '../../api/access/session-token.ts';
import { createAuthenticate } from '../../api/ingest/authenticate.ts';
import type { Right } from '../../api/access/rights.ts';
import { createPool } from '../../api/http/database.ts';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { assertProblem, recordText, startIngestApi, type IngestApi } from './ingest-api.ts';
import { JWT_KEY, now, randomUser, sessionToken, verifySession, type TokenOptions } from './session-tokens.ts';

describe('sessions', () => {
  let db: ProductDatabase;
  let api: IngestApi;
  let tenant: TestTenant;
  let organisation: string;

  before(async function () {
    this.timeout(60_000);
    db = await createProductDatabase();
    api = await startIngestApi(db);
    tenant = await db.createTenant();
    organisation = await db.createOrganisation(tenant);
  });
  after(async () => {
    await api.stop();
    await db.drop();
  });

  const token = (options: TokenOptions = {}): string => sessionToken({ organisation, ...options });

  const event = async (user: string, kind: 'created' | 'updated' | 'deleted', at: Date): Promise<void> => {
    const webhooks = await db.connect(db.urls.kiff_webhooks);
    await webhooks.query('SELECT kiff.membership_changed($1, $2, $3, $4, $5)', [
      `msg_${Math.random()}`,
      organisation,
      user,
      kind,
      at,
    ]);
    await webhooks.end();
  };
  /** An application of its own remembers nothing. */
  const anew = async (use: (other: IngestApi) => Promise<void>): Promise<void> => {
    const other = await startIngestApi(db);
    try {
      await use(other);
    } finally {
      await other.stop();
    }
  };

  it('let a member read the records of the organisation’s tenant (control)', async () => {
    await api.post(tenant.apiKey, recordText('for-people'));
    const answer = await api.get('/v1/records/for-people', token());
    assert.equal(answer.status, 200);
    assert.equal((await api.get('/v1/seals', token())).status, 200);
  });

  it('post no records: an agent does, with a key', async () => {
    assertProblem(await api.post(token(), recordText('by-hand')), 403, 'missing-permission');
  });

  describe('are refused (B14)', () => {
    const foreign = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
    const cases: Record<string, [status: number, problem: string, () => TokenOptions]> = {
      'alg none': [401, 'unauthorized', () => ({ header: { alg: 'none' } })],
      'alg none without a signature': [401, 'unauthorized', () => ({ header: { alg: 'none' }, signature: () => '' })],
      'HS256 with the public key as its secret': [
        401,
        'unauthorized',
        () => ({
          header: { alg: 'HS256' },
          signature: (signed) => createHmac('sha256', JWT_KEY).update(signed).digest('base64url'),
        }),
      ],
      'the signature of another key': [401, 'unauthorized', () => ({ signature: foreign })],
      'an expired one': [
        401,
        'unauthorized',
        () => ({ claims: { iat: now() - 120, nbf: now() - 130, exp: now() - 60 } }),
      ],
      'one not valid yet': [401, 'unauthorized', () => ({ claims: { nbf: now() + 60 } })],
      'one issued in the future': [401, 'unauthorized', () => ({ claims: { iat: now() + 60 } })],
      'one without an end': [401, 'unauthorized', () => ({ claims: { exp: undefined } })],
      'another party’s': [401, 'unauthorized', () => ({ claims: { azp: 'https://evil.example' } })],
      'one without a party': [401, 'unauthorized', () => ({ claims: { azp: undefined } })],
      'version 1': [
        401,
        'unauthorized',
        () => ({ claims: { v: undefined, org_id: 'org_test', org_permissions: ['org:records:read'] } }),
      ],
      'a token of a template, which is no session': [401, 'unauthorized', () => ({ claims: { sid: undefined } })],
      'a machine’s token': [401, 'unauthorized', () => ({ header: { cat: 'cl_B7d4PD333AAA' } })],
      'an access token of OAuth': [401, 'unauthorized', () => ({ header: { typ: 'at+jwt' } })],
      'a session with open tasks': [401, 'unauthorized', () => ({ claims: { sts: 'pending' } })],
      'a user that is no user': [401, 'unauthorized', () => ({ claims: { sub: `user_x'; RESET ROLE; --` } })],
      'no organisation': [403, 'no-organisation', () => ({ organisation: null })],
      'no permission': [403, 'missing-permission', () => ({ permissions: ['org:audit:read'] })],
      'an organisation that is no tenant (yet)': [503, 'tenant-not-ready', () => ({ organisation: 'org_unknown' })],
    };
    for (const [name, [status, problem, options]] of Object.entries(cases)) {
      it(name, async () => {
        const answer = await api.get('/v1/seals', token(options()));
        assertProblem(answer, status, problem);
        assert.equal(answer.headers.get('www-authenticate'), status === 401 ? 'Bearer' : null);
      });
    }

    it('a signature over other claims, a token cut short, one of 10 kB', async () => {
      const [header, claims, signature] = token().split('.') as [string, string, string];
      const [, others] = sessionToken({ organisation, permissions: [] }).split('.');
      for (const text of [
        `${header}.${others}.${signature}`,
        `${header}.${claims}`,
        `${header}.${claims}.`,
        `${token()}.x`,
      ]) {
        assertProblem(await api.get('/v1/seals', text), 401, 'unauthorized');
      }
      const lookups = api.directoryLookups();
      assertProblem(await api.get('/v1/seals', token({ claims: { padding: 'x'.repeat(7_500) } })), 401, 'unauthorized');
      assert.equal(api.directoryLookups(), lookups);
    });

    it('and a verifier without an authorized party is not made: it would take everybody’s', () => {
      assert.throws(() => createSessionVerifier({ jwtKey: JWT_KEY, authorizedParties: [] }), RangeError);
    });
  });

  describe('and memberships', () => {
    it('a member who was removed is refused, with a token that is good for another minute', async () => {
      const user = randomUser();
      const valid = token({ user });
      await event(user, 'created', new Date(Date.now() - 60_000));
      assert.equal((await api.get('/v1/seals', valid)).status, 200);
      await event(user, 'deleted', new Date());
      await anew(async (other) => assertProblem(await other.get('/v1/seals', valid), 403, 'not-a-member'));
    });

    it('a role that changed needs a token from after the change', async () => {
      const user = randomUser();
      const before = token({ user, claims: { iat: now() - 30 } });
      await event(user, 'created', new Date(Date.now() - 60_000));
      await event(user, 'updated', new Date(Date.now() - 20_000));
      assertProblem(await api.get('/v1/seals', before), 401, 'unauthorized');
      assert.equal((await api.get('/v1/seals', token({ user }))).status, 200);
    });

    it('a member whom no event named yet has the token’s word', async () => {
      assert.equal((await api.get('/v1/seals', token({ user: randomUser() }))).status, 200);
    });

    it('an organisation that was deleted: its people are refused, its keys read and write no more', async () => {
      const gone = await db.createTenant();
      const goneOrganisation = await db.createOrganisation(gone);
      assert.equal((await api.post(gone.apiKey, recordText('before'))).status, 201);
      const webhooks = await db.connect(db.urls.kiff_webhooks);
      await webhooks.query('SELECT kiff.organisation_deleted($1, $2)', ['msg_gone', goneOrganisation]);
      await webhooks.end();
      await anew(async (other) => {
        assertProblem(
          await other.get('/v1/seals', sessionToken({ organisation: goneOrganisation })),
          403,
          'not-a-member',
        );
        assertProblem(await other.post(gone.apiKey, recordText('after')), 403, 'tenant-ended');
        assert.equal((await other.get('/v1/records/before', gone.apiKey)).status, 200);
      });
    });
  });

  describe('and what a role may do', () => {
    const rights: Right[] = ['read', 'list-keys', 'manage-keys', 'manage-custody', 'read-audit', 'link-wallet'];
    const may = async (options: TokenOptions): Promise<Right[]> => {
      const directory = createPool({ url: db.urls.kiff_api, max: 1, name: 'test', incarnation: db.incarnation });
      const authenticate = createAuthenticate({ directory, verifySession });
      const held: Right[] = [];
      for (const right of rights) {
        await authenticate(`Bearer ${token(options)}`, right).then(
          () => held.push(right),
          ({ slug }) => assert.equal(slug, 'missing-permission'),
        );
      }
      await directory.end();
      return held;
    };

    it('comes from its permissions, one by one', async () => {
      assert.deepEqual(await may({ permissions: [] }), ['link-wallet']);
      assert.deepEqual(await may({ permissions: ['org:records:read'] }), ['read', 'link-wallet']);
      assert.deepEqual(await may({ permissions: ['org:keys:manage'] }), ['list-keys', 'manage-keys', 'link-wallet']);
      assert.deepEqual(await may({ permissions: ['org:custody:manage'] }), ['manage-custody', 'link-wallet']);
      assert.deepEqual(await may({ permissions: ['org:audit:read'] }), ['read-audit', 'link-wallet']);
      assert.deepEqual(await may({ permissions: ['org:records:manage', 'org:keys:read'] }), ['link-wallet']);
    });

    it('and sensitive acts need both factors from the last ten minutes, and nobody acting for somebody', async () => {
      const directory = createPool({ url: db.urls.kiff_api, max: 1, name: 'test', incarnation: db.incarnation });
      const authenticate = createAuthenticate({ directory, verifySession });
      const outcome = (options: TokenOptions): Promise<string> =>
        authenticate(`Bearer ${token(options)}`, 'manage-keys').then(
          () => 'admitted',
          ({ slug }: { slug: string }) => slug,
        );
      assert.equal(await outcome({ factors: [0, 0] }), 'admitted');
      assert.equal(await outcome({ factors: [10, 10] }), 'admitted');
      assert.equal(await outcome({ factors: [0, -1] }), 'second-factor-required');
      assert.equal(await outcome({ claims: { fva: undefined } }), 'second-factor-required');
      assert.equal(await outcome({ factors: [0, 11] }), 'reverification-required');
      assert.equal(await outcome({ factors: [11, 0] }), 'reverification-required');
      assert.equal(await outcome({ factors: [-1, 0] }), 'reverification-required');
      assert.equal(await outcome({ claims: { act: { sub: 'user_support' } } }), 'impersonated');
      await directory.end();
    });
  });
});
