/**
 * A log passes to a key in the tenant's own AWS account, is signed with it, and comes back to a fresh key of ours, with the real
 * activities of signer, wallet and key administrator.
 */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { createWalletClient, http } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { createPool } from '../../../activities/database.ts';
import { createCustodyKeyActivities } from '../../../activities/keyadmin/custody.ts';
import { custodyKeyAlias, keyAddress, signDigest, tenantKeyAlias } from '../../../activities/kms/keys.ts';
import { outcomes, registryAbi } from '../../../contracts/registry.ts';
import { LOCAL_ROLES } from '../../../dev/kms-roles.ts';
import type { Seal } from '../../../protocol/eip712.ts';
import { handoverAcceptDigest, handoverAcceptHash } from '../../../protocol/handover.ts';
import { sealDigest, sealHash } from '../../../protocol/seal.ts';
import { recoverSigner } from '../../../protocol/signature.ts';
import { toHex, type Hex } from '../../../protocol/hex.ts';
import { takeBackup, type Backup } from '../../backup.ts';
import type { TestTenant } from '../../product-database.ts';
import { createTenantKey, type TenantKey } from '../../tenant-kms.ts';
import { sealingKeys } from '../../../workers/reconcile/drift.ts';
import { anvil } from '../../parts.ts';
import { createPlane, failsAs, type Plane } from '../plane.ts';
import { recoveryPlane } from '../recovery-plane.ts';
import type { Admin } from '../../custody/admins.ts';
import { createSteps, type Steps } from './steps.ts';

