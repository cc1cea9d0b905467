/** What counts as evidence for the signer, and which key as a new signer: whatever the custody API inserts (faults C6, C10, C11, C13, B21). */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { DescribeKeyCommand } from '@aws-sdk/client-kms';
import { keyAddress, tenantKeyAlias } from '../../../activities/kms/keys.ts';
import { TENANT_ACCOUNT } from '../../../dev/kms-roles.ts';
import { CUSTODY_APPROVAL, hashStruct, typedDigest } from '../../../protocol/eip712.ts';
import { fromHex, toHex, type Hex } from '../../../protocol/hex.ts';
import { now } from '../../api/session-tokens.ts';
import { createPasskey } from '../../passkey.ts';
import type { TestTenant } from '../../product-database.ts';
import { createTenantKey } from '../../tenant-kms.ts';
import { createPlane, CUSTODY_ORIGIN, failsAs, type Plane } from '../plane.ts';
import { createAdmins, type Admin } from '../../custody/admins.ts';

describe('custody: evidence', function () {
  this.timeout(120_000);
  let plane: Plane;
  let admins: ReturnType<typeof createAdmins>;
  let custody: ReturnType<Plane['custody']>;
  let tenant: TestTenant;
  let people: Admin[];
  let migration: string;

  before(async () => {
    plane = await createPlane();
    admins = createAdmins(plane);
    custody = plane.custody();
    tenant = await plane.tenant({ register: false });
    people = await admins.admins(tenant, 3);
    const key = await createTenantKey(plane.kmsAs('tenant'), tenant.origin);
    migration = await admins.start(tenant, people[0]!, { custody: 2, keyArn: key.arn });
    const found = await custody.identifySigner({ tenantId: tenant.id, migrationId: migration });
    assert.ok(found.ok);
    await admins.name(migration, found);
  });
  after(() => plane.stop());

  const judge = (commandId: number, by = custody) => by.checkEvidence({ tenantId: tenant.id, commandId });
  const refused = async (commandId: number, reason: string, by = custody) =>
    assert.deepEqual(await judge(commandId, by), { ok: false, reason });
  const count = async () => (await custody.approvals({ tenantId: tenant.id, migrationId: migration })).admins;

  /** Puts a row where it would stand had it come earlier or later, as only a superuser can. */
  const movedBy = (id: number, seconds: number) =>
    plane.database.sql('UPDATE kiff.commands SET issued_at = issued_at + make_interval(secs => $2) WHERE id = $1', [
      id,
      seconds,
    ]);

  it('an approval counts once for each admin, and says which commands show it', async () => {
    const first = await admins.approve(tenant, people[0]!, migration);
    assert.deepEqual(await judge(first), { ok: true, kind: 'custody.approve', migration });
    await admins.approve(tenant, people[0]!, migration);
    assert.equal(await count(), 1, 'one person twice is one');
    const second = await admins.approve(tenant, people[1]!, migration);
    const counted = await custody.approvals({ tenantId: tenant.id, migrationId: migration });
    assert.deepEqual(counted, { admins: 2, commandIds: [first, second] });
  });

  it('an approver who has left the organisation does not count any more (C11)', async () => {
    for (const [member, counted] of [
      [false, 1],
      [true, 2],
    ]) {
      await plane.database.sql('UPDATE kiff.memberships SET member = $2 WHERE user_id = $1', [people[1]!.user, member]);
      assert.equal(await count(), counted);
    }
  });

  it('a token is judged by when it arrived: a day later it still proves what it proved, and no late one is taken', async () => {
    const stays = await admins.approve(tenant, people[2]!, migration);
    const tomorrow = plane.custody({ now: () => Date.now() + 86_400_000 });
    assert.deepEqual(await judge(stays, tomorrow), { ok: true, kind: 'custody.approve', migration });
    const late = await admins.approve(tenant, people[2]!, migration);
    await movedBy(late, 70);
    await refused(late, 'token-expired');
    const closed = await admins.approve(tenant, people[2]!, migration);
    await movedBy(closed, 7_200);
    await refused(closed, 'approvals-closed');
    await plane.database.sql('DELETE FROM kiff.commands WHERE id = $1', [stays]);
  });

  it('session tokens: another key’s, another organisation’s, no permission, somebody acting for another, a stranger', async () => {
    const [admin] = people as [Admin];
    const veto = (token: string) => admins.leave(tenant, 'custody.veto', { migration, token });
    const token = (options: Parameters<typeof admins.token>[1]) => admins.token(admin, options);
    await refused(await veto(token({ signature: () => randomBytes(256).toString('base64url') })), 'token-invalid');
    await refused(await veto(token({ header: { alg: 'none' } })), 'token-invalid');
    await refused(await veto(token({ claims: { azp: 'https://elsewhere.test' } })), 'token-invalid');
    await refused(await veto(token({ claims: { exp: now() - 10 } })), 'token-expired');
    await refused(await veto(token({ claims: { iat: now() - 3_600 } })), 'token-expired');
    await refused(await veto(token({ claims: { nbf: now() + 60 } })), 'token-invalid');
    await refused(await veto(token({ organisation: 'org_other' })), 'token-other-organisation');
    await refused(await veto(token({ organisation: null })), 'token-other-organisation');
    await refused(await veto(token({ permissions: ['org:keys:manage', 'org:custody:read'] })), 'no-permission');
    await refused(await veto(token({ claims: { act: { sub: 'user_support' } } })), 'impersonated');
    await refused(await veto(token({ user: 'user_stranger' })), 'not-a-member');
    await refused(await admins.leave(tenant, 'custody.veto', { migration }), 'malformed');
    await refused(
      await admins.leave(tenant, 'custody.veto', { migration: 'another-migration', token: token({}) }),
      'migration-unknown',
    );
    assert.equal(await count(), 2, 'none of these stops it');
  });

  it('passkeys: too young by either clock, without two factors, by somebody else’s token, unverified, of another page', async () => {
    const day = plane.custody({ passkeyMinAgeSeconds: 86_400 });
    const fresh = await admins.approve(tenant, people[0]!, migration);
    await refused(fresh, 'passkey-too-young', day);
    // The database's clock moved: Clerk's says the same as before.
    const [registration] = await plane.database.sql<{ id: number }>(
      `SELECT id FROM kiff.commands WHERE kind = 'custody.passkey' AND payload -> 'registration' ->> 'id' = $1`,
      [people[0]!.passkey.id],
    );
    await movedBy(registration!.id, -10);
    await refused(fresh, 'passkey-too-young', plane.custody({ passkeyMinAgeSeconds: 10 }));
    assert.deepEqual(await judge(fresh), { ok: true, kind: 'custody.approve', migration }, 'control');

    const [admin] = people as [Admin];
    const other = { ...admin, passkey: createPasskey() };
    await refused(await admins.register(tenant, other, { factors: [0, 11] }), 'not-two-factor');
    await refused(await admins.register(tenant, other, { factors: [0, -1] }), 'not-two-factor');
    await refused(await admins.approve(tenant, other, migration), 'not-two-factor');
    await refused(await admins.register(tenant, admin), 'passkey-known-already');
    await refused(
      await admins.approve(tenant, { ...people[1]!, passkey: admin.passkey }, migration),
      'passkey-unknown',
    );
    await refused(await admins.approve(tenant, { ...admin, passkey: createPasskey() }, migration), 'passkey-unknown');

    const leave = (made: object, challenge = 'a'.repeat(43)) =>
      admins.leave(tenant, 'custody.passkey', { token: admins.token(admin), registration: made, challenge });
    const page = { challenge: 'a'.repeat(43), origin: CUSTODY_ORIGIN };
    await refused(await leave(createPasskey().register({ ...page, verified: false })), 'passkey-malformed');
    await refused(
      await leave(createPasskey().register({ ...page, origin: 'http://localhost:1' })),
      'passkey-malformed',
    );
    await refused(await leave(createPasskey().register({ ...page, rpId: 'elsewhere' })), 'passkey-malformed');
    await refused(await leave(createPasskey().register(page), 'b'.repeat(43)), 'passkey-malformed');
    // ML-DSA-44, which the library takes by itself where the runtime has it, and no certificate's verifier reads.
    await refused(await leave(createPasskey().register({ ...page, algorithm: -48 })), 'passkey-malformed');
    assert.equal((await judge(await leave(createPasskey().register(page)))).ok, true, 'control');
  });

  it('an assertion is over this approval: not another signer, log, chain, contract or migration (C6, C13)', async () => {
    const [row] = await plane.database.sql<{ new_signer: Buffer; nonce: Buffer; approvals_expire_at: number }>(
      'SELECT new_signer, nonce, approvals_expire_at FROM kiff.custody_migrations WHERE id = $1',
      [migration],
    );
    const approval = {
      logId: tenant.logId,
      newSigner: toHex(row!.new_signer),
      custody: 2,
      nonce: toHex(row!.nonce),
      expiresAt: row!.approvals_expire_at,
    };
    const registry = { chainId: plane.database.chainId, contract: plane.registry.address };
    const other: Hex = `0x${'11'.repeat(32)}`;
    const stranger: Hex = `0x${'22'.repeat(20)}`;
    const digests: Hex[] = [
      { ...approval, newSigner: stranger },
      { ...approval, logId: other },
      { ...approval, nonce: other },
      { ...approval, custody: 1 },
      { ...approval, expiresAt: approval.expiresAt + 1 },
    ].map((changed) => typedDigest(registry, hashStruct(CUSTODY_APPROVAL, changed)));
    digests.push(
      typedDigest({ ...registry, chainId: 8453 }, hashStruct(CUSTODY_APPROVAL, approval)),
      typedDigest({ ...registry, contract: `0x${'33'.repeat(20)}` }, hashStruct(CUSTODY_APPROVAL, approval)),
      hashStruct(CUSTODY_APPROVAL, approval),
    );
    for (const digest of digests) {
      await refused(await admins.approve(tenant, people[2]!, migration, digest), 'assertion-invalid');
    }
    assert.equal(await count(), 2);
    const right = typedDigest(registry, hashStruct(CUSTODY_APPROVAL, approval));
    const good = await admins.approve(tenant, people[2]!, migration, right);
    assert.deepEqual(await judge(good), { ok: true, kind: 'custody.approve', migration }, 'control');
    await plane.database.sql('DELETE FROM kiff.commands WHERE id = $1', [good]);
  });

  it('rows of other logins are no evidence, whatever they say (C13)', async () => {
    const [copied] = await plane.database.sql<{ id: number }>(
      `INSERT INTO kiff.commands (issuer, tenant, kind, payload)
         SELECT 'kiff_t', tenant, kind, payload FROM kiff.commands WHERE kind = 'custody.approve' LIMIT 1 RETURNING id`,
    );
    await assert.rejects(judge(copied!.id), failsAs('custody-refused'));
    const api = await plane.database.connect(tenant.url);
    await assert.rejects(
      api.query(`INSERT INTO kiff.commands (kind, payload) VALUES ('custody.approve', '{}')`),
      /row-level security/,
    );
    await api.end();
  });

  it('whom to tell is kept once it was verified, and only if it can be told', async () => {
    const [admin] = people as [Admin];
    const contacts = () =>
      plane.database.sql('SELECT email FROM kiff.custody_contacts WHERE user_id = $1', [admin.user]);
    const contact = (email: string, organisation = admin.organisation) =>
      admins.leave(tenant, 'custody.contact', { token: admins.token({ ...admin, organisation }), email });
    await refused(await contact('security@acme.test', 'org_other'), 'token-other-organisation');
    await refused(await contact('no address'), 'malformed');
    assert.deepEqual(await contacts(), []);
    const good = await contact('security@acme.test');
    assert.deepEqual(await judge(good), { ok: true, kind: 'custody.contact', migration: null });
    assert.deepEqual(await contacts(), [{ email: 'security@acme.test' }]);
  });

  it('a passkey that was removed counts no more, in approvals given before either, whoever removed it and left since', async () => {
    const [admin, other, owner] = people as [Admin, Admin, Admin];
    const remove = (options = {}, by = admin, id = owner.passkey.id) => admins.remove(tenant, by, id, options);
    await admins.approve(tenant, owner, migration);
    const before = await count();
    assert.equal(before, 3);
    await refused(await remove({ factors: [0, 11] }), 'not-two-factor');
    await refused(await remove({ organisation: 'org_other' }), 'token-other-organisation');
    await refused(await remove({ claims: { act: { sub: 'user_boss' } } }), 'impersonated');
    await refused(await remove({}, admin, createPasskey().id), 'passkey-unknown');
    assert.equal(await count(), before, 'control');
    const member = (is: boolean) =>
      plane.database.sql('UPDATE kiff.memberships SET member = $2 WHERE user_id = $1', [other.user, is]);
    assert.deepEqual(await judge(await remove({}, other)), {
      ok: true,
      kind: 'custody.passkey.remove',
      migration: null,
    });
    assert.equal(await count(), before - 1);
    await member(false);
    assert.equal(await count(), before - 2, 'with the approval of whoever left');
    await member(true);
    await refused(await remove(), 'passkey-removed');
    await refused(await admins.register(tenant, owner), 'passkey-known-already');
    await refused(await admins.approve(tenant, owner, migration), 'passkey-removed');
  });

  it('a valid veto stops everything that is still to be signed', async () => {
    const ref = { tenantId: tenant.id, migrationId: migration };
    await assert.rejects(custody.custodyProof(ref), failsAs('out-of-order'), 'the log has no seal yet');
    const veto = await admins.leave(tenant, 'custody.veto', { migration, token: admins.token(people[1]!) });
    assert.deepEqual(await judge(veto), { ok: true, kind: 'custody.veto', migration });
    await assert.rejects(custody.custodyProof(ref), failsAs('custody-stopped'));
    await assert.rejects(custody.shadowSeal({ ...ref, seq: 1 }), failsAs('custody-stopped'));
    await assert.rejects(custody.handover(ref), failsAs('custody-stopped'));
    assert.equal(await custody.handoverCancel(ref), null, 'and nothing of it lives');
    await plane.database.sql(
      `UPDATE kiff.custody_migrations SET ended_at = clock_timestamp(), outcome = 'undone', reason = 'vetoed' WHERE id = $1`,
      [migration],
    );
    await refused(veto, 'migration-ended');
  });

  it('a link’s veto stops the migration that its notice was about, and no later one', async () => {
    const { arn } = await createTenantKey(plane.kmsAs('tenant'), tenant.origin);
    const start = () => admins.start(tenant, people[0]!, { custody: 2, keyArn: arn });
    const linked = await start();
    const ref = { tenantId: tenant.id, migrationId: linked };
    const found = await custody.identifySigner(ref);
    assert.ok(found.ok);
    await admins.name(linked, found); // notices are made
    const hash = randomBytes(32);
    await plane.database.sql(
      `INSERT INTO kiff.veto_tokens (hash, tenant, migration, user_id) VALUES ($1, $2, $3, $4)`,
      [hash, tenant.id, linked, people[0]!.user],
    );
    await assert.rejects(custody.custodyProof(ref), failsAs('out-of-order'), 'control');
    const client = await plane.database.connect(plane.database.urls.kiff_veto);
    await client.query('SELECT kiff.cast_veto($1)', [hash]);
    await client.end();
    const [command] = await plane.database.sql<{ id: number }>(
      `SELECT id FROM kiff.commands WHERE issuer = 'kiff_veto' AND tenant = $1`,
      [tenant.id],
    );
    assert.deepEqual(await judge(command!.id), { ok: true, kind: 'custody.veto', migration: linked });
    await assert.rejects(custody.custodyProof(ref), failsAs('custody-stopped'));
    await plane.database.sql(
      `UPDATE kiff.custody_migrations SET ended_at = clock_timestamp(), outcome = 'undone', reason = 'vetoed' WHERE id = $1`,
      [linked],
    );
    await start();
    await refused(command!.id, 'migration-ended');
  });

  /** What becomes of a migration to this key. */
  async function verdict(keyArn: string | undefined, of: TestTenant, wanted: 1 | 2 = 2): Promise<unknown> {
    const [admin] = await plane.database.sql<{ id: string }>(
      `INSERT INTO kiff.organisations (id, tenant) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET tenant = $2 RETURNING id`,
      [`org_${of.id}`, of.id],
    );
    const by = { user: 'user_admin', organisation: admin!.id, passkey: createPasskey() };
    const id = await admins.start(of, by, { custody: wanted, ...(keyArn === undefined ? {} : { keyArn }) });
    const found = await custody.identifySigner({ tenantId: of.id, migrationId: id });
    await plane.database.sql(
      `UPDATE kiff.custody_migrations SET ended_at = clock_timestamp(), outcome = 'undone', reason = 'test' WHERE id = $1`,
      [id],
    );
    return found.ok ? found.newSigner : found.reason;
  }

  describe('a new signer', () => {
    it('is a key of the tenant’s own account that is what it should be (B21)', async () => {
      const of = await plane.tenant({ register: false });
      const owner = plane.kmsAs('tenant');
      const good = await createTenantKey(owner, of.origin);
      assert.equal(await verdict(good.arn, of), await keyAddress(plane.kmsAs('signer'), good.arn), 'control');
      const keyId = good.arn.split('/')[1]!;
      const arn = ({ partition = 'aws', region = 'eu-central-1', account = TENANT_ACCOUNT, id = keyId }) =>
        `arn:${partition}:kms:${region}:${account}:key/${id}`;
      const own = await plane.kmsAs('signer').send(new DescribeKeyCommand({ KeyId: tenantKeyAlias(of.id) }));
      const cases: [string | undefined, string][] = [
        [undefined, 'key-arn-malformed'],
        ['a key', 'key-arn-malformed'],
        [arn({}).replace(/key\/.*/, `alias/${of.id}`), 'key-arn-malformed'],
        [arn({ partition: 'aws-cn' }), 'key-other-partition'],
        [arn({ region: 'us-east-1' }), 'key-other-region'],
        [own.KeyMetadata!.Arn!, 'key-own-account'],
        [arn({ account: '000000000003' }), 'key-access-denied'],
        [arn({ id: '7e4c9b1e-0f8f-4d7e-9a8a-2b1f0a7c3d11' }), 'key-access-denied'],
        [(await createTenantKey(owner, of.origin, { spec: 'ECC_NIST_P256' })).arn, 'key-not-secp256k1'],
        [
          (await createTenantKey(owner, of.origin, { spec: 'SYMMETRIC_DEFAULT', usage: 'ENCRYPT_DECRYPT' })).arn,
          'key-not-secp256k1',
        ],
        // Another tenant's, who lets our role sign for its own log.
        [(await createTenantKey(owner, tenant.origin)).arn, 'key-not-for-this-log'],
        [(await createTenantKey(owner, `${of.origin}x`)).arn, 'key-not-for-this-log'],
      ];
      for (const [named, reason] of cases) assert.equal(await verdict(named, of), reason, String(named));
      const revoked = await createTenantKey(owner, of.origin);
      await revoked.revoke();
      assert.equal(await verdict(revoked.arn, of), 'key-access-denied');
      await revoked.allow();
      await revoked.disable();
      assert.equal(await verdict(revoked.arn, of), 'key-disabled');
    });

    it('is nobody else’s: not the one of now, another log’s, or the relayer’s (C10)', async () => {
      const of = await plane.tenant({ register: false });
      const owner = plane.kmsAs('tenant');
      const key = await createTenantKey(owner, of.origin);
      const address = Buffer.from(fromHex(await keyAddress(plane.kmsAs('signer'), key.arn), 20));
      const whileItIs = async (set: string, unset: string, reason: string) => {
        await plane.database.sql(set, [address]);
        assert.equal(await verdict(key.arn, of), reason, set);
        await plane.database.sql(unset, [address]);
      };
      const other = await plane.database.createTenant();
      await whileItIs(
        `UPDATE kiff.logs SET current_signer = $1, epoch = 1 WHERE tenant = '${other.id}'`,
        `UPDATE kiff.logs SET current_signer = NULL, epoch = 0 WHERE current_signer = $1`,
        'signer-is-another-logs',
      );
      await whileItIs(
        `INSERT INTO kiff.wallets (chain_id, relayer, holder, held_until) VALUES (1, $1, 'x', clock_timestamp())`,
        'DELETE FROM kiff.wallets WHERE relayer = $1',
        'signer-is-relayer',
      );
      const third = await plane.database.createTenant();
      const claimed = await admins.start(
        third,
        { user: 'user_a', organisation: 'org_a', passkey: createPasskey() },
        { custody: 2 },
      );
      await whileItIs(
        `UPDATE kiff.custody_migrations SET new_signer = $1 WHERE id = '${claimed}'`,
        `UPDATE kiff.custody_migrations SET new_signer = NULL WHERE new_signer = $1`,
        'signer-is-another-logs',
      );
      assert.notEqual(await verdict(key.arn, of), 'signer-is-another-logs', 'control');
    });
  });
});
