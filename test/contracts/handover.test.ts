import assert from 'node:assert/strict';
import { encodeFunctionData, parseEventLogs, zeroAddress, zeroHash, type Hex, type LocalAccount } from 'viem';
import { compile } from '../../contracts/compile.ts';
import { registryAbi } from '../../contracts/registry.ts';
import { key, startDevnet, type Devnet } from './devnet.ts';
import { openLog, type TestLog } from './log.ts';
import {
  acceptHash,
  handoverHash,
  hashOf,
  signAccept,
  signCancel,
  signHandover,
  signSeal,
  zero,
  type Domain,
  type Handover,
} from './statements.ts';

const coolingOff = 86_400;
const lengths = { periodSeconds: 3600, coolingOffSeconds: coolingOff };
const [oldKey, newKey, thirdKey, stranger] = [key(201), key(202), key(203), key(204)];
let nonces = 0;

describe('SealRegistry: handover', () => {
  let net: Devnet;
  let contractSigner: Hex;
  before(async function () {
    this.timeout(60_000);
    net = await startDevnet(lengths);
    const source = 'contracts/test/Signers.sol';
    contractSigner = await net.deploy(compile([source]).contract(source, 'GasProbeSigner').bytecode);
  });
  after(async () => {
    await net.stop();
  });

  /** A handover of `log` to `to` that expires 72 hours from now. */
  async function draft(log: TestLog, to: LocalAccount = newKey, change: Partial<Handover> = {}): Promise<Handover> {
    return {
      logId: log.logId,
      epochTo: log.standing.epoch + 1,
      from: log.standing.signer.address,
      to: to.address,
      custody: 3,
      notBefore: 0n,
      expiresAt: BigInt(await net.now()) + 259_200n,
      nonce: hashOf(`nonce ${++nonces}`),
      ...change,
    };
  }

  async function propose(handover: Handover, from = oldKey, to = newKey, domain: Domain = net.domain) {
    const signatures = [await signHandover(domain, from, handover), await signHandover(domain, to, handover)] as const;
    return await net.handover('proposeHandover', handover, ...signatures);
  }

  async function cancel(handover: Handover, by: LocalAccount, domain: Domain = net.domain) {
    const { logId, epochTo } = handover;
    const signature = await signCancel(domain, by, { logId, epochTo, handoverHash: handoverHash(handover) });
    return await net.handover('cancelHandover', handover, signature);
  }

  async function accept(log: TestLog, handover: Handover, by = newKey, domain: Domain = net.domain) {
    return await net.handover('acceptHandover', handover, await signAccept(domain, by, acceptance(log, handover)));
  }

  /** Proposes, waits and accepts; the test's log follows. */
  async function succeed(log: TestLog, handover: Handover, from: LocalAccount, to: LocalAccount): Promise<void> {
    assert.equal(await propose(handover, from, to), null);
    await net.at((await net.pending(log.logId)).eta);
    assert.equal(await accept(log, handover, to), null);
    const head = acceptHash(acceptance(log, handover));
    Object.assign(log.standing, { signer: to, epoch: handover.epochTo, head });
  }

  async function logWithSeals(signer = oldKey): Promise<TestLog> {
    const log = await openLog(net, signer);
    await log.seal();
    await log.seal();
    return log;
  }

  const empty = { hash: zeroHash, eta: 0, expiresAt: 0 };

  it('passes a log from key to key, and the head runs through the acceptance', async () => {
    const log = await logWithSeals();
    const handover = await draft(log);
    const start = (await net.now()) + 10;
    await net.at(start);
    assert.equal(await propose(handover), null);
    const pending = { hash: handoverHash(handover), eta: start + coolingOff, expiresAt: Number(handover.expiresAt) };
    assert.deepEqual(await net.pending(log.logId), pending);

    await log.seal(); // cooling-off stops nobody from sealing
    await net.at(pending.eta);
    assert.equal(await accept(log, handover), null);
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
    await succeed(log, await draft(log), oldKey, newKey);
    await log.seal();
    await succeed(log, await draft(log, oldKey), newKey, oldKey);
    await log.seal();
    assert.equal(log.standing.epoch, 2);
    await log.assertStanding();
  });

  it('names a handover by its struct hash', async () => {
    const handover = await draft(await openLog(net, oldKey));
    const { address } = net.registry;
    const call = { address, abi: registryAbi, functionName: 'hashHandover', args: [handover] } as const;
    assert.equal(await net.client.readContract(call), handoverHash(handover));
  });

  it('says what happened', async () => {
    const log = await logWithSeals();
    const [dropped, kept] = [await draft(log), await draft(log)];
    const from = await net.client.getBlockNumber();
    assert.equal(await propose(dropped), null);
    const { eta: droppedEta } = await net.pending(log.logId);
    assert.equal(await cancel(dropped, newKey), null);
    await succeed(log, kept, oldKey, newKey);
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

  describe('proposal', () => {
    it('needs a known log, the next epoch, the current signer and a real successor', async () => {
      const log = await logWithSeals();
      const refused = async (change: Partial<Handover>) => await propose(await draft(log, newKey, change));
      assert.equal(await refused({ logId: hashOf('no log') }), 'UnknownLogId');
      for (const epochTo of [0, 2, 2 ** 32 - 1]) assert.equal(await refused({ epochTo }), 'NotNextEpoch');
      assert.equal(await refused({ from: stranger.address }), 'NotCurrentSigner');
      assert.equal(await refused({ to: zeroAddress }), 'BadSuccessor');
      assert.equal(await refused({ to: oldKey.address }), 'BadSuccessor');
      assert.deepEqual(await net.pending(log.logId), empty);
    });

    it('needs both signatures, over this handover, on this chain and contract', async () => {
      const log = await logWithSeals();
      const handover = await draft(log);
      const old = oldKey.address.toLowerCase();
      const successor = newKey.address.toLowerCase();
      assert.equal(await propose(handover, stranger), `InvalidSignature(${old})`);
      assert.equal(await propose(handover, oldKey, stranger), `InvalidSignature(${successor})`);
      assert.equal(await propose(handover, newKey, oldKey), `InvalidSignature(${old})`);
      const otherChain = { ...net.domain, chainId: 8453 };
      const otherContract: Domain = { ...net.domain, contract: `0x${'22'.repeat(20)}` };
      assert.equal(await propose(handover, oldKey, newKey, otherChain), `InvalidSignature(${old})`);
      assert.equal(await propose(handover, oldKey, newKey, otherContract), `InvalidSignature(${old})`);
      const changes: Partial<Handover>[] = [
        { custody: 1 },
        { notBefore: 1n },
        { expiresAt: handover.expiresAt + 1n },
        { nonce: zero },
      ];
      const signatures = [
        await signHandover(net.domain, oldKey, handover),
        await signHandover(net.domain, newKey, handover),
      ] as const;
      for (const change of changes) {
        const other = { ...handover, ...change };
        assert.equal(await net.handover('proposeHandover', other, ...signatures), `InvalidSignature(${old})`);
      }
      assert.equal(await net.handover('proposeHandover', handover, ...signatures), null);
    });

    it('of one log is none of another log of the same signer', async () => {
      const [log, other] = [await logWithSeals(), await logWithSeals()];
      const handover = await draft(log);
      const signatures = [
        await signHandover(net.domain, oldKey, handover),
        await signHandover(net.domain, newKey, handover),
      ] as const;
      const moved = { ...handover, logId: other.logId };
      assert.match((await net.handover('proposeHandover', moved, ...signatures)) ?? '', /^InvalidSignature/);
    });

    it('must be due before it expires, to the second', async () => {
      const log = await logWithSeals();
      const now = (await net.now()) + 10;
      const tooShort = await draft(log, newKey, { expiresAt: BigInt(now + coolingOff) });
      await net.at(now);
      assert.equal(await propose(tooShort), 'Expired');
      const notBefore = BigInt(now + 2 * coolingOff);
      assert.equal(await propose(await draft(log, newKey, { notBefore, expiresAt: notBefore })), 'Expired');
      const justEnough = await draft(log, newKey, { expiresAt: BigInt(now + 1_000 + coolingOff + 1) });
      await net.at(now + 1_000);
      assert.equal(await propose(justEnough), null);
    });

    it('takes the later of cooling-off and notBefore as eta, up to the largest times', async () => {
      const log = await logWithSeals();
      const notBefore = 2n ** 64n - 2n;
      assert.equal(await propose(await draft(log, newKey, { notBefore, expiresAt: notBefore + 1n })), null);
      const args = [log.logId] as const;
      const call = { address: net.registry.address, abi: registryAbi, functionName: 'pendingHandover', args } as const;
      assert.deepEqual((await net.client.readContract(call)).slice(1), [notBefore, notBefore + 1n]);
    });

    it('waits for nobody: one at a time, the same again refused, an expired one replaced', async () => {
      const log = await logWithSeals();
      const [first, second] = [await draft(log), await draft(log, thirdKey, { expiresAt: 2n ** 40n })];
      assert.equal(await propose(first), null);
      assert.equal(await propose(first), 'AlreadyPending');
      await net.at(Number(first.expiresAt)); // its last second
      assert.equal(await propose(second, oldKey, thirdKey), 'AlreadyPending');
      await net.at(Number(first.expiresAt) + 1);
      assert.equal(await propose(second, oldKey, thirdKey), null);
      assert.equal((await net.pending(log.logId)).hash, handoverHash(second));
    });

    it('of an expired one again is refused', async () => {
      const log = await logWithSeals();
      const handover = await draft(log);
      assert.equal(await propose(handover), null);
      await net.at(Number(handover.expiresAt) + 1);
      assert.equal(await propose(handover), 'Expired');
    });
  });

  describe('cancellation', () => {
    for (const [name, by] of [
      ['old', oldKey],
      ['new', newKey],
    ] as const) {
      it(`by the ${name} key kills a pending handover for ever`, async () => {
        const log = await logWithSeals();
        const handover = await draft(log);
        assert.equal(await propose(handover), null);
        const { eta } = await net.pending(log.logId);
        assert.equal(await cancel(handover, by), null);
        assert.deepEqual(await net.pending(log.logId), empty);
        assert.equal(await propose(handover), 'CancelledBefore');
        await net.at(eta);
        assert.equal(await accept(log, handover), 'CancelledBefore');
        assert.equal(await cancel(handover, by), 'CancelledBefore');
        await log.assertStanding();
        await log.seal();
        await succeed(log, await draft(log), oldKey, newKey); // another one is free to come
      });

      it(`by the ${name} key before the proposal kills it too, and leaves another pending one alone`, async () => {
        const log = await logWithSeals();
        const [handover, other] = [await draft(log), await draft(log)];
        assert.equal(await propose(other), null);
        assert.equal(await cancel(handover, by), null);
        const args = [handoverHash(handover)] as const;
        const { address } = net.registry;
        assert.equal(
          await net.client.readContract({ address, abi: registryAbi, functionName: 'cancelled', args }),
          true,
        );
        assert.equal((await net.pending(log.logId)).hash, handoverHash(other));
        assert.equal(await propose(handover), 'CancelledBefore');
        await net.at((await net.pending(log.logId)).eta);
        assert.equal(await accept(log, other), null);
      });
    }

    it("is nobody else's, and for this log, chain, contract and handover only", async () => {
      const log = await logWithSeals();
      const [handover, other] = [await draft(log), await draft(log)];
      assert.equal(await propose(handover), null);
      const invalid = `InvalidSignature(${oldKey.address.toLowerCase()})`;
      assert.equal(await cancel(handover, stranger), invalid);
      assert.equal(await cancel(handover, oldKey, { ...net.domain, chainId: 1 }), invalid);
      assert.equal(await cancel(handover, oldKey, { ...net.domain, contract: `0x${'33'.repeat(20)}` }), invalid);
      const { logId, epochTo } = other;
      const signature = await signCancel(net.domain, oldKey, { logId, epochTo, handoverHash: handoverHash(other) });
      assert.equal(await net.handover('cancelHandover', handover, signature), invalid);
      const asHandover = await signHandover(net.domain, oldKey, handover);
      assert.equal(await net.handover('cancelHandover', handover, asHandover), invalid);
      assert.equal(await cancel({ ...handover, logId: hashOf('no log') }, oldKey), 'UnknownLogId');
      assert.equal(await cancel({ ...handover, from: stranger.address }, stranger), 'NotCurrentSigner');
      assert.equal((await net.pending(log.logId)).hash, handoverHash(handover));
    });

    it('comes too late once accepted', async () => {
      const log = await logWithSeals();
      const handover = await draft(log);
      await succeed(log, handover, oldKey, newKey);
      assert.equal(await cancel(handover, oldKey), 'NotNextEpoch');
      await log.assertStanding();
    });
  });

  describe('acceptance', () => {
    it('needs the pending handover', async () => {
      const log = await logWithSeals();
      const [handover, other] = [await draft(log), await draft(log)];
      assert.equal(await accept(log, handover), 'NotPending');
      assert.equal(await propose(handover), null);
      await net.at((await net.pending(log.logId)).eta);
      assert.equal(await accept(log, other), 'NotPending');
      assert.equal(await accept(log, handover), null);
    });

    it('comes between eta and expiresAt, both included', async () => {
      const log = await logWithSeals();
      const handover = await draft(log);
      assert.equal(await propose(handover), null);
      const { eta, expiresAt } = await net.pending(log.logId);
      await net.at(eta - 1);
      assert.equal(await accept(log, handover), 'TooSoon');
      await net.at(eta);
      const early = await net.chain.snapshot();
      assert.equal(await accept(log, handover), null);
      await net.chain.revert({ id: early });
      await net.at(expiresAt);
      const last = await net.chain.snapshot();
      assert.equal(await accept(log, handover), null);
      await net.chain.revert({ id: last });
      await net.at(expiresAt + 1);
      assert.equal(await accept(log, handover), 'Expired');
      await log.assertStanding();
    });

    it("is the new key's, over the log's exact seq and head", async () => {
      const log = await logWithSeals();
      const handover = await draft(log);
      assert.equal(await propose(handover), null);
      await net.at((await net.pending(log.logId)).eta);
      const invalid = `InvalidSignature(${newKey.address.toLowerCase()})`;
      assert.equal(await accept(log, handover, oldKey), invalid);
      assert.equal(await accept(log, handover, stranger), invalid);
      assert.equal(await accept(log, handover, newKey, { ...net.domain, chainId: 10 }), invalid);
      assert.equal(await accept(log, handover, newKey, { ...net.domain, contract: `0x${'44'.repeat(20)}` }), invalid);
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
      assert.equal(await accept(log, handover), null);
    });

    it('happens once', async () => {
      const log = await logWithSeals();
      const handover = await draft(log);
      await succeed(log, handover, oldKey, newKey);
      assert.equal(await accept(log, handover), 'NotNextEpoch');
      assert.equal(await propose(handover), 'NotNextEpoch');
      await log.assertStanding();
    });
  });

  it('leaves no use for what was signed before it: withheld seals, shadow seals, another handover', async () => {
    const log = await logWithSeals();
    const withheld = await log.sign(log.next());
    const shadow = await signSeal(net.domain, newKey, log.next());
    const rival = await draft(log, thirdKey, { expiresAt: 2n ** 40n });
    await succeed(log, await draft(log), oldKey, newKey);
    assert.deepEqual((await net.anchor(withheld, shadow)).outcomes, ['BadSignature', 'BadSignature']);
    assert.equal(await propose(rival, oldKey, thirdKey), 'NotNextEpoch');
    await succeed(log, await draft(log, oldKey), newKey, oldKey);
    // The same key, seq and fields, but the head has moved on for good.
    assert.deepEqual((await net.anchor(withheld, shadow)).outcomes, ['BadSignature', 'BadSignature']);
    assert.equal(await propose(rival, oldKey, thirdKey), 'NotNextEpoch');
    await log.seal();
  });

  it('takes contract signers, and reverts rather than starve them', async () => {
    const log = await logWithSeals();
    const handover = await draft(log, newKey, { to: contractSigner });
    const signature = await signHandover(net.domain, oldKey, handover);
    assert.equal(await net.handover('proposeHandover', handover, signature, '0x'), null);
    await net.at((await net.pending(log.logId)).eta);
    const data = encodeFunctionData({ abi: registryAbi, functionName: 'acceptHandover', args: [handover, '0x'] });
    assert.equal((await net.send(data, 150_000n)).status, 'reverted');
    assert.equal(await net.handover('acceptHandover', handover, '0x'), null);
    assert.equal((await net.state(log.logId)).signer, contractSigner);
  });
});

/** The acceptance at the log's standing, or a variation of it. */
function acceptance(log: TestLog, handover: Handover) {
  const { logId, epochTo } = handover;
  return { logId, epochTo, handoverHash: handoverHash(handover), seq: log.standing.seq, head: log.standing.head };
}
