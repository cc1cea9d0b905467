// Past 10 KB: one step of every kind, drawn from one row of dice.
/** Drives a registry and its model through the same random steps and compares what each says, and the log after each. */
import assert from 'node:assert/strict';
import { encodeFunctionData, zeroAddress, zeroHash, type Hex, type LocalAccount } from 'viem';
import { registryAbi } from '../../contracts/registry.ts';
import { dice } from '../dice.ts';
import { anchorData, type Devnet } from './devnet.ts';
import { RegistryModel, type Item, type LogModel } from './model.ts';

import { deployRunner, type Call, type Told } from './runner.ts';
import {
  handoverHash,
  hashOf,
  logIdOf,
  signAccept,
  signCancel,
  signHandover,
  signSeal,
  zero,
  type Domain,
  type Handover,
  type Seal,
  type SealInput,
} from './statements.ts';

/** A period is a little longer than the driver takes to seal every log once: they catch up, and then come too early. */
export const lengths = { periodSeconds: 360, coolingOffSeconds: 240 };
const P = lengths.periodSeconds;

/** Most steps in one block. */
const mostInABlock = 24;

/** Whoever signs for another chain or contract signs for nobody here. */
const nobody: Hex = `0x${'ee'.repeat(20)}`;

/** How often each outcome and error was seen, for the test to show that nothing was left out. */
export type Tally = Map<string, number>;

/** A call, whose log to look at after it, and what the model makes of it now. */
interface Step extends Call {
  name: 'anchor' | 'propose' | 'cancel' | 'accept';
  judge: () => Told['said'];
}

/**
 * Takes at least `steps` random steps: seals good and bad, alone and in batches, repeats, forks, replays on another log and
 * from another chain, proposals, cancellations and acceptances by the right and the wrong, in and out of time, and any of
 * these once more, byte for byte. An item of a batch is a step.
 *
 * @param accounts who signs, each the first signer of one log; an `address` may be a contract's that takes the key's word
 * @throws AssertionError at the first block in which the registry and the model differ
 */
