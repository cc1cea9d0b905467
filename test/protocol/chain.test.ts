/** Long because every answer of a node has its wrong forms; nodes that lie consistently are in chain-hostile.test.ts. */
import assert from 'node:assert/strict';
import type { Receipt } from '../../protocol/receipt.ts';
import { RpcRefused, RpcUnreachable, type Rpc } from '../../protocol/rpc.ts';
import { verifyReceipt } from '../../protocol/verify.ts';
import { accountOf, addressOf, bytesOf, edited, makeReceipt, named, PERIOD, type Mutable } from './receipt-factory.ts';
import { scriptedChain, type Tamper } from './scripted-chain.ts';
import {
  policy,
  verified,
  detailOf,
  assertHolds,
  assertFails,
  tampering,
  withWord,
  type AnswerLog,
  type AnswerReceipt,
} from './chain-assertions.ts';

const forbidden: Rpc = async () => assert.fail('a chain was asked');

const refusing: Rpc = async () => {
  throw new RpcRefused(-32601, 'no such method');
};

describe('protocol/chain', () => {
  let receipt: Receipt;

  before(async () => {
    receipt = await makeReceipt();
  });

  describe('an honest node', () => {
    for (const epoch of [0, 1, 2]) {
      it(`proves anchor and finality of epoch ${epoch}`, async () => {
        const made = await makeReceipt({ epoch });
        await assertHolds(verified(made));
        const { proved } = await verified(made);
        assert(proved.some((sentence) => sentence.includes('block 1000') && sentence.includes('which is final')));
      });
    }

    it('proves a seal that others of its log followed in the same block', async () => {
      const later = [
        { blockNumber: 1000, seal: true as const },
        { blockNumber: 1000, seal: true as const },
        { blockNumber: 1000, handoverTo: addressOf(accountOf('second')) },
        { blockNumber: 1000, seal: true as const },
      ];
      await assertHolds(verified(receipt, { later }));
    });

    it('may have forgotten old states: the events up to a later state prove the same', async () => {
      const later = [
        { blockNumber: 1000, seal: true as const },
        { blockNumber: 1300, handoverTo: addressOf(accountOf('other')) },
        { blockNumber: 1700, seal: true as const },
      ];
      await assertHolds(verified(receipt, { later, stateFrom: 1900 }));
      await assertHolds(verified(receipt, { later, stateFrom: 2010 }));
      await assertHolds(verified(receipt, { later, stateFrom: 2010, maxRange: 37 }));
      for (const epoch of [1, 2]) {
        const made = await makeReceipt({ epoch, acceptSeqs: [5, 5], seq: 6 });
        await assertHolds(verified(made, { later, stateFrom: 1900 }));
      }
    });

    it('that has no state at all proves nothing', async () => {
      await assertFails(verified(receipt, { stateFrom: 5000 }), ['anchor', 'finality'], /missing trie node/);
    });

    it('tells the period length when there is no policy', async () => {
      const rpc = scriptedChain(receipt);
      const verification = await verifyReceipt(receipt, null, { rpc, trustReceipt: true });
      assert.equal(verification.ok, true);
      assert(verification.notProved.every((sentence) => !sentence.includes('exact period length')));
      const late = await makeReceipt({ receivedAt: new Date((PERIOD + 61) * 1000).toISOString() });
      const minute: Tamper = tampering('eth_call', (answer: string) =>
        answer.length === 66 ? withWord(answer, 0, 60) : answer,
      );
      const refused = await verifyReceipt(late, null, {
        rpc: scriptedChain(late, { tamper: minute }),
        trustReceipt: true,
      });
      assert.deepEqual(named(refused.checks, 'failed'), ['period']);
    });

    it('is not asked when offline', async () => {
      const { ok, checks } = await verifyReceipt(receipt, policy, { rpc: forbidden, offline: true });
      assert.equal(ok, true);
      assert.deepEqual(named(checks, 'waived'), ['anchor', 'finality']);
    });
  });

  describe('anchor', () => {
    it('fails on every other place than the true one', async () => {
      const edits: ((anchor: Mutable<Receipt['anchor']>) => void)[] = [
        (anchor) => void (anchor.txHash = bytesOf('another tx')),
        (anchor) => void (anchor.blockNumber = 999),
        (anchor) => void (anchor.blockNumber = 5000),
        (anchor) => void (anchor.blockHash = bytesOf('another block')),
        (anchor) => void (anchor.logIndex = 8),
      ];
      for (const edit of edits) {
        const { checks } = await verified(
          receipt,
          {},
          edited(receipt, ({ anchor }) => edit(anchor)),
        );
        assert(named(checks, 'failed').includes('anchor'));
      }
    });

    it('fails on every other place of a handover', async () => {
      const made = await makeReceipt({ epoch: 1 });
      for (const which of ['proposed', 'accepted'] as const) {
        for (const member of ['txHash', 'blockNumber', 'blockHash', 'logIndex'] as const) {
          const changed = edited(made, (copy) => {
            const position = copy.handovers[0]?.[which];
            assert(position);
            if (member === 'txHash' || member === 'blockHash') position[member] = bytesOf('another');
            else position[member] += 1;
          });
          await assertFails(verified(made, {}, changed), ['anchor']);
        }
      }
      const swapped = edited(made, (copy) => {
        const [item] = copy.handovers;
        assert(item);
        [item.proposed, item.accepted] = [item.accepted, item.proposed];
      });
      await assertFails(verified(made, {}, swapped), ['anchor'], /does not come after/);
    });

    it('does not take the level for anything', async () => {
      for (const level of ['included', 'safe', 'final'] as const) {
        const claimed = edited(receipt, ({ anchor }) => void (anchor.level = level));
        await assertHolds(verified(claimed));
        await assertFails(verified(claimed, { finalized: 999 }), ['finality'], /not final yet/);
      }
    });

    it("needs the receipt's chain, and the policy's code", async () => {
      const chain = tampering('eth_chainId', () => '0x1');
      await assertFails(verified(receipt, { tamper: chain }), ['anchor', 'finality'], /chain 1/);
      const code = tampering('eth_getCode', () => '0x60806040');
      await assertFails(verified(receipt, { tamper: code }), ['anchor'], /code at the contract's address/);
      await assertFails(verified(receipt, { tamper: tampering('eth_getCode', () => '0x') }), ['anchor']);
      const late = edited(policy, (copy) => void (copy.registry.fromBlock = 1001));
      await assertFails(
        verifyReceipt(receipt, late, { rpc: scriptedChain(receipt) }),
        ['anchor'],
        /older than the contract/,
      );
    });

    it('needs a transaction that succeeded, in a canonical block, with the event of this very seal', async () => {
      const cases: [string, (answer: AnswerReceipt) => unknown][] = [
        ['no receipt', () => null],
        ['failed', (answer) => ({ ...answer, status: '0x0' })],
        ['another block', (answer) => ({ ...answer, blockHash: bytesOf('x') })],
        ['another block number', (answer) => ({ ...answer, blockNumber: '0x3e9' })],
        ['another transaction', (answer) => ({ ...answer, transactionHash: bytesOf('x') })],
        ['no logs', (answer) => ({ ...answer, logs: [] })],
        ...(
          [
            ["another contract's event", (log) => void (log.address = `0x${'99'.repeat(20)}`)],
            ['a removed event', (log) => void (log.removed = true)],
            ['another event', (log) => void (log.topics[0] = bytesOf('x'))],
            ['another log', (log) => void (log.topics[1] = bytesOf('x'))],
            ['another seq', (log) => void (log.topics[2] = withWord(log.topics[2] ?? '', 0, 4))],
            ['a topic less', (log) => void log.topics.pop()],
            ['another period', (log) => void (log.data = withWord(log.data, 0, PERIOD + 1))],
            ['another size', (log) => void (log.data = withWord(log.data, 1, 8))],
            ['another root', (log) => void (log.data = withWord(log.data, 2, 1))],
            ['another hash', (log) => void (log.data = withWord(log.data, 3, 1))],
            ['a word more', (log) => void (log.data += '00'.repeat(32))],
            ['no data', (log) => void (log.data = '0x')],
            ['an index of elsewhere', (log) => void (log.logIndex = '0x8')],
            ['a block of elsewhere', (log) => void (log.blockHash = bytesOf('x'))],
            ['a transaction of elsewhere', (log) => void (log.transactionHash = bytesOf('x'))],
          ] satisfies [string, (log: AnswerLog) => void][]
        ).map(([name, edit]): [string, (answer: AnswerReceipt) => unknown] => [
          name,
          (answer) => {
            for (const log of answer.logs) edit(log);
            return answer;
          },
        ]),
      ];
      for (const [name, edit] of cases) {
        const result = await verified(receipt, { tamper: tampering('eth_getTransactionReceipt', edit) });
        assert.deepEqual(named(result.checks, 'failed'), ['anchor'], name);
      }
    });

    it('needs the block to be the canonical one', async () => {
      const reorged = tampering('eth_getBlockByNumber', (block: object, [tag]) =>
        tag === '0x3e8' ? { ...block, hash: bytesOf('reorg') } : block,
      );
      await assertFails(
        verified(receipt, { tamper: reorged }),
        ['anchor', 'finality'],
        /not the one that the anchor names/,
      );
      const gone = tampering('eth_getBlockByNumber', (block: object, [tag]) => (tag === '0x3e8' ? null : block));
      await assertFails(verified(receipt, { tamper: gone }), ['anchor', 'finality']);
      const another = tampering('eth_getBlockByNumber', (block: object, [tag]) =>
        tag === '0x3e8' ? { ...block, number: '0x3e9' } : block,
      );
      await assertFails(verified(receipt, { tamper: another }), ['anchor', 'finality'], /malformed/);
    });
  });

  describe('finality', () => {
    it('needs a finalized block', async () => {
      const none = tampering('eth_getBlockByNumber', (block: object, [tag]) => (tag === 'finalized' ? null : block));
      await assertFails(verified(receipt, { tamper: none }), ['finality'], /no finalized block/);
      await assertFails(verified(receipt, { finalized: 999 }), ['finality'], /not final yet/);
      await assertHolds(verified(receipt, { finalized: 1000 }));
    });

    it('needs the contract to hold the seal there', async () => {
      const fallen = tampering('eth_call', (answer: string, [, tag]) =>
        tag === '0x7d0' ? withWord(answer, 2, 2) : answer,
      );
      await assertFails(verified(receipt, { tamper: fallen }), ['finality'], /does not hold the seal/);
      const other = tampering('eth_call', (answer: string, [, tag]) =>
        tag === '0x7d0' ? withWord(answer, 5, 2) : answer,
      );
      await assertFails(verified(receipt, { tamper: other }), ['finality'], /does not hold the seal/);
    });
  });

  describe('a node that does not answer', () => {
    it('leaves the checks unrun and says so', async () => {
      for (const error of [new RpcUnreachable('ECONNREFUSED'), new TypeError('fetch failed'), 'a string']) {
        const rpc: Rpc = async () => {
          throw error;
        };
        const { ok, checks, rpcUnreachable } = await verifyReceipt(receipt, policy, { rpc });
        assert.equal(ok, false);
        assert.equal(rpcUnreachable, true);
        assert.deepEqual(named(checks, 'failed'), []);
        assert.deepEqual(named(checks, 'not-run'), ['anchor', 'finality']);
      }
    });

    it('is not taken for one that answers with an error', async () => {
      const verification = await verifyReceipt(receipt, policy, { rpc: refusing });
      assert.equal(verification.rpcUnreachable, false);
      assert.deepEqual(named(verification.checks, 'failed'), ['anchor', 'finality']);
      assert.match(detailOf(verification, 'anchor'), /-32601.*no such method/);
    });
  });
});
