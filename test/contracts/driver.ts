/** Drives a registry and its model through the same random actions and compares what each says. */
import assert from 'node:assert/strict';
import type { Hex, LocalAccount } from 'viem';
import { zeroHash } from 'viem';
import { key, type Devnet } from './devnet.ts';
import { RegistryModel, type Item, type LogModel } from './model.ts';
import {
  handoverHash,
  hashOf,
  logIdOf,
  signAccept,
  signCancel,
  signHandover,
  signSeal,
  zero,
  type Handover,
  type Seal,
  type SealInput,
} from './statements.ts';

/** A period is a little longer than the driver takes to seal every log once: they catch up, and then come too early. */
export const lengths = { periodSeconds: 360, coolingOffSeconds: 240 };
const P = lengths.periodSeconds;
const logCount = 5;
const accounts = Array.from({ length: 5 }, (_, index) => key(301 + index));

/** Whose address it is. */
function holder(address: Hex): LocalAccount {
  return accounts.find((account) => account.address === address) ?? assert.fail(`nobody's address: ${address}`);
}

/** How often each outcome and error was seen, for the test to show that nothing was left out. */
export type Tally = Map<string, number>;

/** Random numbers from 0 (included) to 1, the same for the same seed (mulberry32). */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * Takes `steps` random transactions: seals good and bad, alone and in batches, repeats, forks, replays on another log,
 * proposals, cancellations and acceptances by the right and the wrong, in and out of time.
 *
 * @throws AssertionError at the first step at which the registry and the model differ
 */
export async function drive(net: Devnet, seed: number, steps: number): Promise<Tally> {
  const random = randomFrom(seed);
  const below = (limit: number): number => Math.floor(random() * limit);
  const chance = (probability: number): boolean => random() < probability;
  const pick = <T>(from: readonly T[]): T => from[below(from.length)] ?? assert.fail('nothing to pick from');
  const model = new RegistryModel(lengths);
  const tally: Tally = new Map();
  const logIds: Hex[] = [];
  let now = await net.now();
  for (let index = 0; index < logCount; index += 1) {
    const originHash = hashOf(`kiff.dev/t/model${index}`);
    const { address } = accounts[index] ?? assert.fail();
    logIds.push(logIdOf(address, originHash));
    await net.register(address, originHash);
    model.register(logIds[index] ?? assert.fail(), address);
  }
  now = await net.now();
  const genesisPeriod = (Math.floor(now / P) - 5) * P;
  const standing = (logId: Hex): LogModel => model.logs.get(logId) ?? assert.fail();
  const pastItems: { item: Item; input: SealInput }[] = [];
  const handovers: { handover: Handover; hash: Hex }[] = [];

  /** The next seal of a log. */
  function next(logId: Hex): Seal {
    const { seq, period, treeSize, head } = standing(logId);
    const root = hashOf(`${logId} ${random()}`);
    const start = seq === 0 ? genesisPeriod : period + P;
    return { logId, seq: seq + 1, period: start, treeSize: treeSize + below(5), root, prev: head };
  }

  /** Ways to spoil a seal before it is signed. */
  const spoil: ((seal: Seal) => Seal)[] = [
    (seal) => ({ ...seal, seq: seal.seq + 1 + below(3) }),
    (seal) => ({ ...seal, seq: Math.max(0, seal.seq - 1 - below(3)) }),
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
    const signer = chance(0.08) ? pick(accounts) : holder(standing(right.logId).signer);
    const { prev: _, ...claimed } = seal;
    const item: Item = { claimed, signed: { by: signer.address, statement: seal } };
    let input = await signSeal(net.domain, signer, seal);
    if (chance(0.08)) {
      // Signed for one thing, sent as another.
      const change = pick([{ root: hashOf('another root') }, { treeSize: seal.treeSize + 1 }, { logId: pick(logIds) }]);
      Object.assign(claimed, change);
      input = { ...input, ...change };
    }
    pastItems.push({ item, input });
    return { item, input };
  }

  async function anchor(): Promise<void> {
    const size = chance(0.6) ? 1 : 1 + below(6);
    const batch = [];
    for (let index = 0; index < size; index += 1) batch.push(await makeItem());
    const expected = batch.map(({ item }) => model.anchor(now, item));
    const { outcomes } = await net.anchor(...batch.map(({ input }) => input));
    assert.deepEqual(outcomes, expected);
    for (const outcome of outcomes) count(outcome);
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
      nonce: hashOf(`nonce ${random()}`),
    };
    handovers.push({ handover, hash: handoverHash(handover) });
    return handover;
  }

  async function propose(): Promise<void> {
    const handover = makeHandover();
    const statement = chance(0.05) ? { ...handover, nonce: zero } : handover;
    const from = chance(0.05) ? pick(accounts) : holder(handover.from);
    const to = chance(0.05) ? pick(accounts) : holder(handover.to);
    const expected = model.propose(now, handover, { by: from.address, statement }, { by: to.address, statement });
    const signatures = [
      await signHandover(net.domain, from, statement),
      await signHandover(net.domain, to, statement),
    ] as const;
    compare('propose', await net.handover('proposeHandover', handover, ...signatures), expected);
  }

  /** One that waits, if there is one; mostly. */
  function waiting(): Handover {
    const hashes = new Set(logIds.map((logId) => standing(logId).pending?.hash));
    const found = handovers.filter(({ hash }) => hashes.has(hash));
    return found.length > 0 && chance(0.85) ? pick(found).handover : makeHandover();
  }

  async function cancel(): Promise<void> {
    const handover = waiting();
    const { logId, epochTo } = handover;
    const hash = chance(0.05) ? zero : handoverHash(handover);
    const statement = { logId, epochTo, handoverHash: hash };
    const by = chance(0.15) ? pick(accounts) : holder(pick([handover.from, handover.to]));
    const expected = model.cancel(handover, { by: by.address, statement });
    const signature = await signCancel(net.domain, by, statement);
    compare('cancel', await net.handover('cancelHandover', handover, signature), expected);
  }

  async function accept(): Promise<void> {
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
    const by = chance(0.05) ? pick(accounts) : holder(handover.to);
    const expected = model.accept(now, handover, { by: by.address, statement });
    const signature = await signAccept(net.domain, by, statement);
    compare('accept', await net.handover('acceptHandover', handover, signature), expected);
  }

  function compare(step: string, actual: string | null, expected: string | null): void {
    assert.equal(actual, expected);
    count(`${step}: ${(actual ?? 'done').replace(/\(.*/, '')}`);
  }

  function count(what: string): void {
    tally.set(what, (tally.get(what) ?? 0) + 1);
  }

  for (let step = 0; step < steps; step += 1) {
    // Mostly close together, sometimes as long as a cooling-off: so that things become due, and run out.
    now += chance(0.05) ? below(500) : 1 + below(30);
    await net.at(now);
    const action = random();
    if (action < 0.6) await anchor();
    else if (action < 0.74) await propose();
    else if (action < 0.79) await cancel();
    else await accept();

    const logId = logIds[step % logCount] ?? assert.fail();
    const { pending, ...state } = standing(logId);
    assert.deepEqual(await net.state(logId), { ...state, signer: state.signer.toLowerCase() });
    assert.deepEqual(await net.pending(logId), pending ?? { hash: zeroHash, eta: 0, expiresAt: 0 });
  }
  return tally;
}
