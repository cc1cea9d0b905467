/** Nodes that lie: F24, and answers of every wrong kind. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Receipt } from '../../protocol/receipt.ts';
import { bytesOf, makeReceipt, named } from './receipt-factory.ts';
import type { Tamper } from './scripted-chain.ts';
import {
  verified,
  assertHolds,
  assertFails,
  tampering,
  withWord,
  type AnswerLog,
  type AnswerReceipt,
} from './chain-assertions.ts';

describe('protocol/chain and nodes that lie', () => {
  let receipt: Receipt;

  before(async () => {
    receipt = await makeReceipt();
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
