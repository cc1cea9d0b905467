import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Receipt } from '../../protocol/receipt.ts';
import { RpcRefused, RpcUnreachable, type Rpc } from '../../protocol/rpc.ts';
import { verifyReceipt, type Verification } from '../../protocol/verify.ts';
import {
  accountOf,
  addressOf,
  bytesOf,
  edited,
  makePolicy,
  makeReceipt,
  named,
  PERIOD,
  type Mutable,
} from './receipt-factory.ts';
import { scriptedChain, type ScriptOptions, type Tamper } from './scripted-chain.ts';

const policy = makePolicy();

async function verified(receipt: Receipt, options: ScriptOptions = {}, seen: Receipt = receipt): Promise<Verification> {
  return verifyReceipt(seen, policy, { rpc: scriptedChain(receipt, options) });
}

function detailOf({ checks }: Verification, name: string): string {
  return checks.find((check) => check.name === name)?.detail ?? '';
}

async function assertHolds(verification: Promise<Verification>): Promise<void> {
  const { ok, checks } = await verification;
  assert.deepEqual(named(checks, 'held').length, 11, JSON.stringify(checks, null, 1));
  assert.equal(ok, true);
}

async function assertFails(verification: Promise<Verification>, names: string[], saying?: RegExp): Promise<void> {
  const result = await verification;
  assert.deepEqual(named(result.checks, 'failed'), names, JSON.stringify(result.checks, null, 1));
  assert.equal(result.ok, false);
  if (saying !== undefined) assert.match(detailOf(result, names[0] ?? ''), saying);
}

/** Changes honest answers to one method, given as a copy. */
function tampering(method: string, edit: (answer: never, params: readonly unknown[]) => unknown): Tamper {
  return (asked, params, honest) => (asked === method ? edit(structuredClone(honest) as never, params) : honest);
}

interface AnswerLog {
  address: string;
  topics: string[];
  data: string;
  logIndex: string;
  blockHash: string;
  transactionHash: string;
  removed: boolean;
}

interface AnswerReceipt {
  status: string;
  blockHash: string;
  blockNumber: string;
  transactionHash: string;
  logs: AnswerLog[];
}

