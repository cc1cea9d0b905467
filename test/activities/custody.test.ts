/**
 * What the directory and the key administrator let a migration do, on a real database and the KMS stand-in. Facts of the chain are written
 * as the wallet would; the whole saga is in test/workflows/custody.test.ts.
 */
import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { DescribeKeyCommand, NotFoundException, type KeyMetadata } from '@aws-sdk/client-kms';
import { createCustodyActivities } from '../../activities/custody/create.ts';
import { custodyPolicy, CUSTODY_DEFAULTS } from '../../activities/custody/policy.ts';
import { createPool } from '../../activities/database.ts';
import { createCustodyKeyActivities } from '../../activities/keyadmin/custody.ts';
import { custodyKeyAlias, keyAddress, tenantKeyAlias } from '../../activities/kms/keys.ts';
import { LOCAL_ROLES } from '../../dev/kms-roles.ts';
import { fromHex, type Hex } from '../../protocol/hex.ts';
import type { TestTenant } from '../product-database.ts';
import { createPlane, failsAs, type Plane } from './plane.ts';

const DAY = 86_400;

describe('a custody migration in the directory', function () {
  this.timeout(60_000);
  let plane: Plane;
  let custody: ReturnType<typeof createCustodyActivities>;
  let keys: ReturnType<typeof createCustodyKeyActivities>;
  let pools: ReturnType<typeof createPool>[];

  before(async () => {
    plane = await createPlane();
    const { urls } = plane.database;
    const [sealing, keyadmin] = [createPool(urls.kiff_sealing, 2), createPool(urls.kiff_keyadmin, 2)];
    pools = [sealing, keyadmin];
    custody = createCustodyActivities({
      pool: sealing,
      alert: plane.alert,
      policy: { ...CUSTODY_DEFAULTS, observation: 0, deletionWindow: 7 * DAY },
    });
    keys = createCustodyKeyActivities({
      kms: plane.kmsAs('admin'),
      roles: LOCAL_ROLES,
      pool: keyadmin,
      alert: plane.alert,
    });
  });
  beforeEach(() => void plane.alerts());
  after(async () => {
    await Promise.all(pools.map((each) => each.end()));
    await plane?.stop();
  });

  /** Asks for a migration as the custody API does, and begins it. */
  async function open(tenant: TestTenant, ask: Record<string, unknown> = { custody: 1 }) {
    const ref = randomUUID();
    const client = await plane.database.connect(tenant.custodyUrl);
    await client.query(`INSERT INTO kiff.commands (kind, payload) VALUES ('custody.start', $1)`, [
      JSON.stringify({ ref, token: 'x', ...ask }),
    ]);
    await client.end();
    const [row] = await plane.database.sql<{ id: number }>(
      `SELECT id FROM kiff.commands WHERE tenant = $1 AND payload ->> 'ref' = $2`,
      [tenant.id, ref],
    );
    const opened = await custody.openMigration({ commandId: row!.id });
    return { migrationId: ref, tenantId: tenant.id, commandId: row!.id, opened };
  }

  async function setSigner(migrationId: string, signer: Hex, keyRef: string): Promise<void> {
    await custody.setNewSigner({ migrationId, newSigner: signer, keyRef });
  }

  /** A handover that both keys signed, as the signer records it. @returns its hash */
  async function signed(migrationId: string): Promise<Buffer> {
    const hash = randomBytes(32);
    const client = await plane.database.connect(plane.database.urls.kiff_signing);
    try {
      await client.query('SELECT kiff.record_handover($1, $2, 0, 1, $3, $4)', [
        migrationId,
        hash,
        randomBytes(65),
        randomBytes(65),
      ]);
    } finally {
      await client.end();
    }
    return hash;
  }

  /** What the wallet would write once the chain has said it for good. */
  const final = (hash: Buffer, fact: 'accepted' | 'cancelled') =>
    plane.database.sql(
      `UPDATE kiff.handovers SET ${fact}_level = 'final', ${fact}_tx = $2, ${fact}_block = 1, ${fact}_block_hash = $2,
              ${fact}_log_index = 0${fact === 'accepted' ? ', accepted_seq = 0, accepted_hash = $2' : ''} WHERE handover_hash = $1`,
      [hash, randomBytes(32)],
    );
  const cutOver = (tenant: TestTenant, signer: Hex, keyRef: string, epoch: number) =>
    plane.database.sql(
      `UPDATE kiff.logs SET current_signer = $2, epoch = $3, custody = 1, key_ref = $4, signer_since = now(), held_since = NULL
        WHERE tenant = $1`,
      [tenant.id, Buffer.from(fromHex(signer, 20)), epoch, keyRef],
    );

  async function keyOf(id: string): Promise<KeyMetadata | null> {
    try {
      return (await plane.kmsAs('admin').send(new DescribeKeyCommand({ KeyId: id }))).KeyMetadata ?? null;
    } catch (error) {
      if (error instanceof NotFoundException) return null;
      throw error;
    }
  }

  const eventsOf = async (tenant: TestTenant): Promise<unknown[]> =>
    (
      await plane.database.sql<{ kind: string; detail: object }>(
        `SELECT kind, detail - 'migration' AS detail FROM kiff_t_${tenant.id}.events WHERE kind LIKE 'custody.%' ORDER BY id`,
      )
    ).map(({ kind, detail }) => [kind, detail]);

  it('C9: is one at a time, and the same command begins it once', async () => {
    const tenant = await plane.tenant({ register: false });
    const first = await open(tenant);
    assert.deepEqual(await custody.openMigration({ commandId: first.commandId }), first.opened);
    await assert.rejects(open(tenant), { code: 'KF084' });
    assert.equal(first.opened.epochTo, 1);
    assert.equal(first.opened.fromSigner, tenant.genesisSigner);
    assert.equal(first.opened.approvalsExpireAt - Math.floor(Date.now() / 1000) > 71 * 3600, true);

    await custody.giveUp({ migrationId: first.migrationId, reason: 'vetoed' });
    await custody.endMigration({ migrationId: first.migrationId, reason: 'vetoed' });
    await open(tenant);
    assert.deepEqual(await eventsOf(tenant), [
      ['custody.started', { epoch: 1, custody: 1 }],
      ['custody.undone', { epoch: 1, reason: 'vetoed' }],
      ['custody.started', { epoch: 1, custody: 1 }],
    ]);
  });

  it('ends undone only when nothing signed is alive, and completed only when the chain has accepted', async () => {
    const tenant = await plane.tenant({ register: false });
    const { migrationId } = await open(tenant);
    await setSigner(migrationId, `0x${'11'.repeat(20)}`, 'alias/x');
    await assert.rejects(setSigner(migrationId, `0x${'12'.repeat(20)}`, 'alias/x'), { code: 'KF085' });
    await assert.rejects(custody.endMigration({ migrationId, reason: null }), { code: 'KF087' });
    // Not without having been given up.
    await assert.rejects(custody.endMigration({ migrationId, reason: 'vetoed' }), { code: 'KF087' });

    const hash = await signed(migrationId);
    assert.equal(await custody.giveUp({ migrationId, reason: 'vetoed' }), true);
    await assert.rejects(custody.endMigration({ migrationId, reason: 'vetoed' }), { code: 'KF087' });
    await assert.rejects(signed(migrationId), { code: 'KF086' }, 'nothing more is signed for it');
    await final(hash, 'cancelled');
    await custody.endMigration({ migrationId, reason: 'vetoed' });
    await custody.endMigration({ migrationId, reason: 'timed-out' });
    const [row] = await plane.database.sql('SELECT outcome, reason FROM kiff.custody_migrations WHERE id = $1', [
      migrationId,
    ]);
    assert.deepEqual(row, { outcome: 'undone', reason: 'vetoed' });
  });

  it('an acceptance that was signed is recorded, and takes the giving up back', async () => {
    const tenant = await plane.tenant({ register: false });
    const { migrationId } = await open(tenant);
    await setSigner(migrationId, `0x${'13'.repeat(20)}`, 'alias/x');
    const hash = await signed(migrationId);
    assert.equal(await custody.giveUp({ migrationId, reason: 'vetoed' }), true);
    const client = await plane.database.connect(plane.database.urls.kiff_signing);
    await client.query('SELECT kiff.record_acceptance($1, $2, 0, $3, $3, $4)', [
      Buffer.from(fromHex(tenant.logId, 32)),
      hash,
      randomBytes(32),
      randomBytes(65),
    ]);
    await client.end();
    assert.equal(await custody.giveUp({ migrationId, reason: 'vetoed' }), false);
    const [row] = await plane.database.sql('SELECT given_up FROM kiff.custody_migrations WHERE id = $1', [migrationId]);
    assert.deepEqual(row, { given_up: null });
    // Only the handover's death on chain undoes now.
    await final(hash, 'cancelled');
    assert.equal(await custody.giveUp({ migrationId, reason: 'handover-cancelled' }), true);
  });

  it('holds a log while it is under way, and never afterwards', async () => {
    const tenant = await plane.tenant({ register: false });
    const { migrationId } = await open(tenant);
    const held = async () => (await custody.logStanding({ tenantId: tenant.id })).held;
    await custody.holdLog({ migrationId, hold: true });
    assert.equal(await held(), true);
    await custody.holdLog({ migrationId, hold: false });
    assert.equal(await held(), false);
    await custody.giveUp({ migrationId, reason: 'vetoed' });
    await custody.holdLog({ migrationId, hold: true });
    assert.equal(await held(), false, 'a word that comes late');
  });

  it('answers who wanted it stopped, each once', async () => {
    const tenant = await plane.tenant({ register: false });
    const { migrationId } = await open(tenant);
    const client = await plane.database.connect(tenant.custodyUrl);
    const veto = (ref: string, migration: string) =>
      client.query(`INSERT INTO kiff.commands (kind, payload) VALUES ('custody.veto', $1)`, [
        JSON.stringify({ ref, token: 'x', migration }),
      ]);
    await veto('in-time', migrationId);
    await veto('another', randomUUID());
    await custody.answerStops({ migrationId, reason: null });
    await veto('late', migrationId);
    await custody.answerStops({ migrationId, reason: 'too-late' });
    const results = await client.query(
      `SELECT ref, state, reason FROM kiff.command_results WHERE kind = 'custody.veto' ORDER BY ref`,
    );
    await client.end();
    assert.deepEqual(
      results.rows.map(({ ref, state, reason }: Record<string, string | null>) => [ref, state, reason]),
      [
        ['in-time', 'done', null],
        ['late', 'failed', 'too-late'],
      ],
    );
  });

  it('a fresh key is made once, and goes only when the migration was given up and nothing hands over to it', async () => {
    const tenant = await plane.tenant({ register: false });
    const { migrationId, tenantId } = await open(tenant);
    const of = { migrationId, tenantId };
    const { keyRef } = await keys.makeCustodyKey(of);
    assert.deepEqual(await keys.makeCustodyKey(of), { keyRef });
    assert.equal(keyRef, custodyKeyAlias(tenantId, 1, 1));
    const signer = await keyAddress(plane.kmsAs('signer'), keyRef);
    assert.notEqual(signer, tenant.genesisSigner);
    await setSigner(migrationId, signer, keyRef);

    await assert.rejects(keys.dropCustodyKey(of), failsAs('key-in-use'), 'it is under way');
    const hash = await signed(migrationId);
    await custody.giveUp({ migrationId, reason: 'vetoed' });
    await assert.rejects(keys.makeCustodyKey(of), failsAs('custody-stopped'));
    await assert.rejects(keys.dropCustodyKey(of), failsAs('key-in-use'), 'a handover to it is alive');
    await assert.rejects(keys.disableOldKey(of), failsAs('key-in-use'), 'the old key was not replaced');
    assert.equal((await keyOf(tenantKeyAlias(tenantId)))?.KeyState, 'Enabled');
    assert.deepEqual(
      plane.alerts().map(({ name }) => name),
      ['key-in-use', 'key-in-use', 'key-in-use'],
    );
    await final(hash, 'cancelled');
    const key = await keyOf(keyRef);
    await keys.dropCustodyKey(of);
    await keys.dropCustodyKey(of);
    assert.equal(await keyOf(keyRef), null);
    assert.equal((await keyOf(key!.KeyId!))?.KeyState, 'PendingDeletion');
    assert.deepEqual(plane.alerts(), []);
  });

  it('a replaced key is disabled and refuses; it is deleted when its observation is over, the genesis key and its successors', async () => {
    const tenant = await plane.tenant({ register: false });
    const tenantId = tenant.id;
    let replaced = tenantKeyAlias(tenantId);
    for (const epoch of [1, 2]) {
      const { migrationId } = await open(tenant);
      const of = { migrationId, tenantId };
      const { keyRef } = await keys.makeCustodyKey(of);
      const signer = await keyAddress(plane.kmsAs('signer'), keyRef);
      await setSigner(migrationId, signer, keyRef);
      const hash = await signed(migrationId);
      await final(hash, 'accepted');
      await assert.rejects(keys.disableOldKey(of), failsAs('key-in-use'), 'the log has its old signer here');
      await cutOver(tenant, signer, keyRef, epoch);
      const disabled = await keys.disableOldKey(of);
      assert.equal(disabled.keyState, 'Disabled');
      assert.equal(disabled.refusedWith, 'DisabledException');
      assert.deepEqual(await keys.disableOldKey(of), disabled);
      assert.equal(disabled.keyArn, (await keyOf(replaced))?.Arn);
      assert.equal((await keyOf(keyRef))?.KeyState, 'Enabled', 'the new one is as it was');

      await assert.rejects(keys.deleteOldKey(of), failsAs('key-observed'), 'the migration is not over');
      await custody.endMigration({ migrationId, reason: null });
      const { keyArn, deletedAt } = await keys.deleteOldKey(of);
      assert.equal(keyArn, disabled.keyArn);
      assert.ok(Math.abs(Date.parse(deletedAt!) - Date.now() - 7 * DAY * 1000) < DAY * 1000);
      assert.equal((await keyOf(replaced))?.KeyState, 'PendingDeletion');
      replaced = keyRef;
    }
    assert.equal((await eventsOf(tenant)).length, 4);
  });

  it('another key behind the alias is left alone, and told', async () => {
    const tenant = await plane.tenant({ register: false });
    const { migrationId, tenantId } = await open(tenant);
    const { keyRef } = await keys.makeCustodyKey({ migrationId, tenantId });
    await setSigner(migrationId, `0x${'14'.repeat(20)}`, keyRef);
    await custody.giveUp({ migrationId, reason: 'vetoed' });
    await assert.rejects(keys.dropCustodyKey({ migrationId, tenantId }), failsAs('key-in-use'));
    const stranger = await plane.tenant({ register: false });
    await assert.rejects(keys.dropCustodyKey({ migrationId, tenantId: stranger.id }), failsAs('key-in-use'));
    assert.equal((await keyOf(keyRef))?.KeyState, 'Enabled');
    assert.deepEqual(plane.alerts(), [
      { name: 'key-in-use', fields: { tenantId } },
      { name: 'key-in-use', fields: { tenantId: stranger.id } },
    ]);
  });

  it('is not hasty where it is sealed every hour', () => {
    assert.throws(
      () => custodyPolicy({ approvals: 3600, observation: 0 }, 3600),
      /approvals is 3600.*observation is 0/,
    );
    assert.deepEqual(custodyPolicy({}, 3600), CUSTODY_DEFAULTS);
    assert.equal(custodyPolicy({ approvals: 10 }, 60).approvals, 10);
  });
});
