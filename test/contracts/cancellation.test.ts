import assert from 'node:assert/strict';
import { zeroHash } from 'viem';
import { registryAbi } from '../../contracts/registry.ts';
import { lengths, newKey, oldKey, stepsOn, stranger, type Steps } from './custody.ts';
import { startDevnet, type Devnet } from './devnet.ts';
import { handoverHash, hashOf, signCancel, signHandover } from './statements.ts';

const empty = { hash: zeroHash, eta: 0, expiresAt: 0 };

describe('SealRegistry: cancellation of a handover', () => {
  let net: Devnet;
  let steps: Steps;
  before(async () => {
    net = await startDevnet(lengths);
    steps = stepsOn(net);
  });
  after(async () => {
    await net.stop();
  });

  for (const [name, by] of [
    ['old', oldKey],
    ['new', newKey],
  ] as const) {
    it(`by the ${name} key kills a pending handover for ever`, async () => {
      const log = await steps.logWithSeals();
      const handover = await steps.draft(log);
      assert.equal(await steps.propose(handover), null);
      const { eta } = await net.pending(log.logId);
      assert.equal(await steps.cancel(handover, by), null);
      assert.deepEqual(await net.pending(log.logId), empty);
      assert.equal(await steps.propose(handover), 'CancelledBefore');
      await net.at(eta);
      assert.equal(await steps.accept(log, handover), 'CancelledBefore');
      assert.equal(await steps.cancel(handover, by), 'CancelledBefore');
      await log.assertStanding();
      await log.seal();
      await steps.succeed(log, await steps.draft(log), oldKey, newKey); // another one is free to come
    });

    it(`by the ${name} key before the proposal kills it too, and leaves another pending one alone`, async () => {
      const log = await steps.logWithSeals();
      const [handover, other] = [await steps.draft(log), await steps.draft(log)];
      assert.equal(await steps.propose(other), null);
      assert.equal(await steps.cancel(handover, by), null);
      const args = [handoverHash(handover)] as const;
      const { address } = net.registry;
      assert.equal(await net.client.readContract({ address, abi: registryAbi, functionName: 'cancelled', args }), true);
      assert.equal((await net.pending(log.logId)).hash, handoverHash(other));
      assert.equal(await steps.propose(handover), 'CancelledBefore');
      await net.at((await net.pending(log.logId)).eta);
      assert.equal(await steps.accept(log, other), null);
    });
  }

  it("is nobody else's, and for this log, chain, contract and handover only", async () => {
    const log = await steps.logWithSeals();
    const [handover, other] = [await steps.draft(log), await steps.draft(log)];
    assert.equal(await steps.propose(handover), null);
    const invalid = `InvalidSignature(${oldKey.address.toLowerCase()})`;
    assert.equal(await steps.cancel(handover, stranger), invalid);
    assert.equal(await steps.cancel(handover, oldKey, { ...net.domain, chainId: 1 }), invalid);
    assert.equal(await steps.cancel(handover, oldKey, { ...net.domain, contract: `0x${'33'.repeat(20)}` }), invalid);
    const { logId, epochTo } = other;
    const signature = await signCancel(net.domain, oldKey, { logId, epochTo, handoverHash: handoverHash(other) });
    assert.equal(await net.handover('cancelHandover', handover, signature), invalid);
    const asHandover = await signHandover(net.domain, oldKey, handover);
    assert.equal(await net.handover('cancelHandover', handover, asHandover), invalid);
    assert.equal(await steps.cancel({ ...handover, logId: hashOf('no log') }, oldKey), 'UnknownLogId');
    assert.equal(await steps.cancel({ ...handover, from: stranger.address }, stranger), 'NotCurrentSigner');
    assert.equal((await net.pending(log.logId)).hash, handoverHash(handover));
  });

  it('comes too late once accepted', async () => {
    const log = await steps.logWithSeals();
    const handover = await steps.draft(log);
    await steps.succeed(log, handover, oldKey, newKey);
    assert.equal(await steps.cancel(handover, oldKey), 'NotNextEpoch');
    await log.assertStanding();
  });
});
