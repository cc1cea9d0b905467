/** Bad weather, spell by spell: what each RPC endpoint does wrong for a while, what the chain does, which worker is killed. */
import { parseGwei } from 'viem';
import type { Dice } from '../dice.ts';
import type { WalletPlane } from '../fleet/wallet.ts';
import type { ChainSwitches } from '../weather/chain.ts';
import {
  alreadyKnown,
  inventedReceipt,
  nonceTooLow,
  rateLimited,
  replacementUnderpriced,
  swallowedSend,
  type Rule,
} from '../weather/faults.ts';
import type { Weather } from '../weather/proxy.ts';

export interface Storm {
  /** One moment of weather: at most one block, one reorganisation, one kill, and a change of the wind. */
  tick(): Promise<void>;
  /** Everything is well from now on. */
  calm(): Promise<void>;
  /** What has happened so far, by name. */
  happened(): Readonly<Record<string, number>>;
}

/** Blocks that a reorganisation may take back: fewer than lie between the newest and the finalized one. */
const DEEPEST_REORG = 5;
/** anvil with three slots in an epoch finalizes six blocks behind the newest. */
export const SLOTS_IN_AN_EPOCH = 3;

/** What can be wrong with an endpoint for a spell. Chances are per call, and a step of the wallet takes some dozens of calls. */
const ILLS: Readonly<Record<string, (dice: Dice) => Rule[]>> = {
  slow: (dice) => [{ probability: 0.3, fault: { do: 'delay', ms: dice.between(50, 1_000) } }],
  late: (dice) => [{ probability: 0.2, fault: { do: 'late', ms: dice.between(50, 2_000) } }],
  'late sends': () => [{ methods: ['eth_sendRawTransaction'], fault: { do: 'late', ms: 6_000 } }],
  'closed before': () => [{ probability: 0.1, fault: { do: 'drop', when: 'before' } }],
  'closed after': () => [{ probability: 0.1, fault: { do: 'drop', when: 'after' } }],
  away: () => [{ fault: { do: 'drop', when: 'before' } }],
  'rate limit': () => [{ ...rateLimited, probability: 0.2 }],
  'already known': () => [alreadyKnown],
  'nonce too low': () => [nonceTooLow],
  underpriced: () => [replacementUnderpriced],
  swallows: () => [swallowedSend],
  invents: () => [swallowedSend, inventedReceipt],
  behind: (dice) => [{ probability: 0.5, fault: { do: 'lag', blocks: dice.between(1, 4) } }],
  'stands still': (dice) => [{ fault: { do: 'lag', blocks: dice.between(3, 12) } }],
  'other blocks': () => [{ fault: { do: 'contradict', about: 'blocks' } }],
  'other state': () => [{ fault: { do: 'contradict', about: 'state' } }],
};

export function createStorm(
  dice: Dice,
  endpoints: readonly Weather[],
  chain: ChainSwitches,
  plane: WalletPlane,
  workers: number,
): Storm {
  const happened: Record<string, number> = {};
  const note = (what: string) => (happened[what] = (happened[what] ?? 0) + 1);
  const reviving = new Set<Promise<void>>();
  /** Ticks that the present state of the sky, of the chain and of the workers still lasts. */
  let spell = 0;
  let halted = 0;
  let unharmed = 20;

  function changeWeather(): void {
    spell = dice.between(4, 12);
    for (const endpoint of endpoints) {
      const ill = dice.chance(0.6) ? undefined : dice.pick(Object.keys(ILLS));
      endpoint.set(...(ILLS[ill ?? '']?.(dice) ?? []));
      note(ill ?? 'fair');
    }
  }

  async function makeBlocks(): Promise<void> {
    if (halted > 0) {
      halted--;
      return;
    }
    if (dice.chance(0.03)) {
      halted = dice.between(4, 14);
      note('halt');
    } else if (dice.chance(0.06)) {
      await chain.reorg(dice.between(1, DEEPEST_REORG));
      note('reorg');
    } else if (dice.chance(0.08)) {
      await chain.drop();
      note('pool dropped');
    } else if (dice.chance(0.04)) {
      await chain.baseFee(parseGwei(String(dice.between(2, 60))));
      await chain.mine();
      note('fee spike');
    } else {
      await chain.mine();
    }
  }

  async function bringBack(worker: number): Promise<void> {
    const failed = await plane.revive(worker);
    for (let start = 0; start < failed; start++) note('failed start');
  }

  async function harm(): Promise<void> {
    if (--unharmed > 0) return;
    unharmed = dice.between(20, 50);
    const worker = dice.between(0, workers - 1);
    if (!(await plane.kill(worker))) return;
    note('kill');
    const revived = bringBack(worker).finally(() => reviving.delete(revived));
    reviving.add(revived);
  }

  return {
    async tick() {
      if (--spell <= 0) changeWeather();
      await makeBlocks();
      await harm();
    },
    async calm() {
      for (const endpoint of endpoints) endpoint.set();
      halted = 0;
      await Promise.all(reviving);
    },
    happened: () => happened,
  };
}
