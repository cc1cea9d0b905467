/** A log passes to a key in the tenant's own AWS account, step by step, with the real activities of signer and wallet. */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { readLogState } from '../../../activities/chain/registry.ts';
import { keyAddress } from '../../../activities/kms/keys.ts';
import { sealDigest } from '../../../protocol/seal.ts';
import { recoverSigner } from '../../../protocol/signature.ts';
import { toHex, type Hex } from '../../../protocol/hex.ts';
import type { TestTenant } from '../../product-database.ts';
import { createTenantKey, type TenantKey } from '../../tenant-kms.ts';
import { createPlane, failsAs, type Plane } from '../plane.ts';
import { createAdmins, type Admin } from './admins.ts';

describe('custody: a log passes to a tenant’s KMS key', function () {
  this.timeout(120_000);
  let plane: Plane;
  let admins: ReturnType<typeof createAdmins>;
  let custody: ReturnType<Plane['custody']>;

  before(async () => {
    plane = await createPlane({ coolingOffSeconds: 1 });
    admins = createAdmins(plane);
    custody = plane.custody();
  });
  after(() => plane.stop());

  /** Signs and anchors what there is, and follows it until it is final. */
  async function seal(tenant: TestTenant, periods: number): Promise<number> {
    let seq = 0;
    for (let made = 0; made < periods; made++) {
      await plane.post(tenant, 2);
      seq = await plane.collect(tenant);
    }
    await plane.sign(tenant);
    await plane.anchorAll();
    return seq;
  }

  interface Case {
    tenant: TestTenant;
    key: TenantKey;
    people: Admin[];
    ref: { tenantId: string; migrationId: string };
    newSigner: Hex;
  }

  /** A migration of a log with two final seals, up to where its approvals may come. */
  async function begun(): Promise<Case> {
    const tenant = await plane.tenant();
    const people = await admins.admins(tenant, 2);
    await seal(tenant, 2);
    const key = await createTenantKey(plane.kmsAs('tenant'), tenant.origin);
    const migrationId = await admins.start(tenant, people[0]!, { custody: 2, keyArn: key.arn });
    const ref = { tenantId: tenant.id, migrationId };
    const found = await custody.identifySigner(ref);
    assert.ok(found.ok, JSON.stringify(found));
    await admins.name(migrationId, found);
    return { tenant, key, people, ref, newSigner: found.newSigner };
  }

  async function proved({ tenant, people, ref }: Case): Promise<void> {
    for (const admin of people) await admins.approve(tenant, admin, ref.migrationId);
    await custody.custodyProof(ref);
    for (const seq of [1, 2]) await custody.shadowSeal({ ...ref, seq });
  }

  async function proposed({ ref }: Case): Promise<Hex> {
    const { handoverHash } = await custody.handover(ref);
    await plane.sendAll();
    await plane.anchorAll();
    await settle();
    return handoverHash;
  }

  /** Blocks come until what was sent is final. */
  async function settle(): Promise<void> {
    for (let block = 0; block < 4; block++) await plane.mine();
    await plane.anchoring.confirmSeals();
  }

  async function accepted(which: Case): Promise<{ seq: number; head: Hex }> {
    for (;;) {
      try {
        return await custody.handoverAccept(which.ref);
      } catch (error) {
        failsAs('acceptance-early')(error);
        await delay(100);
        await plane.mine();
      }
    }
  }

  const state = (tenant: TestTenant) => readLogState(plane.chain, plane.registry.address, tenant.logId);

  it('identify, approve, prove, try, hand over, accept, learn; then the new key seals, through the acceptance', async () => {
    const which = await begun();
    const { tenant, ref, newSigner } = which;
    assert.equal(newSigner, await keyAddress(plane.kmsAs('tenant'), which.key.arn));
    await assert.rejects(custody.handover(ref), failsAs('custody-refused'));
    await proved(which);
    assert.deepEqual((await custody.approvals(ref)).admins, 2);
    const snapshot = await custody.snapshotKey(ref);
    assert.equal(snapshot.signer, tenant.genesisSigner);
    const handoverHash = await proposed(which);
    assert.equal((await custody.handover(ref)).handoverHash, handoverHash);
    const [{ last }] = (await plane.database.sql<{ last: number }>(
      `SELECT max(seq) AS last FROM kiff_t_${tenant.id}.seals`,
    )) as [{ last: number }];
    const { seq, head } = await accepted(which);
    assert.equal(seq, last);
    // Nothing new is signed between the acceptance and the head that it binds to.
    await plane.post(tenant, 1);
    await plane.collect(tenant);
    await assert.rejects(plane.sign(tenant), failsAs('held'));
    await plane.sendAll();
    assert.deepEqual(await state(tenant).then(({ signer, epoch, head: now }) => ({ signer, epoch, head: now })), {
      signer: newSigner,
      epoch: 1,
      head,
    });
    await settle();
    assert.deepEqual(await custody.learnSuccession({ tenantId: tenant.id }), { epoch: 1 });
    await plane.sign(tenant);
    const [stored] = await plane.database.sql<{
      period: number;
      tree_size: number;
      root: Buffer;
      prev: Buffer;
      epoch: number;
      signer: Buffer;
      signature: Buffer;
    }>(`SELECT * FROM kiff_t_${tenant.id}.seals WHERE seq = $1`, [seq + 1]);
    assert.equal(stored!.epoch, 1);
    assert.equal(toHex(stored!.signer), newSigner);
    assert.equal(toHex(stored!.prev), head);
    const digest = sealDigest(
      { chainId: plane.database.chainId, contract: plane.registry.address },
      {
        logId: tenant.logId,
        seq: seq + 1,
        period: stored!.period,
        treeSize: stored!.tree_size,
        root: toHex(stored!.root),
        prev: head,
      },
    );
    assert.equal(recoverSigner(digest, toHex(stored!.signature)), newSigner);
    await plane.anchorAll();
    assert.ok((await state(tenant)).seq > seq);
    assert.equal(await plane.level(tenant, seq + 1), 'final');
    assert.equal(await plane.frozen(tenant), null);
  });
});