describe('custody: a log passes to a tenant’s KMS key, and back', function () {
  this.timeout(120_000);
  let plane: Plane;
  let steps: Steps;
  let empty: Backup;
  let of: { tenant: TestTenant; people: Admin[] };
  let tenant: TestTenant;
  let key: TenantKey;
  let newSigner: Hex;

  before(async () => {
    plane = await createPlane({ coolingOffSeconds: 1 });
    empty = await takeBackup(plane.database, 'journal');
    steps = createSteps(plane);
    of = await steps.tenant();
    tenant = of.tenant;
    key = await createTenantKey(plane.kmsAs('tenant'), tenant.origin);
    newSigner = await keyAddress(plane.kmsAs('tenant'), key.arn);
  });
  after(() => plane.stop());
  afterEach(() => plane.kms.clearFaults());

  const registry = () => ({ chainId: plane.database.chainId, contract: plane.registry.address });

  interface Stored extends Seal {
    epoch: number;
    signer: Hex;
    signature: Hex;
  }

  async function stored(seq: number, { id, logId } = tenant): Promise<Stored> {
    const [row] = await plane.database.sql<{
      period: number;
      tree_size: number;
      root: Buffer;
      prev: Buffer;
      epoch: number;
      signer: Buffer;
      signature: Buffer;
    }>(`SELECT * FROM kiff_t_${id}.seals WHERE seq = $1`, [seq]);
    const { period, tree_size: treeSize, root, prev, epoch, signer, signature } = row!;
    return {
      logId,
      seq,
      period,
      treeSize,
      root: toHex(root),
      prev: toHex(prev),
      epoch,
      signer: toHex(signer),
      signature: toHex(signature),
    };
  }

  /** What the contract would say to a seal with this signature. */
  async function outcomeOf({ logId, seq, period, treeSize, root }: Seal, signature: Hex): Promise<string> {
    const { result } = await plane.chain.simulateContract({
      address: plane.registry.address,
      abi: registryAbi,
      functionName: 'anchor',
      args: [[{ logId, seq, period: BigInt(period), treeSize, root, signature }]],
    });
    return outcomes[result[0]!]!;
  }

  it('the new key seals, through the acceptance; what the old one withheld and the trial’s signatures are refused (C16)', async () => {
    const migration = await steps.begin(of, { custody: 2, keyArn: key.arn });
    const { ref } = migration;
    assert.equal(migration.newSigner, newSigner);
    await assert.rejects(steps.custody.handover(ref), failsAs('custody-refused'), 'nothing is proved yet');
    const late = plane.custody({ now: () => Date.now() + 2 * 3_600_000 });
    await assert.rejects(late.custodyProof(ref), failsAs('custody-refused'), 'expired (B19)');
    await steps.prove(migration);
    // What the product database says of the new signer is not believed: the key is looked at, and the approvals name it (C13).
    const named = (address: Hex) =>
      plane.database.sql('UPDATE kiff.custody_migrations SET new_signer = $2 WHERE id = $1', [
        ref.migrationId,
        Buffer.from(address.slice(2), 'hex'),
      ]);
    await named(`0x${'66'.repeat(20)}`);
    for (const step of [steps.custody.custodyProof(ref), steps.custody.handover(ref)])
      await assert.rejects(step, failsAs('custody-refused'));
    await named(newSigner);
    const shadow = await steps.custody.shadowSeal({ ...ref, seq: 2 });
    assert.equal(recoverSigner(sealDigest(registry(), await stored(2)), shadow.signature), newSigner);
    const snapshot = await steps.custody.snapshotKey(ref);
    assert.equal(snapshot.signer, tenant.genesisSigner);
    const handoverHash = await steps.propose(migration);
    assert.equal((await steps.custody.handover(ref)).handoverHash, handoverHash, 'once and for all');
    const { seq, head } = await steps.accept(migration);
    assert.deepEqual(await steps.custody.handoverAccept(ref), { seq, head }, 'once and for all');
    await assert.rejects(steps.custody.handoverCancel(ref), { code: 'KF092' });

    // Nothing new is signed between the acceptance and the head that it binds to.
    await plane.post(tenant, 1);
    await plane.collect(tenant);
    await assert.rejects(plane.sign(tenant), failsAs('held'));
    await plane.sendAll();
    const { signer, epoch, head: now } = await steps.state(tenant);
    assert.deepEqual({ signer, epoch, now }, { signer: newSigner, epoch: 1, now: head });
    await steps.settle();
    assert.deepEqual(await steps.custody.learnSuccession({ tenantId: tenant.id }), { epoch: 1 });
    await plane.sign(tenant);
    const next = await stored(seq + 1);
    assert.deepEqual([next.epoch, next.signer, next.prev], [1, newSigner, head]);
    assert.equal(recoverSigner(sealDigest(registry(), next), next.signature), newSigner);

    const before = await stored(seq);
    const old = { ...next, prev: sealHash(before) };
    const withheld = await signDigest(
      plane.kmsAs('signer'),
      tenantKeyAlias(tenant.id),
      sealDigest(registry(), old),
      tenant.genesisSigner,
    );
    assert.equal(await outcomeOf(next, withheld), 'BadSignature', 'withheld by the old key');
    const trial = await signDigest(plane.kmsAs('signer'), key.arn, sealDigest(registry(), old), newSigner);
    assert.equal(await outcomeOf(next, trial), 'BadSignature', 'the new key’s, over the old head');
    assert.equal(await outcomeOf(before, shadow.signature), 'Stale');
    assert.equal(await outcomeOf(next, next.signature), 'Sealed', 'control');
    await plane.anchorAll();
    assert.equal(await plane.level(tenant, seq + 1), 'final');
    assert.equal(await plane.frozen(tenant), null);
    await steps.end(migration, 'completed');
  });

  it('the reconciler looks at the keys of ours that seal logs, and at no tenant’s', async () => {
    const product = await plane.database.connect(plane.database.superuserUrl);
    assert.ok(!(await sealingKeys(product)).includes(tenantKeyAlias(tenant.id)));
    const other = await plane.tenant({ register: false });
    assert.deepEqual(await sealingKeys(product), [tenantKeyAlias(other.id)]);
    await product.end();
  });

  it('revoked, the key signs nothing and loses nothing; allowed again, everything is signed in order (C7)', async () => {
    await key.revoke();
    await plane.post(tenant, 1);
    await plane.collect(tenant);
    await assert.rejects(plane.sign(tenant), failsAs('kms-denied'));
    await plane.post(tenant, 1);
    const seq = await plane.collect(tenant);
    await key.allow();
    await key.disable();
    await assert.rejects(plane.sign(tenant), failsAs('kms-refused'));
    assert.deepEqual(
      plane.alerts().map(({ name }) => name),
      ['kms-denied', 'kms-refused'],
    );
    await key.enable();
    await plane.sign(tenant);
    await plane.anchorAll();
    assert.equal(await plane.level(tenant, seq), 'final');
    const [blocked] = await plane.database.sql<{ signing_blocked: string | null }>(
      'SELECT signing_blocked FROM kiff.logs WHERE tenant = $1',
      [tenant.id],
    );
    assert.equal(blocked!.signing_blocked, null);
  });

  it('a signature that is not over this seal, or not this key’s, is thrown away (C8)', async () => {
    await plane.post(tenant, 1);
    const seq = await plane.collect(tenant);
    await plane.kms.inject({ fault: 'other-key', keyId: key.arn });
    await assert.rejects(plane.sign(tenant), failsAs('foreign-signature'));
    await plane.sendAll();
    assert.ok((await steps.state(tenant)).seq < seq, 'not anchored');
    await plane.kms.clearFaults();
    await plane.sign(tenant);
    await plane.anchorAll();
    assert.equal(await plane.level(tenant, seq), 'final');
  });

  it('comes back to a fresh key of ours, epoch 2 (C12); a key that signed before is not taken again (C10)', async () => {
    const again = await steps.admins.start(tenant, of.people[0]!, { custody: 2, keyArn: key.arn });
    const verdict = await steps.custody.identifySigner({ tenantId: tenant.id, migrationId: again });
    assert.deepEqual(verdict, { ok: false, reason: 'signer-is-current' });
    await steps.end({ ...of, ref: { tenantId: tenant.id, migrationId: again }, newSigner }, 'undone');

    const pool = createPool(plane.database.urls.kiff_keyadmin, 1);
    const keys = createCustodyKeyActivities({
      kms: plane.kmsAs('admin'),
      roles: LOCAL_ROLES,
      pool,
      alert: plane.alert,
    });
    const migration = await steps.begin(of, { custody: 1 }, (ref) => keys.makeCustodyKey(ref));
    await pool.end();
    await steps.prove(migration);
    await steps.propose(migration);
    const { seq, head } = await steps.accept(migration);
    await steps.settle();
    await steps.end(migration, 'completed');
    const last = await steps.seal(tenant);
    const next = await stored(seq + 1);
    assert.deepEqual([next.epoch, next.prev], [2, head]);
    assert.equal(next.signer, await keyAddress(plane.kmsAs('signer'), custodyKeyAlias(tenant.id, 1, 2)));
    assert.equal(await plane.level(tenant, last), 'final');

    const back = await steps.admins.start(tenant, of.people[0]!, { custody: 2, keyArn: key.arn });
    const used = await steps.custody.identifySigner({ tenantId: tenant.id, migrationId: back });
    assert.deepEqual(used, { ok: false, reason: 'signer-was-used' });
    await steps.end({ ...of, ref: { tenantId: tenant.id, migrationId: back }, newSigner }, 'undone');
  });

  it('cancelled, nothing has changed; and while a signed handover may live there is no second one (C2)', async () => {
    const other = await steps.tenant();
    // Twice the same key: what was cancelled does not stand in its way.
    const { arn } = await createTenantKey(plane.kmsAs('tenant'), other.tenant.origin);
    const begin = async () => {
      const migration = await steps.begin(other, { custody: 2, keyArn: arn });
      await steps.prove(migration);
      return migration;
    };
    const first = await begin();
    assert.equal(await steps.custody.handoverCancel(first.ref), null, 'nothing was signed yet');
    const handoverHash = await steps.propose(first);
    assert.deepEqual(await steps.custody.handoverCancel(first.ref), { handoverHash });
    await assert.rejects(steps.custody.handoverAccept(first.ref), (error) => {
      const { type } = error as { type?: string };
      return type === 'handover-dead' || type === 'acceptance-early';
    });
    await steps.end(first, 'undone');
    const second = await begin();
    await assert.rejects(steps.custody.handover(second.ref), failsAs('handover-live'));
    await steps.settle();
    await assert.rejects(steps.custody.handoverAccept(first.ref), failsAs('custody-stopped'));
    await steps.custody.handover(second.ref);
    assert.equal((await steps.state(other.tenant)).epoch, 0);
    await steps.seal(other.tenant);
  });

  it('the tenant accepts by itself, over an older head: what the old key had signed beyond it is void, and signed anew (C15)', async () => {
    const own = await steps.tenant();
    const { arn } = await createTenantKey(plane.kmsAs('tenant'), own.tenant.origin);
    const migration = await steps.begin(own, { custody: 2, keyArn: arn });
    await steps.prove(migration);
    const handoverHash = await steps.propose(migration);
    const { seq, head, epoch } = await steps.state(own.tenant);
    const beyond = await steps.seal(own.tenant, { anchor: false });
    assert.ok(beyond > seq);
    const trial = await steps.custody.shadowSeal({ ...migration.ref, seq: seq + 1 });
    const old = await stored(seq + 1, own.tenant);

    // Its own key, its own transaction.
    const [row] = await plane.database.sql<{ not_before: number; expires_at: number; nonce: Buffer; eta: number }>(
      'SELECT not_before, expires_at, nonce, eta FROM kiff.handovers WHERE handover_hash = $1',
      [Buffer.from(handoverHash.slice(2), 'hex')],
    );
    const accept = { logId: own.tenant.logId, epochTo: epoch + 1, handoverHash, seq, head };
    const signature = await signDigest(
      plane.kmsAs('signer'),
      arn,
      handoverAcceptDigest(registry(), accept),
      migration.newSigner,
    );
    while ((await plane.chain.getBlock()).timestamp < BigInt(row!.eta)) {
      await delay(100);
      await plane.mine();
    }
    const stranger = createWalletClient({
      account: privateKeyToAccount('0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d'),
      chain: plane.chain.chain!,
      transport: http((await anvil()).rpcUrl),
    });
    await stranger.writeContract({
      address: plane.registry.address,
      abi: registryAbi,
      functionName: 'acceptHandover',
      args: [
        {
          logId: own.tenant.logId,
          epochTo: epoch + 1,
          from: own.tenant.genesisSigner,
          to: migration.newSigner,
          custody: 2,
          notBefore: BigInt(row!.not_before),
          expiresAt: BigInt(row!.expires_at),
          nonce: toHex(row!.nonce),
        },
        signature,
      ],
    });
    await assert.rejects(plane.newSigner().signSeals({ tenantId: own.tenant.id, seqs: [beyond] }), failsAs('held'));
    for (const spoilt of [trial.signature, old.signature]) {
      assert.equal(await outcomeOf(old, spoilt), 'BadSignature', 'over a head that never was (C16)');
    }
    await steps.settle();
    await plane.sign(own.tenant);
    await plane.anchorAll();
    const anew = await stored(seq + 1, own.tenant);
    assert.deepEqual([anew.epoch, anew.prev, anew.root], [1, handoverAcceptHash(accept), old.root]);
    assert.equal(await plane.level(own.tenant, beyond), 'final');
    assert.equal(await plane.frozen(own.tenant), null);
    await steps.end(migration, 'completed');
  });

  it('a lost journal is rebuilt with its successions, and with the handovers that may live', async () => {
    const held = await steps.tenant();
    const { arn } = await createTenantKey(plane.kmsAs('tenant'), held.tenant.origin);
    const live = await steps.begin(held, { custody: 2, keyArn: arn });
    await steps.prove(live);
    await steps.custody.handover(live.ref);
    await steps.settle();
    await empty.restore();

    plane.configure('rebuilt');
    const operator = await recoveryPlane(plane);
    const recovery = operator.recovery('rebuilt');
    await assert.rejects(recovery.declare(), /rebuild it first/);
    await recovery.rebuild();
    await recovery.declare();
    const { logs } = await recovery.compare(tenant.origin);
    assert.deepEqual(logs[0]!.differences, []);
    const last = await steps.seal(tenant);
    assert.equal(await plane.level(tenant, last), 'final');
    assert.equal((await stored(last)).epoch, 2);
    // The evidence of the trial is lost, and so is nothing that lives: it is neither forgotten nor signed anew.
    assert.notEqual(await steps.custody.handoverCancel(live.ref), null);
    await operator.close();
  });
});
