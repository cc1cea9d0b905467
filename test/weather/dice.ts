/** Chance that comes out the same for the same seed: whoever repeats a seed gets the same weather. */
import { createHash } from 'node:crypto';

/** A number in [0, 1) that seed and name decide: the same name always rolls the same. */
export function roll(seed: number, name: string): number {
  return createHash('sha256').update(`${seed}/${name}`).digest().readUIntBE(0, 6) / 2 ** 48;
}

export interface Dice {
  /** A number in [0, 1). */
  next(): number;
  /** A whole number from `least` to `most`, both included. */
  between(least: number, most: number): number;
  /** One of them; each is as likely. */
  pick<T>(from: readonly [T, ...T[]]): T;
}

/** A row of rolls, one after the other; `name` keeps two rows of one seed apart. */
export function dice(seed: number, name: string): Dice {
  let count = 0;
  const next = () => roll(seed, `${name}/${count++}`);
  return {
    next,
    between: (least, most) => least + Math.floor(next() * (most - least + 1)),
    pick: (from) => from[Math.floor(next() * from.length)] ?? from[0],
  };
}
