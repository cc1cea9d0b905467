/** Signers that are accounts with code: their seals go by themselves, and what they say in a simulation binds them to nothing. */
import assert from 'node:assert/strict';
import { createTestClient, decodeFunctionData, http } from 'viem';
import { registryAbi } from '../../../contracts/registry.ts';
import { toHex, type Hex } from '../../../protocol/hex.ts';
import { anvil } from '../../parts.ts';
import type { TestTenant } from '../../product-database.ts';
import { createPlane, type Plane } from '../plane.ts';

/** An EOA's code once it has delegated to another account (EIP-7702). */
const DELEGATED: Hex = `0xef0100${'42'.repeat(20)}`;

/**
 * An ERC-1271 account that says yes to whoever pays nothing for gas, as a simulation does, and no to a transaction:
 * GASPRICE ISZERO PUSH4 0x1626ba7e MUL PUSH1 224 SHL PUSH1 0 MSTORE PUSH1 32 PUSH1 0 RETURN.
 */
const TWO_FACED: Hex = '0x3a15631626ba7e0260e01b60005260206000f3';

async function setCode({ genesisSigner }: TestTenant, bytecode: Hex): Promise<void> {
  const { rpcUrl } = await anvil();
  await createTestClient({ mode: 'anvil', transport: http(rpcUrl) }).setCode({ address: genesisSigner, bytecode });
}

