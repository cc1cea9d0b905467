/** The checks `anchor` and `finality` against the real contract on a real node, over the CLI's own JSON-RPC client. */
import assert from 'node:assert/strict';
import { encodeFunctionData, keccak256, parseEventLogs, stringToHex, type TransactionReceipt } from 'viem';
import { createHttpRpc } from '../../cli/rpc.ts';
import { registryAbi } from '../../contracts/registry.ts';
import type { AnchoredHandover, ChainPosition, Hex, Policy, Receipt } from '../../protocol/index.ts';
import { RpcRefused, type Rpc } from '../../protocol/rpc.ts';
import { verifyReceipt } from '../../protocol/verify.ts';
import { startDevnet, type Devnet } from '../contracts/devnet.ts';
import {
  accountOf,
  addressOf,
  edited,
  makeHandover,
  makePolicy,
  makeReceipt,
  named,
  ORIGIN,
  PERIOD_SECONDS,
  structHash,
  ZERO,
  type ReceiptOptions,
} from './receipt-factory.ts';

const COOLING_OFF = 120;
const [genesis, second] = [accountOf('genesis'), accountOf('second')];

describe('protocol/chain on anvil', function () {
  this.timeout(60_000);

  let devnet: Devnet;
  let rpc: Rpc;
  let policy: Policy;
  /** Receipts of seals 1 to 6; the first three of epoch 0 in one transaction, the others of epoch 1. */
  const receipts: Receipt[] = [];

  /** Anchors seals that follow each other in one transaction. */
  async function anchorAll(made: readonly Receipt[]): Promise<Receipt[]> {
    const items = made.map(({ seal: { logId, seq, period, treeSize, root, signature } }) => ({
      logId,
      seq,
      period: BigInt(period),
      treeSize,
      root,
      signature,
    }));
    const sent = await devnet.send(encodeFunctionData({ abi: registryAbi, functionName: 'anchor', args: [items] }));
    const names = parseEventLogs({ abi: registryAbi, logs: sent.logs }).map(({ eventName }) => eventName);
    assert.deepEqual(
      names,
      made.map(() => 'Sealed'),
    );
    const positions = positionsOf(sent);
    return made.map((receipt, index) => ({
      ...receipt,
      anchor: { ...(positions[index] ?? assert.fail()), level: 'included' },
    }));
  }

  /** Seals `count` periods on top of a head. */
  async function makeSeals(
    count: number,
    from: { seq: number; head: Hex },
    options: ReceiptOptions,
  ): Promise<Receipt[]> {
    const { chainId, contract } = devnet.domain;
    const made: Receipt[] = [];
    let prev = from.head;
    for (let seq = from.seq + 1; seq <= from.seq + count; seq++) {
      const receipt = await makeReceipt({
        ...options,
        registry: { chainId, contract },
        seq,
        prev,
        period: firstPeriod + (seq - 1) * PERIOD_SECONDS,
        size: 3 + seq,
      });
      prev = structHash('Seal', receipt.seal);
      made.push(receipt);
    }
    return made;
  }

  async function handOver(seq: number, head: Hex): Promise<AnchoredHandover> {
    const now = await devnet.now();
    const made = await makeHandover(
      devnet.domain,
      { from: genesis, to: second },
      {
        logId: receipts[0]?.seal.logId ?? ZERO,
        epochTo: 1,
        seq,
        head,
        notBefore: 0,
        expiresAt: now + 10 * COOLING_OFF,
      },
    );
    const { notBefore, expiresAt } = made.handover;
    const onChain = { ...made.handover, notBefore: BigInt(notBefore), expiresAt: BigInt(expiresAt) };
    const { fromSignature, toSignature, acceptSignature } = made;
    const [proposed] = positionsOf(
      await devnet.send(
        encodeFunctionData({
          abi: registryAbi,
          functionName: 'proposeHandover',
          args: [onChain, fromSignature, toSignature],
        }),
      ),
    );
    await devnet.at((await devnet.now()) + COOLING_OFF);
    const [accepted] = positionsOf(
      await devnet.send(
        encodeFunctionData({ abi: registryAbi, functionName: 'acceptHandover', args: [onChain, acceptSignature] }),
      ),
    );
    assert(proposed && accepted);
    return { ...made, proposed, accepted };
  }

  let firstPeriod: number;

  before(async () => {
    devnet = await startDevnet({ periodSeconds: PERIOD_SECONDS, coolingOffSeconds: COOLING_OFF });
    rpc = createHttpRpc(new URL(devnet.rpcUrl));
    const now = await devnet.now();
    firstPeriod = now - (now % PERIOD_SECONDS) - 20 * PERIOD_SECONDS;
    const { codeHash, fromBlock, periodSeconds } = devnet.registry;
    policy = { ...makePolicy(), registry: { ...devnet.domain, codeHash, fromBlock, periodSeconds } };

    await devnet.register(addressOf(genesis), keccak256(stringToHex(ORIGIN)));
    receipts.push(...(await anchorAll(await makeSeals(3, { seq: 0, head: ZERO }, {}))));
    const handover = await handOver(3, structHash('Seal', receipts[2]?.seal ?? {}));
    const head = structHash('HandoverAccept', handover.accept);
    const later = await makeSeals(3, { seq: 3, head }, { epoch: 1, acceptSeqs: [3] });
    for (const group of [later.slice(0, 1), later.slice(1)]) {
      const anchored = await anchorAll(group.map((receipt) => ({ ...receipt, handovers: [handover] })));
      receipts.push(...anchored);
    }
  });

  after(async () => {
    await devnet.stop();
  });

  async function assertAllHold(): Promise<void> {
    for (const receipt of receipts) {
      const { ok, checks } = await verifyReceipt(receipt, policy, { rpc });
      assert.equal(ok, true, `seal ${receipt.seal.seq}: ${JSON.stringify(checks, null, 1)}`);
      assert.equal(named(checks, 'held').length, 11);
    }
  }

  it('the last seal is anchored, but not final yet', async () => {
    const last = receipts.at(-1);
    const { ok, checks } = await verifyReceipt(last, policy, { rpc });
    assert.equal(ok, false);
    assert.deepEqual(named(checks, 'failed'), ['finality']);
  });

  it('every receipt of both epochs holds once final', async () => {
    await devnet.chain.mine({ blocks: 3 });
    await assertAllHold();
  });

  it('without a policy the contract tells the period length', async () => {
    const { ok, notProved } = await verifyReceipt(receipts[0], null, { rpc, trustReceipt: true });
    assert.equal(ok, true);
    assert(notProved.every((sentence) => !sentence.includes('exact period length')));
  });

  it('one seal does not pass at the place of another, nor in another epoch', async () => {
    for (const [index, receipt] of receipts.entries()) {
      const other = receipts[(index + 1) % receipts.length];
      assert(other);
      const { checks } = await verifyReceipt({ ...receipt, anchor: other.anchor }, policy, { rpc });
      assert.deepEqual(named(checks, 'failed'), ['anchor'], `seal ${receipt.seal.seq}`);
    }
  });

  it("an old key's seal that the contract never took is refused by the chain alone", async () => {
    const [stale] = await makeSeals(1, { seq: 3, head: structHash('Seal', receipts[2]?.seal ?? {}) }, {});
    assert(stale);
    const anchor = receipts[3]?.anchor ?? assert.fail();
    const offline = await verifyReceipt({ ...stale, anchor }, policy, { offline: true });
    assert.equal(offline.ok, true, 'offline it only shows that the key once was the signer');
    const { checks } = await verifyReceipt({ ...stale, anchor }, policy, { rpc });
    assert.deepEqual(named(checks, 'failed'), ['anchor']);
  });

  it('a place of a handover that is not its own is refused', async () => {
    const receipt = receipts.at(-1) ?? assert.fail();
    const swapped = edited(receipt, (copy) => {
      const [item] = copy.handovers;
      assert(item);
      item.proposed = { ...item.accepted };
    });
    assert.deepEqual(named((await verifyReceipt(swapped, policy, { rpc })).checks, 'failed'), ['anchor']);
  });

  it('another contract is not the one of the policy', async () => {
    const other = edited(policy, (copy) => void (copy.registry.codeHash = keccak256('0x00')));
    assert.deepEqual(named((await verifyReceipt(receipts[0], other, { rpc })).checks, 'failed'), ['anchor']);
  });

  it('every receipt still holds when the node has forgotten the old states', async () => {
    await devnet.chain.mine({ blocks: 400 });
    const block = `0x${(receipts[0]?.anchor.blockNumber ?? 0).toString(16)}`;
    await assert.rejects(rpc('eth_getCode', [devnet.domain.contract, block]), RpcRefused, 'control: it has forgotten');
    await assertAllHold();
  });
});

function positionsOf(receipt: TransactionReceipt): ChainPosition[] {
  assert.equal(receipt.status, 'success');
  return receipt.logs.map((log) => ({
    txHash: log.transactionHash,
    blockNumber: Number(log.blockNumber),
    blockHash: log.blockHash,
    logIndex: log.logIndex,
  }));
}
