/** The wallet, step by step: what it leaves behind when it stops anywhere, and what it makes of what it finds. */
import assert from 'node:assert/strict';
import { createWalletClient, encodeFunctionData, http, zeroAddress, zeroHash } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { registryAbi } from '../../../contracts/registry.ts';
import { fromHex, toHex } from '../../../protocol/hex.ts';
import { anvil } from '../../parts.ts';
import type { TestTenant } from '../../product-database.ts';
import { until } from '../../main-job/client.ts';
import { createPlane, failsAs, type Plane } from '../plane.ts';

/** anvil's second account: somebody with money and no part in this. */
const STRANGER = privateKeyToAccount('0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d');

describe('anchoring', function () {
  this.timeout(60_000);
  let plane: Plane;

  before(async () => {
    plane = await createPlane();
  });
  after(() => plane.stop());
  beforeEach(() => plane.alerts());

  /** A tenant with `count` signed seals that are in no block. */
  async function signed(count: number, made?: TestTenant): Promise<TestTenant> {
    const tenant = made ?? (await plane.tenant());
    let seq = 0;
    while (seq < count) {
      await plane.post(tenant, 2);
      seq = await plane.collect(tenant);
    }
    await plane.log.hashSeals({ tenantId: tenant.id, throughSeq: seq });
    for (let next = 1; next <= count; next++) await plane.signing.signSeals({ tenantId: tenant.id, seqs: [next] });
    return tenant;
  }

  const untilMined = (sent: { nonce: number }) =>
    until(`nonce ${sent.nonce} to be mined`, async () => {
      const advance = await plane.anchoring.advanceTransaction(sent);
      return advance.mined ? advance : undefined;
    });

  const levels = async (tenant: TestTenant): Promise<string[]> => {
    const rows = await plane.database.sql<{ level: string }>(
      `SELECT level FROM kiff_t_${tenant.id}.seals ORDER BY seq`,
    );
    return rows.map((row) => row.level);
  };

  it('takes seals of several logs in one transaction and follows them to final', async () => {
    const [one, two] = [await plane.tenant(), await plane.tenant()];
    await signed(2, one);
    await signed(1, two);
    await plane.mine();
    const { inFlight: sent } = await plane.anchoring.nextTransaction();
    assert.equal(sent?.kind, 'anchor');
    const { seals } = await untilMined(sent);
    assert.equal(seals, 3);
    assert.deepEqual((await levels(one)).slice(0, 2), ['included', 'included']);
    await plane.anchorAll();
    assert.deepEqual((await levels(one)).slice(0, 2), ['final', 'final']);
    assert.equal((await levels(two))[0], 'final');
  });

  it('looks for seals in a block only at logs that have some: thousands that wait are more tables than one statement can lock', async () => {
    const anchored = await signed(1);
    await plane.mine();
    const { inFlight: sent } = await plane.anchoring.nextTransaction();
    assert.ok(sent);
    await untilMined(sent);
    const waiting = await signed(1);
    const wallet = await plane.database.connect(plane.database.urls.kiff_anchoring);
    await wallet.query('BEGIN');
    const seals = await wallet.query<{ tenant: string }>(`SELECT tenant FROM kiff.seals_to_confirm(500, '', 0)`);
    const locks = await wallet.query<{ name: string }>(
      `SELECT relation::regclass::text AS name FROM pg_locks WHERE pid = pg_backend_pid() AND relation IS NOT NULL`,
    );
    await wallet.end();
    assert.ok(seals.rows.some(({ tenant }) => tenant === anchored.id));
    const locked = locks.rows.map(({ name }) => name);
    assert.ok(locked.includes(`kiff_t_${anchored.id}.seals`), 'control');
    assert.ok(!locked.includes(`kiff_t_${waiting.id}.seals`));
    await plane.anchorAll();
    assert.deepEqual([(await levels(anchored))[0], (await levels(waiting))[0]], ['final', 'final']);
  });

  it('F3: dies after the broadcast; the next one finds the same bytes and nothing is sent twice', async () => {
    const tenant = await signed(1);
    await plane.mine();
    const { inFlight: sent } = await plane.anchoring.nextTransaction();
    assert.ok(sent);
    await plane.anchoring.advanceTransaction(sent); // signed, stored, broadcast; what it found is forgotten here
    await plane.anchoring.releaseWallet();
    const heir = plane.anchoringAs('an heir');
    const { inFlight: found } = await heir.nextTransaction();
    if (found !== null) {
      assert.equal(found.nonce, sent.nonce);
      assert.equal((await heir.advanceTransaction(found)).mined, true);
    }
    assert.equal((await heir.nextTransaction()).inFlight, null, 'there is nothing left to send');
    await heir.releaseWallet();
    const transactions = await plane.database.sql('SELECT FROM kiff.transactions WHERE nonce = $1', [sent.nonce]);
    assert.equal(transactions.length, 1);
    await plane.anchorAll();
    assert.equal((await levels(tenant))[0], 'final');
  });

  it('a second run cannot touch the wallet while the first one holds it', async () => {
    await signed(1);
    await plane.mine();
    await plane.anchoring.nextTransaction();
    await assert.rejects(plane.anchoringAs('an intruder').nextTransaction(), failsAs('wallet-held'));
    await assert.rejects(plane.anchoringAs('an intruder').confirmSeals(), failsAs('wallet-held'));
    await plane.anchorAll();
  });

  it('a seal that the contract would refuse is set aside and holds up no neighbour', async () => {
    const [bad, good] = [await plane.tenant(), await plane.tenant()];
    await signed(2, bad);
    await signed(1, good);
    await plane.database.sql(`ALTER TABLE kiff_t_${bad.id}.seals DISABLE TRIGGER ALL`);
    await plane.database.sql(`UPDATE kiff_t_${bad.id}.seals SET signature = $1 WHERE seq = 1`, [Buffer.alloc(65, 1)]);
    await plane.anchorAll();
    assert.equal((await levels(good))[0], 'final');
    assert.equal((await levels(bad))[0], 'sealed');
    const [row] = await plane.database.sql<{ refused: string }>(
      `SELECT refused FROM kiff_t_${bad.id}.seals WHERE seq = 1`,
    );
    assert.equal(row?.refused, 'BadSignature');
    // What stands behind it cannot go, and takes no place in a batch.
    const queued = await plane.database.sql<{ tenant: string }>('SELECT tenant FROM kiff.seals_to_anchor(280)');
    assert.deepEqual(
      queued.filter((seal) => seal.tenant === bad.id),
      [],
    );
    assert.ok(plane.alerts().some((alert) => alert.name === 'seal-refused' && alert.fields['tenantId'] === bad.id));
  });

  it('a transaction that reverts is told of, and its nonce is done with', async () => {
    const tenant = await signed(1);
    await plane.mine();
    const { inFlight } = await plane.anchoring.nextTransaction();
    assert.ok(inFlight);
    // What no simulation would let pass: the call is spoilt after the nonce was opened.
    const calldata = encodeFunctionData({ abi: registryAbi, functionName: 'register', args: [zeroAddress, zeroHash] });
    await plane.database.sql('UPDATE kiff.nonces SET calldata = $1 WHERE nonce = $2', [
      Buffer.from(fromHex(calldata)),
      inFlight.nonce,
    ]);
    assert.equal((await untilMined(inFlight)).reverted, true);
    assert.ok(plane.alerts().some((alert) => alert.name === 'transaction-reverted'));
    await plane.anchorAll();
    assert.equal((await levels(tenant))[0], 'final', 'its seal went with the next one');
  });

  it('what somebody else anchored first is taken as done', async () => {
    const tenant = await signed(1);
    const [seal] = await plane.database.sql<{ period: number; tree_size: number; root: Buffer; signature: Buffer }>(
      `SELECT period, tree_size, root, signature FROM kiff_t_${tenant.id}.seals WHERE seq = 1`,
    );
    const { rpcUrl } = await anvil();
    const { chain } = plane.chain;
    assert.ok(chain);
    const stranger = createWalletClient({ account: STRANGER, chain, transport: http(rpcUrl) });
    const hash = await stranger.writeContract({
      address: plane.registry.address,
      abi: registryAbi,
      functionName: 'anchor',
      args: [
        [
          {
            logId: tenant.logId,
            seq: 1,
            period: BigInt(seal!.period),
            treeSize: seal!.tree_size,
            root: toHex(seal!.root),
            signature: toHex(seal!.signature),
          },
        ],
      ],
    });
    await plane.chain.waitForTransactionReceipt({ hash });
    await plane.anchorAll();
    const [row] = await plane.database.sql<{ level: string; tx_hash: Buffer }>(
      `SELECT level, tx_hash FROM kiff_t_${tenant.id}.seals WHERE seq = 1`,
    );
    assert.equal(row?.level, 'final');
    assert.equal(toHex(row.tx_hash), hash);
  });
});