describe('seals of accounts with code', function () {
  this.timeout(60_000);
  let plane: Plane;

  before(async () => {
    plane = await createPlane();
  });
  after(() => plane.stop());
  beforeEach(() => plane.alerts());

  const twoTenants = async (first: number, second: number) =>
    (await plane.signedTogether(first, second)) as [TestTenant, TestTenant];

  /** What no key signed: only an account's code can say yes to it. */
  async function spoilSignature({ id }: TestTenant, seq: number): Promise<void> {
    await plane.database.sql(`ALTER TABLE kiff_t_${id}.seals DISABLE TRIGGER ALL`);
    await plane.database.sql(`UPDATE kiff_t_${id}.seals SET signature = $1 WHERE seq = $2`, [Buffer.alloc(65, 1), seq]);
  }

  /** Sends the next transaction. @returns the seals in it, and its gas limit */
  async function sendNext(): Promise<{ logs: Hex[]; seqs: number[]; gas: number } | null> {
    await plane.mine();
    const { inFlight } = await plane.anchoring.nextTransaction();
    if (inFlight === null) return null;
    while (!(await plane.anchoring.advanceTransaction(inFlight)).mined);
    const [row] = await plane.database.sql<{ calldata: Buffer; gas: number }>(
      'SELECT calldata, gas FROM kiff.nonces WHERE nonce = $1',
      [inFlight.nonce],
    );
    const call = decodeFunctionData({ abi: registryAbi, data: toHex(row!.calldata) });
    assert.equal(call.functionName, 'anchor');
    const items = call.functionName === 'anchor' ? call.args[0] : [];
    return { logs: [...new Set(items.map(({ logId }) => logId))], seqs: items.map(({ seq }) => seq), gas: row!.gas };
  }

  it('go in batches of their own, 50 at most, with gas for the worst; keys’ are not held up', async () => {
    const [delegated, key] = await twoTenants(52, 3);
    await setCode(delegated, DELEGATED);
    const batches = [await sendNext(), await sendNext(), await sendNext()];
    const of = (tenant: TestTenant) =>
      batches.filter((batch) => batch?.logs.length === 1 && batch.logs[0] === tenant.logId).map((batch) => batch!);
    assert.deepEqual(
      of(key).map(({ seqs }) => seqs.length),
      [3],
    );
    assert.deepEqual(
      of(delegated).map(({ seqs }) => seqs.length),
      [50, 2],
    );
    for (const { gas, seqs } of of(delegated)) assert.ok(gas >= seqs.length * 150_000 && gas <= 10_000_000);
    await plane.anchorAll();
    for (const tenant of [delegated, key]) {
      assert.deepEqual(new Set(await plane.levels(tenant)), new Set(['final']));
    }
  });

  it('are refused on chain after a good simulation: the log rests, longer each time, and somebody is told', async () => {
    const [hostile, honest] = await twoTenants(1, 1);
    for (const tenant of [hostile, honest]) await setCode(tenant, tenant === hostile ? TWO_FACED : DELEGATED);
    await spoilSignature(hostile, 1);
    const sent = await sendNext();
    assert.deepEqual(sent?.logs.toSorted(), [hostile.logId, honest.logId].toSorted(), 'in one batch');
    assert.deepEqual(
      plane.alerts().map(({ name, fields }) => [name, fields['tenantId']]),
      [['refused-after-simulation', hostile.id]],
    );
    assert.equal(await sendNext(), null, 'it is not sent again at once');
    await plane.anchorAll();
    assert.deepEqual([await plane.levels(hostile), await plane.levels(honest)], [['sealed'], ['final']]);

    const rests = async (): Promise<{ refusals: number; seconds: number }> => {
      const [row] = await plane.database.sql<{ refusals: number; seconds: number }>(
        `SELECT refusals, extract(epoch FROM held_back_until - clock_timestamp())::float8 AS seconds FROM kiff.logs WHERE tenant = $1`,
        [hostile.id],
      );
      return row!;
    };
    for (const [refusals, seconds] of [
      [1, 60],
      [2, 120],
      [3, 240],
    ] as const) {
      const now = await rests();
      assert.equal(now.refusals, refusals);
      assert.ok(now.seconds > seconds - 60 && now.seconds <= seconds);
      await plane.database.sql('UPDATE kiff.logs SET held_back_until = clock_timestamp() WHERE tenant = $1', [
        hostile.id,
      ]);
      assert.deepEqual((await sendNext())?.logs, [hostile.logId]);
    }

    // Once it says yes in earnest, it is anchored, and forgiven.
    await setCode(hostile, `0x631626ba7e60e01b60005260206000f3`);
    await plane.database.sql('UPDATE kiff.logs SET held_back_until = clock_timestamp() WHERE tenant = $1', [
      hostile.id,
    ]);
    await plane.anchorAll();
    assert.deepEqual(await plane.levels(hostile), ['final']);
    assert.equal((await rests()).refusals, 0);
  });

  it('refused in the simulation are set aside at once, and never sent', async () => {
    const tenant = await plane.signed(2);
    await setCode(tenant, '0x60006000fd'); // reverts
    await spoilSignature(tenant, 1);
    assert.equal(await sendNext(), null);
    assert.deepEqual(plane.alerts(), [
      { name: 'seal-refused', fields: { tenantId: tenant.id, seq: 1, outcome: 'BadSignature' } },
    ]);
  });

  it('run the transaction out of gas: what was in it rests, and then goes with gas for the worst', async () => {
    const tenants = await twoTenants(1, 1);
    await plane.mine();
    const { inFlight } = await plane.anchoring.nextTransaction();
    assert.ok(inFlight);
    await plane.database.sql('UPDATE kiff.nonces SET gas = 60000 WHERE nonce = $1', [inFlight.nonce]);
    let advance;
    do advance = await plane.anchoring.advanceTransaction(inFlight);
    while (!advance.mined);
    assert.equal(advance.reverted, true);
    assert.deepEqual(
      plane.alerts().map(({ name }) => name),
      ['transaction-reverted'],
    );
    assert.equal(await sendNext(), null, 'not again at once');
    await plane.database.sql('UPDATE kiff.logs SET held_back_until = clock_timestamp()');
    const again = await sendNext();
    assert.equal(again?.seqs.length, 2);
    assert.ok(again.gas >= 2 * 150_000);
    await plane.anchorAll();
    for (const tenant of tenants) assert.deepEqual(await plane.levels(tenant), ['final']);
  });
});
