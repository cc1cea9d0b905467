import assert from 'node:assert/strict';
import { encodeFunctionData, parseEventLogs, zeroHash, type Hex } from 'viem';
import { registryAbi } from '../../contracts/registry.ts';
import { deploySigner } from './accounts.ts';
import { acceptance, lengths, newKey, oldKey, stepsOn, stranger, thirdKey, type Steps } from './custody.ts';
import { startDevnet, type Devnet } from './devnet.ts';
import { openLog } from './log.ts';
import { acceptHash, handoverHash, signAccept, signHandover, signSeal, zero } from './statements.ts';

const empty = { hash: zeroHash, eta: 0, expiresAt: 0 };

const coolingOff = lengths.coolingOffSeconds;

describe('SealRegistry: handover', () => {
  let net: Devnet;
  let steps: Steps;
  let contractSigner: Hex;
  before(async function () {
    this.timeout(60_000);
    net = await startDevnet(lengths);
    steps = stepsOn(net);
    contractSigner = await deploySigner(net, 'GasProbeSigner');
  });
  after(async () => {
    await net.stop();
  });

  it('passes a log from key to key, and the head runs through the acceptance', async () => {
    const log = await steps.logWithSeals();
    const handover = await steps.draft(log);
    const start = (await net.now()) + 10;
    await net.at(start);
    assert.equal(await steps.propose(handover), null);
    const pending = { hash: handoverHash(handover), eta: start + coolingOff, expiresAt: Number(handover.expiresAt) };
    assert.deepEqual(await net.pending(log.logId), pending);

    await log.seal(); // cooling-off stops nobody from sealing
    await net.at(pending.eta);
    assert.equal(await steps.accept(log, handover), null);
    const head = acceptHash(acceptance(log, handover));
    Object.assign(log.standing, { signer: newKey, epoch: 1, head });
    await log.assertStanding();
    assert.deepEqual(await net.pending(log.logId), empty);

    assert.deepEqual((await net.anchor(await log.sign(log.next(), oldKey))).outcomes, ['BadSignature']);
    await log.seal();
    await log.assertStanding();
  });

  it('may pass before the first seal, and back again as a new succession', async () => {
    const log = await openLog(net, oldKey);
    await steps.succeed(log, await steps.draft(log), oldKey, newKey);
    await log.seal();
    await steps.succeed(log, await steps.draft(log, oldKey), newKey, oldKey);
    await log.seal();
    assert.equal(log.standing.epoch, 2);
    await log.assertStanding();
  });

  it('names a handover by its struct hash', async () => {
    const handover = await steps.draft(await openLog(net, oldKey));
    const { address } = net.registry;
    const call = { address, abi: registryAbi, functionName: 'hashHandover', args: [handover] } as const;
    assert.equal(await net.client.readContract(call), handoverHash(handover));
  });

  it('says what happened', async () => {
    const log = await steps.logWithSeals();
    const [dropped, kept] = [await steps.draft(log), await steps.draft(log)];
    const from = await net.client.getBlockNumber();
    assert.equal(await steps.propose(dropped), null);
    const { eta: droppedEta } = await net.pending(log.logId);
    assert.equal(await steps.cancel(dropped, newKey), null);
    await steps.succeed(log, kept, oldKey, newKey);
    const logs = await net.client.getLogs({ address: net.registry.address, fromBlock: from + 1n });
    const events = parseEventLogs({ abi: registryAbi, logs }).map(({ eventName, args }) => ({ eventName, args }));
    const common = { logId: log.logId, from: oldKey.address, to: newKey.address, custody: 3 };
    const eta = Number(events[2]?.args && 'eta' in events[2].args ? events[2].args.eta : 0);
    assert.deepEqual(events, [
      {
        eventName: 'HandoverProposed',
        args: {
          ...common,
          epochTo: 1,
          handoverHash: handoverHash(dropped),
          eta: BigInt(droppedEta),
          expiresAt: dropped.expiresAt,
        },
      },
      {
        eventName: 'HandoverCancelled',
        args: { logId: log.logId, epochTo: 1, handoverHash: handoverHash(dropped), by: newKey.address },
      },
      {
        eventName: 'HandoverProposed',
        args: { ...common, epochTo: 1, handoverHash: handoverHash(kept), eta: BigInt(eta), expiresAt: kept.expiresAt },
      },
      {
        eventName: 'HandoverAccepted',
        args: {
          ...common,
          epoch: 1,
          handoverHash: handoverHash(kept),
          seq: log.standing.seq,
          head: log.standing.head,
        },
      },
    ]);
    assert.ok(eta >= droppedEta);
  });

  describe('acceptance', () => {
    it('needs the pending handover', async () => {
      const log = await steps.logWithSeals();
      const [handover, other] = [await steps.draft(log), await steps.draft(log)];
      assert.equal(await steps.accept(log, handover), 'NotPending');
      assert.equal(await steps.propose(handover), null);
      await net.at((await net.pending(log.logId)).eta);
      assert.equal(await steps.accept(log, other), 'NotPending');
      assert.equal(await steps.accept(log, handover), null);
    });

    it('comes between eta and expiresAt, both included', async () => {
      const log = await steps.logWithSeals();
      const handover = await steps.draft(log);
      assert.equal(await steps.propose(handover), null);
      const { eta, expiresAt } = await net.pending(log.logId);
      await net.at(eta - 1);
      assert.equal(await steps.accept(log, handover), 'TooSoon');
      await net.at(eta);
      const early = await net.chain.snapshot();
      assert.equal(await steps.accept(log, handover), null);
      await net.chain.revert({ id: early });
      await net.at(expiresAt);
      const last = await net.chain.snapshot();
      assert.equal(await steps.accept(log, handover), null);
      await net.chain.revert({ id: last });
      await net.at(expiresAt + 1);
      assert.equal(await steps.accept(log, handover), 'Expired');
      await log.assertStanding();
    });

    it("is the new key's, over the log's exact seq and head", async () => {
      const log = await steps.logWithSeals();
      const handover = await steps.draft(log);
      assert.equal(await steps.propose(handover), null);
      await net.at((await net.pending(log.logId)).eta);
      const invalid = `InvalidSignature(${newKey.address.toLowerCase()})`;
      assert.equal(await steps.accept(log, handover, oldKey), invalid);
      assert.equal(await steps.accept(log, handover, stranger), invalid);
      assert.equal(await steps.accept(log, handover, newKey, { ...net.domain, chainId: 10 }), invalid);
      assert.equal(
        await steps.accept(log, handover, newKey, { ...net.domain, contract: `0x${'44'.repeat(20)}` }),
        invalid,
      );
      const right = acceptance(log, handover);
      const wrong = [
        { ...right, seq: right.seq + 1 },
        { ...right, head: zero },
        { ...right, epochTo: 2 },
        { ...right, handoverHash: zero },
      ];
      for (const statement of wrong) {
        const signature = await signAccept(net.domain, newKey, statement);
        assert.equal(await net.handover('acceptHandover', handover, signature), invalid);
      }
      const signed = await signAccept(net.domain, newKey, right);
      await log.seal(); // the old key is faster: the acceptance's standing is gone
      assert.equal(await net.handover('acceptHandover', handover, signed), invalid);
      assert.equal(await steps.accept(log, handover), null);
    });

    it('happens once', async () => {
      const log = await steps.logWithSeals();
      const handover = await steps.draft(log);
      await steps.succeed(log, handover, oldKey, newKey);
      assert.equal(await steps.accept(log, handover), 'NotNextEpoch');
      assert.equal(await steps.propose(handover), 'NotNextEpoch');
      await log.assertStanding();
    });
  });

  it('leaves no use for what was signed before it: withheld seals, shadow seals, another handover', async () => {
    const log = await steps.logWithSeals();
    const withheld = await log.sign(log.next());
    const shadow = await signSeal(net.domain, newKey, log.next());
    const rival = await steps.draft(log, thirdKey, { expiresAt: 2n ** 40n });
    await steps.succeed(log, await steps.draft(log), oldKey, newKey);
    assert.deepEqual((await net.anchor(withheld, shadow)).outcomes, ['BadSignature', 'BadSignature']);
    assert.equal(await steps.propose(rival, oldKey, thirdKey), 'NotNextEpoch');
    await steps.succeed(log, await steps.draft(log, oldKey), newKey, oldKey);
    // The same key, seq and fields, but the head has moved on for good.
    assert.deepEqual((await net.anchor(withheld, shadow)).outcomes, ['BadSignature', 'BadSignature']);
    assert.equal(await steps.propose(rival, oldKey, thirdKey), 'NotNextEpoch');
    await log.seal();
  });

  it('takes contract signers, and reverts rather than starve them', async () => {
    const log = await steps.logWithSeals();
    const handover = await steps.draft(log, newKey, { to: contractSigner });
    const signature = await signHandover(net.domain, oldKey, handover);
    assert.equal(await net.handover('proposeHandover', handover, signature, '0x'), null);
    await net.at((await net.pending(log.logId)).eta);
    const data = encodeFunctionData({ abi: registryAbi, functionName: 'acceptHandover', args: [handover, '0x'] });
    assert.equal((await net.send(data, 150_000n)).status, 'reverted');
    assert.equal(await net.handover('acceptHandover', handover, '0x'), null);
    assert.equal((await net.state(log.logId)).signer, contractSigner);
  });
});
