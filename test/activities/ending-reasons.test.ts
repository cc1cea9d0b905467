/** Logs that end for any other reason than an altered record (ending.test.ts): one is gone, somebody else's seal stands on chain, the key is gone for good, or what was final is. */
import assert from 'node:assert/strict';
import { DescribeKeyCommand, ScheduleKeyDeletionCommand } from '@aws-sdk/client-kms';
import { createTestClient, createWalletClient, http } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { signDigest, tenantKeyAlias } from '../../activities/kms/keys.ts';
import type { Comparison } from '../../activities/recovery/compare.ts';
import { registryAbi } from '../../contracts/registry.ts';
import { toHex } from '../../protocol/hex.ts';
import { sealDigest, sealHash } from '../../protocol/seal.ts';
import type { TestTenant } from '../product-database.ts';
import { createPlane, failsAs, type Plane } from './plane.ts';
import { recoveryPlane, type RecoveryPlane } from './recovery-plane.ts';

/** Anvil's second account: anybody with some money. */
const STRANGER = privateKeyToAccount('0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d');

describe('the end of a log, whatever else brings it about', function () {
  this.timeout(60_000);
  let plane: Plane;
  let operator: RecoveryPlane;

  before(async () => {
    plane = await createPlane();
    operator = await recoveryPlane(plane);
  });
  after(async () => {
    await operator.close();
    await plane.stop();
  });

  /** Records, cut, hashed and signed. @returns the newest seq */
  async function signed(tenant: TestTenant, records: number): Promise<number> {
    await plane.post(tenant, records);
    const seq = await plane.collect(tenant);
    await plane.sign(tenant);
    return seq;
  }

  const compared = async ({ origin }: TestTenant): Promise<Comparison> =>
    (await operator.recovery().compare(origin)).logs[0]!;

  /** The tenant's next log is sealed like any other. */
  async function goesOn(tenant: TestTenant): Promise<void> {
    await plane.anchorAll(); // which registers it
    const seq = await signed(tenant, 1);
    await plane.anchorAll();
    assert.equal(await plane.level(tenant, seq), 'final');
  }

  it('record-missing (F34): it ends with the last good seal, and the next log takes what is left and names what is not', async () => {
    const tenant = await plane.tenant();
    const sealed = await signed(tenant, 2);
    await plane.anchorAll();
    await plane.post(tenant, 4);
    const superuser = await plane.database.connect(plane.database.superuserUrl);
    await superuser.query('SET session_replication_role = replica');
    await superuser.query(`DELETE FROM ${tenant.role}.records WHERE leaf_index = 3`);
    await superuser.end();
    await plane.collect(tenant);
    await assert.rejects(plane.sign(tenant), failsAs('record-missing'));

    assert.deepEqual((await compared(tenant)).differences, [{ reason: 'record-missing', facts: { index: 3 } }]);
    assert.equal(await plane.frozen(tenant), 'record-missing');
    await assert.rejects(operator.recovery().resume(tenant.origin), /still differs/);
    const { statement, carried } = await operator.recovery().end(tenant.origin, null);
    assert.deepEqual([statement.reason, statement.last.seq, statement.last.treeSize], ['record-missing', sealed, 2]);
    assert.deepEqual(carried, { from: 2, to: 6, carried: 3, altered: [], missing: [[3, 3]], erased: [], refused: [] });
    await goesOn(tenant);
  });

  it('chain-differs: it ends with the last seal on which journal and chain agree, whatever stands after it', async () => {
    const tenant = await plane.tenant();
    const agreed = await signed(tenant, 2);
    await plane.anchorAll();
    const next = await signed(tenant, 1); // and before it is on chain …
    const [ours] = await plane.database.sql<{
      seq: number;
      period: number;
      tree_size: number;
      root: Buffer;
      prev: Buffer;
    }>(`SELECT seq, period, tree_size, root, prev FROM ${tenant.role}.seals WHERE seq = $1`, [agreed + 1]);
    // … whoever stole the key anchors another one in its place.
    const { chainId } = plane.database;
    const theirs = {
      logId: tenant.logId,
      seq: ours!.seq,
      period: ours!.period,
      treeSize: ours!.tree_size + 5,
      root: toHex(Buffer.alloc(32, 9)),
      prev: toHex(ours!.prev),
    };
    const digest = sealDigest({ chainId, contract: plane.registry.address }, theirs);
    const kms = plane.kmsAs('signer');
    const signature = await signDigest(kms, tenantKeyAlias(tenant.id), digest, tenant.genesisSigner);
    const wallet = createWalletClient({ account: STRANGER, transport: http(operator.rpcUrl) });
    await wallet.writeContract({
      chain: null,
      address: plane.registry.address,
      abi: registryAbi,
      functionName: 'anchor',
      args: [[{ ...theirs, period: BigInt(theirs.period), signature }]],
    });
    await plane.mine();

    await plane.post(tenant, 1);
    await plane.collect(tenant);
    await assert.rejects(plane.sign(tenant), failsAs('chain-differs'));
    assert.equal(await plane.frozen(tenant), 'chain-differs');
    for (let block = 0; block < 3; block++) await plane.mine(); // until theirs is final
    const { differences, lastGood, journaledSeq, chain } = await compared(tenant);
    assert.deepEqual(differences, [{ reason: 'chain-differs', facts: { seq: agreed + 1 } }]);
    assert.deepEqual([lastGood.seq, journaledSeq, chain.seq], [agreed, next, agreed + 1]);
    await assert.rejects(operator.recovery().resume(tenant.origin), /still differs/);

    await operator.freeze(tenant, 'chain-differs');
    const { statement, carried } = await operator.recovery().end(tenant.origin, null);
    assert.deepEqual([statement.reason, statement.last.seq, statement.last.treeSize], ['chain-differs', agreed, 2]);
    assert.equal(statement.last.sealHash, lastGood.statement!.sealHash);
    assert.notEqual(statement.last.sealHash, sealHash(theirs));
    assert.deepEqual(
      [carried?.from, carried?.to, carried?.carried],
      [2, 4, 2],
      'what we had signed after it goes over',
    );
    await goesOn(tenant);
  });

  it('a log that was sealed until now: what is on its way when it ends is waited for, and is its last good seal', async () => {
    const tenant = await plane.tenant();
    await signed(tenant, 1);
    await plane.anchorAll();
    const last = await signed(tenant, 1);
    await plane.sendAll(); // mined, and not final
    const { lastGood, chain } = await compared(tenant);
    assert.ok(lastGood.seq < last && chain.seq === last, 'control: it is on its way');
    await operator.freeze(tenant, 'signer-lost');
    const { statement, carried } = await operator.recovery().end(tenant.origin, 'signer-lost');
    assert.deepEqual([statement.last.seq, statement.last.treeSize, carried?.carried], [last, 2, 0]);
  });

  it('signer-lost: nothing differs, and an operator’s word ends it; the next log has a key of its own', async () => {
    const tenant = await plane.tenant();
    const sealed = await signed(tenant, 2);
    await plane.anchorAll();
    const admin = plane.kmsAs('admin');
    const { KeyMetadata } = await admin.send(new DescribeKeyCommand({ KeyId: tenantKeyAlias(tenant.id) }));
    await admin.send(new ScheduleKeyDeletionCommand({ KeyId: KeyMetadata?.KeyId }));
    await assert.rejects(signed(tenant, 1), failsAs('kms-refused'));
    assert.equal(await plane.frozen(tenant), null, 'a key that refuses freezes nothing: it may come back');
    assert.deepEqual((await compared(tenant)).differences, []);
    await assert.rejects(operator.recovery().end(tenant.origin, null), /not frozen: say --reason/);

    await operator.freeze(tenant, 'signer-lost');
    const { statement, carried } = await operator.recovery().end(tenant.origin, 'signer-lost');
    assert.deepEqual([statement.reason, statement.last.seq, statement.last.treeSize], ['signer-lost', sealed, 2]);
    assert.deepEqual([carried?.from, carried?.to, carried?.carried], [2, 3, 1]);
    const [log] = await plane.database.sql<{ genesis_signer: Buffer }>(
      'SELECT genesis_signer FROM kiff.logs WHERE tenant = $1',
      [tenant.id],
    );
    assert.notEqual(toHex(log!.genesis_signer), tenant.genesisSigner);
    await goesOn(tenant);
  });

  it('final-reorged (F28): it ends with the last seal that is still final; while the chain is as it was, nothing differs', async () => {
    const tenant = await plane.tenant();
    const still = await signed(tenant, 2);
    await plane.anchorAll();
    const devnet = createTestClient({ mode: 'anvil', transport: http(operator.rpcUrl) });
    const before = await devnet.snapshot();
    const gone = await signed(tenant, 1);
    await plane.anchorAll();
    assert.equal(await plane.level(tenant, gone), 'final');
    assert.deepEqual((await compared(tenant)).differences, [], 'control');
    await devnet.revert({ id: before });
    for (let block = 0; block < 3; block++) await plane.mine();

    const { differences, lastGood, chain } = await compared(tenant);
    assert.deepEqual(differences, [{ reason: 'final-reorged', facts: { seq: gone, chain: still } }]);
    assert.deepEqual([lastGood.seq, chain.seq], [still, still]);
    await operator.freeze(tenant, 'final-reorged');
    await assert.rejects(operator.recovery().resume(tenant.origin), /still differs/);
    const { statement, carried } = await operator.recovery().end(tenant.origin, null);
    assert.deepEqual([statement.reason, statement.last.seq, statement.last.treeSize], ['final-reorged', still, 2]);
    assert.deepEqual([carried?.from, carried?.to, carried?.carried], [2, 3, 1]);
  });
});