/** Puts another value into word `index` of ABI data. */
function withWord(data: string, index: number, value: number | string): string {
  const word = typeof value === 'number' ? value.toString(16).padStart(64, '0') : value;
  return data.slice(0, 2 + 64 * index) + word + data.slice(66 + 64 * index);
}

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

  describe('an invented receipt (F24)', () => {
    it('is caught by the state of the contract', async () => {
      // The receipt and all its events are as they should be; the contract has never seen the seal.
      const never = tampering('eth_call', (answer: string) => withWord(withWord(answer, 2, 2), 5, 1));
      await assertFails(verified(receipt, { tamper: never }), ['anchor', 'finality'], /stands at seq 2/);
      const empty = tampering('eth_call', () => `0x${'00'.repeat(192)}`);
      await assertFails(verified(receipt, { tamper: empty }), ['anchor', 'finality'], /stands at seq 0/);
    });

    it('is caught when the contract holds another seal of this seq', async () => {
      const other = tampering('eth_call', (answer: string) => withWord(answer, 5, 1));
      await assertFails(verified(receipt, { tamper: other }), ['anchor', 'finality']);
    });

    it('is caught in every word of the state', async () => {
      for (let index = 0; index < 6; index++) {
        const tamper = tampering('eth_call', (answer: string) => withWord(answer, index, 1));
        const { checks } = await verified(receipt, { tamper });
        assert(named(checks, 'failed').includes('anchor'), `word ${index}`);
      }
    });

    it('is caught when later seals do not follow from it', async () => {
      const later = [
        { blockNumber: 1000, seal: true as const },
        { blockNumber: 1500, seal: true as const },
      ];
      await assertHolds(verified(receipt, { later, stateFrom: 1900 }));
      const edits: [string, (logs: AnswerLog[]) => unknown][] = [
        ['one is missing', (logs) => logs.slice(0, -1)],
        ['the middle one is missing', (logs) => logs.filter((_, index) => index !== 1)],
        [
          'one is another',
          (logs) => logs.map((log, index) => (index === 1 ? { ...log, data: withWord(log.data, 2, 7) } : log)),
        ],
        ['one comes twice', (logs) => [...logs, ...logs.slice(-1)]],
        ['one is of elsewhere', (logs) => logs.map((log) => ({ ...log, address: `0x${'99'.repeat(20)}` }))],
        [
          'one is of another log',
          (logs) => logs.map((log) => ({ ...log, topics: [log.topics[0], bytesOf('x'), log.topics[2]] })),
        ],
        ['none', () => []],
      ];
      for (const [name, edit] of edits) {
        const { checks } = await verified(receipt, { later, stateFrom: 1900, tamper: tampering('eth_getLogs', edit) });
        assert.deepEqual(named(checks, 'failed'), ['anchor'], name);
      }
    });

    it('of a handover is caught', async () => {
      const made = await makeReceipt({ epoch: 1 });
      const before = tampering('eth_call', (answer: string, [, tag]) =>
        tag === '0x96' ? withWord(withWord(answer, 1, 0), 0, 1) : answer,
      );
      await assertFails(verified(made, { tamper: before }), ['anchor'], /does not show the handover/);
      const cases: [string, RegExp, (log: AnswerLog) => void][] = [
        ['from', /another from/, (log) => void (log.data = withWord(log.data, 0, 1))],
        ['to', /another to/, (log) => void (log.data = withWord(log.data, 1, 1))],
        ['custody', /another custody/, (log) => void (log.data = withWord(log.data, 2, 3))],
        ['hash', /another handoverHash/, (log) => void (log.topics[3] = bytesOf('x'))],
        ['event', /is not the/, (log) => void (log.topics[0] = bytesOf('x'))],
      ];
      for (const [, saying, edit] of cases) {
        for (const member of ['proposed', 'accepted'] as const) {
          const tamper = tampering('eth_getTransactionReceipt', (answer: AnswerReceipt) => {
            if (answer.transactionHash === made.handovers[0]?.[member].txHash) for (const log of answer.logs) edit(log);
            return answer;
          });
          await assertFails(verified(made, { tamper }), ['anchor'], saying);
        }
      }
    });

    it('of a handover is caught by the line of events, where old states are gone', async () => {
      const made = await makeReceipt({ epoch: 1, acceptSeqs: [5], seq: 6 });
      await assertHolds(verified(made, { stateFrom: 1900 }));
      // Not next to each other, and no events in between that lead from one to the other.
      const apart = await makeReceipt({ epoch: 1, acceptSeqs: [5], seq: 8 });
      await assertFails(verified(apart, { stateFrom: 1900 }), ['anchor'], /does not follow from the handover/);
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

  describe('a hostile node', () => {
    const METHODS = [
      'eth_chainId',
      'eth_getCode',
      'eth_getBlockByNumber',
      'eth_getTransactionReceipt',
      'eth_call',
      'eth_getLogs',
    ];
    const later = [{ blockNumber: 1500, seal: true as const }];
    const garbage = [
      undefined,
      null,
      true,
      0,
      -1,
      Infinity,
      '',
      '0x',
      '0xzz',
      '0x0',
      'latest',
      [],
      {},
      [[]],
      [null],
      { logs: 1 },
      '0x' + 'f'.repeat(64),
    ];

    it('only ever makes checks fail, whatever it answers', async () => {
      for (const method of METHODS) {
        for (const answer of garbage) {
          const { ok, checks } = await verified(receipt, {
            later,
            stateFrom: 1900,
            tamper: tampering(method, () => answer),
          });
          assert.equal(ok, false, `${method}: ${JSON.stringify(answer)}`);
          assert.notDeepEqual(named(checks, 'failed'), [], `${method}: ${JSON.stringify(answer)}`);
        }
      }
    });

    it('cannot crash the verifier with any value in any place', async () => {
      await fc.assert(
        fc.asyncProperty(fc.constantFrom(...METHODS), fc.anything(), fc.nat(), async (method, value, place) => {
          const tamper: Tamper = (asked, _params, honest) =>
            asked === method ? replaced(honest, value, place) : honest;
          const { checks } = await verified(receipt, { later, stateFrom: 1900, tamper });
          assert.equal(checks.length, 11);
        }),
        { numRuns: 300 },
      );
    });

    it('cannot pass with any digit of an event or a state changed', async () => {
      const made = await makeReceipt({ epoch: 1, acceptSeqs: [5], seq: 6 });
      const targets: [string, (answer: never) => string, (answer: never, data: string) => unknown][] = [
        ['eth_call', (answer: string) => answer, (_answer, data) => data],
        [
          'eth_getTransactionReceipt',
          (answer: AnswerReceipt) => answer.logs[0]?.data ?? '',
          (answer: AnswerReceipt, data) => ({ ...answer, logs: answer.logs.map((log) => ({ ...log, data })) }),
        ],
      ];
      for (const [method, read, write] of targets) {
        for (let digit = 2; digit < 2 + 64 * 4; digit += 7) {
          const tamper = tampering(method, (answer) => {
            const data = read(answer);
            const other = data.charAt(digit) === '1' ? '2' : '1';
            return write(answer, data.slice(0, digit) + other + data.slice(digit + 1));
          });
          const { ok } = await verified(made, { tamper });
          assert.equal(ok, false, `${method} digit ${digit}`);
        }
      }
    });
  });
});

/** A copy of an answer in which one of its parts, or the whole, is another value. */
function replaced(honest: unknown, value: unknown, place: number): unknown {
  if (typeof honest !== 'object' || honest === null) return value;
  const keys = Object.keys(honest);
  const chosen = place % (keys.length + 1);
  const key = keys[chosen];
  if (key === undefined) return value;
  const inner = (honest as Record<string, unknown>)[key];
  const copy = Array.isArray(honest) ? [...(honest as unknown[])] : { ...honest };
  return Object.assign(copy, { [key]: replaced(inner, value, Math.floor(place / (keys.length + 1))) });
}