export async function drive(
  net: Devnet,
  accounts: readonly LocalAccount[],
  seed: number,
  steps: number,
): Promise<Tally> {
  const { below, chance, pick } = dice(seed, 'registry');
  const model = new RegistryModel(lengths);
  const run = await deployRunner(net);
  const tally: Tally = new Map();
  const logIds: Hex[] = [];
  for (const [index, { address }] of accounts.entries()) {
    const originHash = hashOf(`kiff.dev/t/model${index}`);
    const logId = logIdOf(address, originHash);
    logIds.push(logId);
    await net.register(address, originHash);
    model.register(logId, address);
  }
  let now = await net.now();
  const genesisPeriod = (Math.floor(now / P) - 5) * P;
  const standing = (logId: Hex): LogModel => model.logs.get(logId) ?? assert.fail();
  const pastItems: { item: Item; input: SealInput }[] = [];
  const pastSteps: Step[] = [];
  const handovers: { handover: Handover; hash: Hex }[] = [];

  /** Whose address it is. */
  const holder = (address: Hex): LocalAccount =>
    accounts.find((account) => account.address === address) ?? assert.fail(`nobody's address: ${address}`);

  /** Where a statement is signed for, and who counts as its signer here. */
  function signing(account: LocalAccount): { account: LocalAccount; domain: Domain; by: Hex } {
    if (!chance(0.03)) return { account, domain: net.domain, by: account.address };
    const elsewhere = pick([{ chainId: 8453 }, { contract: nobody }]);
    return { account, domain: { ...net.domain, ...elsewhere }, by: nobody };
  }

  /** The next seal of a log. */
  function next(logId: Hex): Seal {
    const { seq, period, treeSize, head } = standing(logId);
    const root = hashOf(`${logId} ${below(1e9)}`);
    const start = seq === 0 ? genesisPeriod : period + P;
    return { logId, seq: seq + 1, period: start, treeSize: treeSize + below(5), root, prev: head };
  }

  /** Ways to spoil a seal before it is signed. */
  const spoil: ((seal: Seal) => Seal)[] = [
    (seal) => ({ ...seal, seq: seal.seq + 1 + below(3) }),
    (seal) => ({ ...seal, seq: Math.max(0, seal.seq - 1 - below(3)) }), // a fork, of a seal that stands
    (seal) => ({ ...seal, period: seal.period + P * (1 + below(3)) }),
    (seal) => ({ ...seal, period: seal.period - P }),
    (seal) => ({ ...seal, period: seal.period + 1 + below(P - 1) }),
    (seal) => ({ ...seal, treeSize: Math.max(0, seal.treeSize - 5) }),
    (seal) => ({ ...seal, prev: pick([zero, hashOf('another head')]) }),
    (seal) => ({ ...seal, logId: chance(0.5) ? hashOf('no log') : pick(logIds) }),
  ];

  /** An item, right or wrong in one way, or one that was sent before. */
  async function makeItem(): Promise<{ item: Item; input: SealInput }> {
    if (pastItems.length > 0 && chance(0.12)) return pick(pastItems);
    const right = next(pick(logIds));
    const seal = chance(0.3) ? pick(spoil)(right) : right;
    const { account, domain, by } = signing(chance(0.08) ? pick(accounts) : holder(standing(right.logId).signer));
    const { prev: _, ...claimed } = seal;
    const item: Item = { claimed, signed: { by, statement: seal } };
    let input = await signSeal(domain, account, seal);
    if (chance(0.08)) {
      // Signed for one thing, sent as another.
      const change = pick([{ root: hashOf('another root') }, { treeSize: seal.treeSize + 1 }, { logId: pick(logIds) }]);
      Object.assign(claimed, change);
      input = { ...input, ...change };
    }
    pastItems.push({ item, input });
    return { item, input };
  }

  async function anchor(): Promise<Step> {
    const size = chance(0.6) ? 1 : 1 + below(6);
    const batch = [await makeItem()];
    while (batch.length < size) batch.push(await makeItem());
    return {
      name: 'anchor',
      data: anchorData(batch.map(({ input }) => input)),
      logId: pick(batch).input.logId,
      judge: () => batch.map(({ item }) => model.anchor(now, item)),
    };
  }

  function makeHandover(): Handover {
    if (handovers.length > 0 && chance(0.4)) return pick(handovers.slice(-12)).handover;
    const logId = pick(logIds);
    const { epoch, signer } = standing(logId);
    const soon = now + lengths.coolingOffSeconds;
    const handover: Handover = {
      logId: chance(0.03) ? hashOf('no log') : logId,
      epochTo: chance(0.05) ? epoch + below(4) : epoch + 1,
      from: chance(0.05) ? pick(accounts).address : signer,
      to: pick(accounts).address,
      custody: 1 + below(3),
      notBefore: chance(0.3) ? BigInt(soon + below(200)) : 0n,
      expiresAt: BigInt(chance(0.1) ? soon - below(50) : soon + 1 + below(600)),
      nonce: hashOf(`nonce ${below(1e9)}`),
    };
    handovers.push({ handover, hash: handoverHash(handover) });
    return handover;
  }

  async function propose(): Promise<Step> {
    const handover = makeHandover();
    const statement = chance(0.05) ? { ...handover, nonce: zero } : handover;
    const from = signing(chance(0.05) ? pick(accounts) : holder(handover.from));
    const to = signing(chance(0.05) ? pick(accounts) : holder(handover.to));
    const signatures = [
      await signHandover(from.domain, from.account, statement),
      await signHandover(to.domain, to.account, statement),
    ] as const;
    return {
      name: 'propose',
      data: encodeFunctionData({ abi: registryAbi, functionName: 'proposeHandover', args: [handover, ...signatures] }),
      logId: handover.logId,
      judge: () => model.propose(now, handover, { by: from.by, statement }, { by: to.by, statement }),
    };
  }

  /** One that waits, if there is one; mostly. */
  function waiting(): Handover {
    const hashes = new Set(logIds.map((logId) => standing(logId).pending?.hash));
    const found = handovers.filter(({ hash }) => hashes.has(hash));
    return found.length > 0 && chance(0.85) ? pick(found).handover : makeHandover();
  }

  async function cancel(): Promise<Step> {
    const handover = waiting();
    const { logId, epochTo } = handover;
    const hash = chance(0.05) ? zero : handoverHash(handover);
    const statement = { logId, epochTo, handoverHash: hash };
    const { account, domain, by } = signing(chance(0.15) ? pick(accounts) : holder(pick([handover.from, handover.to])));
    const signature = await signCancel(domain, account, statement);
    return {
      name: 'cancel',
      data: encodeFunctionData({ abi: registryAbi, functionName: 'cancelHandover', args: [handover, signature] }),
      logId,
      judge: () => model.cancel(handover, { by, statement }),
    };
  }

  async function accept(): Promise<Step> {
    const handover = waiting();
    const { logId, epochTo } = handover;
    const { seq, head } = model.logs.get(logId) ?? { seq: 0, head: zero };
    const statement = {
      logId,
      epochTo,
      handoverHash: handoverHash(handover),
      seq: chance(0.04) ? seq + 1 : seq,
      head: chance(0.04) ? zero : head,
    };
    const { account, domain, by } = signing(chance(0.05) ? pick(accounts) : holder(handover.to));
    const signature = await signAccept(domain, account, statement);
    return {
      name: 'accept',
      data: encodeFunctionData({ abi: registryAbi, functionName: 'acceptHandover', args: [handover, signature] }),
      logId,
      judge: () => model.accept(now, handover, { by, statement }),
    };
  }

  async function makeStep(): Promise<Step> {
    if (pastSteps.length > 0 && chance(0.08)) {
      const again = chance(0.5) ? pick(pastSteps) : pick(pastSteps.slice(-10));
      count(`again: ${again.name}`);
      return again;
    }
    const action = below(100);
    if (action < 58) return anchor();
    if (action < 72) return propose();
    return action < 77 ? cancel() : accept();
  }

  function count(what: string): void {
    tally.set(what, (tally.get(what) ?? 0) + 1);
  }

  /** What the model says of a log, in the words of the contract's views. */
  function shown(logId: Hex): Pick<Told, 'state' | 'pending'> {
    const log = model.logs.get(logId);
    const none = { hash: zeroHash, eta: 0, expiresAt: 0 };
    if (log === undefined) {
      const state = { signer: zeroAddress, epoch: 0, seq: 0, period: 0, treeSize: 0, head: zeroHash };
      return { state, pending: none };
    }
    const { pending, ...state } = log;
    return { state: { ...state, signer: state.signer.toLowerCase() as Hex }, pending: pending ?? none };
  }

  for (let taken = 0; taken < steps;) {
    const made: Step[] = [];
    const expected: Told[] = [];
    const size = 1 + below(mostInABlock);
    // Mostly close together, sometimes as long as a cooling-off: so that things become due, and run out.
    for (let index = 0; index < size; index += 1) now += chance(0.05) ? below(500) : 1 + below(30);
    while (made.length < size) {
      const step = await makeStep();
      const said = step.judge();
      made.push(step);
      expected.push({ said, ...shown(step.logId) });
      if (!Array.isArray(said)) count(`${step.name}: ${(said ?? 'done').replace(/\(.*/, '')}`);
      for (const outcome of Array.isArray(said) ? said : []) count(outcome);
      taken += Array.isArray(said) ? said.length : 1;
    }
    await net.at(now);
    const told = await run(made);
    assert.deepEqual(told, expected, `after ${taken} steps`);
    pastSteps.push(...made);
  }
  return tally;
}
