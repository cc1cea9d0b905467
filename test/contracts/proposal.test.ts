import assert from 'node:assert/strict';
import { zeroAddress, zeroHash } from 'viem';
import { registryAbi } from '../../contracts/registry.ts';
import { lengths, newKey, oldKey, stepsOn, stranger, thirdKey, type Steps } from './custody.ts';
import { startDevnet, type Devnet } from './devnet.ts';
import { handoverHash, hashOf, signHandover, zero, type Domain, type Handover } from './statements.ts';

const empty = { hash: zeroHash, eta: 0, expiresAt: 0 };

const coolingOff = lengths.coolingOffSeconds;

describe('SealRegistry: proposal of a handover', () => {
  let net: Devnet;
  let steps: Steps;
  before(async () => {
    net = await startDevnet(lengths);
    steps = stepsOn(net);
  });
  after(async () => {
    await net.stop();
  });

  it('needs a known log, the next epoch, the current signer and a real successor', async () => {
    const log = await steps.logWithSeals();
    const refused = async (change: Partial<Handover>) => await steps.propose(await steps.draft(log, newKey, change));
    assert.equal(await refused({ logId: hashOf('no log') }), 'UnknownLogId');
    for (const epochTo of [0, 2, 2 ** 32 - 1]) assert.equal(await refused({ epochTo }), 'NotNextEpoch');
    assert.equal(await refused({ from: stranger.address }), 'NotCurrentSigner');
    assert.equal(await refused({ to: zeroAddress }), 'BadSuccessor');
    assert.equal(await refused({ to: oldKey.address }), 'BadSuccessor');
    assert.deepEqual(await net.pending(log.logId), empty);
  });

  it('needs both signatures, over this handover, on this chain and contract', async () => {
    const log = await steps.logWithSeals();
    const handover = await steps.draft(log);
    const old = oldKey.address.toLowerCase();
    const successor = newKey.address.toLowerCase();
    assert.equal(await steps.propose(handover, stranger), `InvalidSignature(${old})`);
    assert.equal(await steps.propose(handover, oldKey, stranger), `InvalidSignature(${successor})`);
    assert.equal(await steps.propose(handover, newKey, oldKey), `InvalidSignature(${old})`);
    const otherChain = { ...net.domain, chainId: 8453 };
    const otherContract: Domain = { ...net.domain, contract: `0x${'22'.repeat(20)}` };
    assert.equal(await steps.propose(handover, oldKey, newKey, otherChain), `InvalidSignature(${old})`);
    assert.equal(await steps.propose(handover, oldKey, newKey, otherContract), `InvalidSignature(${old})`);
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
    const [log, other] = [await steps.logWithSeals(), await steps.logWithSeals()];
    const handover = await steps.draft(log);
    const signatures = [
      await signHandover(net.domain, oldKey, handover),
      await signHandover(net.domain, newKey, handover),
    ] as const;
    const moved = { ...handover, logId: other.logId };
    assert.match((await net.handover('proposeHandover', moved, ...signatures)) ?? '', /^InvalidSignature/);
  });

  it('must be due before it expires, to the second', async () => {
    const log = await steps.logWithSeals();
    const now = (await net.now()) + 10;
    const tooShort = await steps.draft(log, newKey, { expiresAt: BigInt(now + coolingOff) });
    await net.at(now);
    assert.equal(await steps.propose(tooShort), 'Expired');
    const notBefore = BigInt(now + 2 * coolingOff);
    assert.equal(await steps.propose(await steps.draft(log, newKey, { notBefore, expiresAt: notBefore })), 'Expired');
    const justEnough = await steps.draft(log, newKey, { expiresAt: BigInt(now + 1_000 + coolingOff + 1) });
    await net.at(now + 1_000);
    assert.equal(await steps.propose(justEnough), null);
  });

  it('takes the later of cooling-off and notBefore as eta, up to the largest times', async () => {
    const log = await steps.logWithSeals();
    const notBefore = 2n ** 64n - 2n;
    assert.equal(await steps.propose(await steps.draft(log, newKey, { notBefore, expiresAt: notBefore + 1n })), null);
    const args = [log.logId] as const;
    const call = { address: net.registry.address, abi: registryAbi, functionName: 'pendingHandover', args } as const;
    assert.deepEqual((await net.client.readContract(call)).slice(1), [notBefore, notBefore + 1n]);
  });

  it('waits for nobody: one at a time, the same again refused, an expired one replaced', async () => {
    const log = await steps.logWithSeals();
    const [first, second] = [await steps.draft(log), await steps.draft(log, thirdKey, { expiresAt: 2n ** 40n })];
    assert.equal(await steps.propose(first), null);
    assert.equal(await steps.propose(first), 'AlreadyPending');
    await net.at(Number(first.expiresAt)); // its last second
    assert.equal(await steps.propose(second, oldKey, thirdKey), 'AlreadyPending');
    await net.at(Number(first.expiresAt) + 1);
    assert.equal(await steps.propose(second, oldKey, thirdKey), null);
    assert.equal((await net.pending(log.logId)).hash, handoverHash(second));
  });

  it('of an expired one again is refused', async () => {
    const log = await steps.logWithSeals();
    const handover = await steps.draft(log);
    assert.equal(await steps.propose(handover), null);
    await net.at(Number(handover.expiresAt) + 1);
    assert.equal(await steps.propose(handover), 'Expired');
  });
});
