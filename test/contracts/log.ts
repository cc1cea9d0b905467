import assert from 'node:assert/strict';
import type { Hex, LocalAccount } from 'viem';
import type { Devnet } from './devnet.ts';
import { hashOf, logIdOf, sealHash, signSeal, zero, type Seal, type SealInput } from './statements.ts';

export type TestLog = Awaited<ReturnType<typeof openLog>>;

/** Logs by devnet: the same test gets the same ids, whatever ran before it. */
const opened = new WeakMap<Devnet, number>();

/**
 * Registers a log and keeps its standing, as its signer would. Its first period is 200 periods ago, so that as many
 * seals can follow without waiting.
 *
 * @param signer whose key signs
 * @param genesisSigner the log's first signer when that is a contract
 */
export async function openLog(net: Devnet, signer: LocalAccount, genesisSigner?: Hex) {
  const number = (opened.get(net) ?? 0) + 1;
  opened.set(net, number);
  const origin = `kiff.dev/t/test${number}`;
  const first = genesisSigner ?? (signer.address.toLowerCase() as Hex);
  const originHash = hashOf(origin);
  const logId = logIdOf(first, originHash);
  await net.register(first, originHash);
  const { periodSeconds } = net.registry;
  const firstPeriod = (Math.floor((await net.now()) / periodSeconds) - 200) * periodSeconds;
  const standing = { signer, epoch: 0, seq: 0, period: firstPeriod - periodSeconds, treeSize: 0, head: zero };

  return {
    logId,
    genesisSigner: first,
    originHash,
    standing,

    /** The seal that comes next, or a variation of it. */
    next(change: Partial<Seal> = {}): Seal {
      const { seq, period, treeSize, head } = standing;
      const root = hashOf(`${origin} ${seq + 1}`);
      return {
        logId,
        seq: seq + 1,
        period: period + periodSeconds,
        treeSize: treeSize + 3,
        root,
        prev: head,
        ...change,
      };
    },

    /** Signed by the current signer unless by somebody else. */
    async sign(seal: Seal, by: LocalAccount = standing.signer): Promise<SealInput> {
      return await signSeal(net.domain, by, seal);
    },

    /** Takes a seal for anchored. */
    advance(seal: Seal): void {
      Object.assign(standing, { seq: seal.seq, period: seal.period, treeSize: seal.treeSize, head: sealHash(seal) });
    },

    /** Anchors the next seal, which must succeed. */
    async seal(change: Partial<Seal> = {}): Promise<SealInput> {
      const seal = this.next(change);
      const item = await this.sign(seal);
      assert.deepEqual((await net.anchor(item)).outcomes, ['Sealed']);
      this.advance(seal);
      return item;
    },

    /** What the contract says of the log is what a signer expects. */
    async assertStanding(expected: { signer?: Hex } = {}): Promise<void> {
      const { signer: current, epoch, seq, treeSize, head } = standing;
      const period = seq === 0 ? 0 : standing.period;
      const address = expected.signer ?? (current.address.toLowerCase() as Hex);
      assert.deepEqual(await net.state(logId), { signer: address, epoch, seq, period, treeSize, head });
    },
  };
}
