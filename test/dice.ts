/** Chance that comes out the same for the same seed: whoever repeats a seed gets the same run. */
import { createHash } from 'node:crypto';

/** A number in [0, 1) that seed and name decide: the same name always rolls the same. */
export function roll(seed: number, name: string): number {
  return createHash('sha256').update(`${seed}/${name}`).digest().readUIntBE(0, 6) / 2 ** 48;
}

export interface Dice {
  /** A whole number from 0 to `limit` - 1. */
  below: (limit: number) => number;
  /** A whole number from `least` to `most`, both included. */
  between: (least: number, most: number) => number;
  chance: (probability: number) => boolean;
  /** One of them; each is as likely. @throws RangeError when there is none */
  pick: <T>(from: readonly T[]) => T;
}

/** A row of rolls, one after the other; `name` keeps two rows of one seed apart. */
export function dice(seed: number, name: string): Dice {
  let count = 0;
  const next = () => roll(seed, `${name}/${count++}`);
  const below = (limit: number) => Math.floor(next() * limit);
  return {
    below,
    between: (least, most) => least + below(most - least + 1),
    chance: (probability) => next() < probability,
    pick<T>(from: readonly T[]): T {
      if (from.length === 0) throw new RangeError('nothing to pick from');
      return from[below(from.length)] as T;
    },
  };
}
