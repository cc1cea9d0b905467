import assert from 'node:assert/strict';
import { parseEventLogs, type Hex, type LocalAccount } from 'viem';
import { outcomes, registryAbi } from '../../contracts/registry.ts';
import { delegate, deploySigner, ownedBy } from './accounts.ts';
import { key, startDevnet, type Devnet } from './devnet.ts';
import { drive, lengths } from './driver.ts';
import { registryWithout } from './mutant.ts';
import { acceptHash, sealHash, zero } from './statements.ts';

/** Steps of one run (REGISTRY_STEPS asks for another number), and the seed that repeats it. */
const steps = Number(process.env['REGISTRY_STEPS'] ?? 10_000);
const seed = Number(process.env['REGISTRY_SEED'] ?? 20_261_123);

const everything = [
  ...outcomes,
  ...['done', 'UnknownLogId', 'NotNextEpoch', 'NotCurrentSigner', 'BadSuccessor', 'AlreadyPending'].map(proposal),
  ...['Expired', 'CancelledBefore', 'InvalidSignature'].map(proposal),
  ...['done', 'CancelledBefore', 'InvalidSignature'].map((error) => `cancel: ${error}`),
  ...['done', 'NotPending', 'TooSoon', 'Expired', 'InvalidSignature'].map((error) => `accept: ${error}`),
  ...['anchor', 'propose', 'cancel', 'accept'].map((step) => `again: ${step}`),
];

function proposal(error: string): string {
  return `propose: ${error}`;
}

/** Keys, a contract with an owner (ERC-1271), and a key with a delegation whose code says no to everything (EIP-7702). */
async function signers(net: Devnet): Promise<LocalAccount[]> {
  const delegated = key(305);
  await delegate(net, delegated, await deploySigner(net, 'NoSigner'));
  return [key(301), key(302), key(303), await ownedBy(net, key(304)), delegated];
}

describe(`SealRegistry: ${steps} random steps against a model (seed ${seed})`, () => {
  it('does what the model does, and its events alone tell one unbroken history', async function () {
    this.timeout(60_000 + steps * 20);
    const net = await startDevnet(lengths);
    try {
      const tally = await drive(net, await signers(net), seed, steps);
      const missing = everything.filter((what) => !tally.has(what));
      assert.deepEqual(missing, [], 'the run was too tame');
      await assertHistory(net);
    } finally {
      await net.stop();
    }
  });

  const rules = {
    'a head that runs through acceptances': 'log.head = acceptHash;',
    'cancellation for ever': 'cancelled[handoverHash] = true;',
    'periods that rise by exactly P':
      'if (lastSeq != 0 && periodIndex != uint256(log.periodIndex) + 1) return Outcome.BadPeriod;',
    'one signer per epoch': 'if (handover.from != log.signer) revert NotCurrentSigner();',
  };
  for (const [name, rule] of Object.entries(rules)) {
    it(`notices a registry without ${name} (control)`, async function () {
      this.timeout(120_000);
      const net = await startDevnet(lengths, registryWithout(rule));
      try {
        await assert.rejects(drive(net, await signers(net), seed, steps), assert.AssertionError);
      } finally {
        await net.stop();
      }
    });
  }
});

/** Reads every event and follows each log by them alone: this needs no model, and is what any outsider can do. */
async function assertHistory(net: Devnet): Promise<void> {
  const logs = await net.client.getLogs({ address: net.registry.address, fromBlock: 0n });
  const standings = new Map<Hex, { epoch: number; seq: number; period: bigint; treeSize: number; head: Hex }>();
  const times = new Map<bigint, bigint>();
  const used = new Set<Hex>();
  const dead = new Set<Hex>();
  for (const { eventName, args, blockNumber } of parseEventLogs({ abi: registryAbi, logs })) {
    if (eventName === 'LogRegistered') {
      assert.ok(!standings.has(args.logId));
      standings.set(args.logId, { epoch: 0, seq: 0, period: 0n, treeSize: 0, head: zero });
      continue;
    }
    if (eventName === 'SealRefused' || eventName === 'EIP712DomainChanged') continue;
    const log = standings.get(args.logId) ?? assert.fail('an event of no log');
    switch (eventName) {
      case 'Sealed': {
        const { logId, seq, period, treeSize, root } = args;
        const P = BigInt(lengths.periodSeconds);
        assert.equal(seq, log.seq + 1);
        if (log.seq > 0) assert.equal(period, log.period + P);
        if (!times.has(blockNumber)) times.set(blockNumber, (await net.client.getBlock({ blockNumber })).timestamp);
        assert.ok(period + P <= (times.get(blockNumber) ?? 0n));
        assert.ok(treeSize >= log.treeSize);
        assert.equal(args.sealHash, sealHash({ logId, seq, period: Number(period), treeSize, root, prev: log.head }));
        Object.assign(log, { seq, period, treeSize, head: args.sealHash });
        break;
      }
      case 'HandoverAccepted': {
        const { logId, epoch, handoverHash, seq } = args;
        assert.equal(epoch, log.epoch + 1);
        assert.equal(seq, log.seq);
        assert.ok(!used.has(handoverHash) && !dead.has(handoverHash));
        assert.equal(args.head, acceptHash({ logId, epochTo: epoch, handoverHash, seq, head: log.head }));
        used.add(handoverHash);
        Object.assign(log, { epoch, head: args.head });
        break;
      }
      case 'HandoverCancelled':
        assert.ok(!used.has(args.handoverHash) && !dead.has(args.handoverHash));
        dead.add(args.handoverHash);
        break;
      case 'HandoverProposed':
        assert.ok(!used.has(args.handoverHash) && !dead.has(args.handoverHash));
        assert.equal(args.epochTo, log.epoch + 1);
        break;
    }
  }
  for (const [logId, { epoch, seq, period, treeSize, head }] of standings) {
    const { signer: _, ...state } = await net.state(logId);
    assert.deepEqual(state, { epoch, seq, period: Number(period), treeSize, head });
  }
}
