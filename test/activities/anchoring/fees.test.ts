import assert from 'node:assert/strict';
import fc from 'fast-check';
import { decideFees, type FeePolicy, type Market, type Offer } from '../../../activities/anchoring/fees.ts';

const GWEI = 1_000_000_000n;
const policy: FeePolicy = { ceiling: 50n * GWEI, patienceBlocks: 15n };
const market = (baseFeePerGas: bigint, headBlock = 100n, suggestedTip = 1n): Market => ({
  headBlock,
  baseFeePerGas,
  suggestedTip,
});
const offer = (maxFeePerGas: bigint, maxPriorityFeePerGas: bigint, headBlock: bigint): Offer => ({
  maxFeePerGas,
  maxPriorityFeePerGas,
  headBlock,
});

describe('fees', () => {
  it('first: twice the base fee and a tip, so that six full blocks may pass', () => {
    assert.deepEqual(decideFees([], market(7n, 1n, 3n), policy), {
      do: 'offer',
      fees: { maxFeePerGas: 17n, maxPriorityFeePerGas: 3n },
    });
  });

  it('an offer stands until enough blocks have passed it by, however long that takes', () => {
    const offers = [offer(10n, 1n, 100n)];
    assert.deepEqual(decideFees(offers, market(1_000n, 114n), policy), { do: 'keep' });
    assert.equal(decideFees(offers, market(1_000n, 115n), policy).do, 'offer');
  });

  it('a chain that makes no blocks, or lost some, raises nothing', () => {
    assert.deepEqual(decideFees([offer(10n, 1n, 100n)], market(1_000n, 100n), policy), { do: 'keep' });
    assert.deepEqual(decideFees([offer(10n, 1n, 100n)], market(1_000n, 90n), policy), { do: 'keep' });
  });

  it('near the ceiling an offer is the ceiling, as long as that is enough', () => {
    const { ceiling } = policy;
    assert.deepEqual(decideFees([], market(ceiling - 1n), policy), {
      do: 'offer',
      fees: { maxFeePerGas: ceiling, maxPriorityFeePerGas: 1n },
    });
    assert.deepEqual(decideFees([], market(ceiling), policy), { do: 'wait-at-ceiling' });
    assert.deepEqual(decideFees([offer(ceiling - 1n, 1n, 0n)], market(1n), policy), { do: 'wait-at-ceiling' });
  });

  const wei = fc.bigInt({ min: 1n, max: 200n * GWEI });
  it('whatever the market says: never above the ceiling, always enough for the next block, and a replacement raises both by 12.5 %', () => {
    let offered = 0;
    fc.assert(
      fc.property(fc.option(fc.tuple(wei, wei)), wei, wei, (before, base, tip) => {
        const offers = before === null ? [] : [offer(before[0], before[1], 0n)];
        const decision = decideFees(offers, market(base, 100n, tip), policy);
        if (decision.do !== 'offer') {
          assert.equal(decision.do, 'wait-at-ceiling');
          return;
        }
        offered++;
        const { maxFeePerGas, maxPriorityFeePerGas } = decision.fees;
        assert.ok(maxFeePerGas <= policy.ceiling);
        assert.ok(maxFeePerGas >= base + maxPriorityFeePerGas);
        for (const earlier of offers) {
          assert.ok(maxFeePerGas * 8n >= earlier.maxFeePerGas * 9n);
          assert.ok(maxPriorityFeePerGas * 8n >= earlier.maxPriorityFeePerGas * 9n);
        }
      }),
      { numRuns: 2_000 },
    );
    assert.ok(offered > 20, 'some were offers');
  });
});
