/**
 * `npm run soak`: the soak test for as long and as large as one likes.
 *
 *     npm run soak -- --seconds 600 --logs 200 --seals 20000 --seed 7
 *
 * Prints what happened, and as its last line JSON `{seals, lost, double, outOfOrder, kills}`. Exit code 1 if a seal was
 * lost, doubled, out of order, or is not final in the end. `--keep` leaves the processes' logs behind.
 */
import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { stopParts } from '../parts.ts';
import { soak } from './soak.ts';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '120' },
    logs: { type: 'string', default: '50' },
    seals: { type: 'string', default: '2000' },
    seed: { type: 'string', default: String(randomInt(2 ** 31)) },
    patience: { type: 'string', default: '300' },
    keep: { type: 'boolean', default: false },
  },
});
const number = (name: Exclude<keyof typeof values, 'keep'>): number => {
  const value = Number(values[name]);
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${name} must be a whole number above zero`);
  return value;
};

// As the tests do it: a Ctrl-C ends the parts first.
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  process.on(signal, () => void stopParts().finally(() => process.exit(code)));
}

try {
  const seed = number('seed');
  console.log(`seed ${seed}`);
  const { happened, mined, signed, misplaced, ...tally } = await soak({
    seed,
    logs: number('logs'),
    seals: number('seals'),
    stormSeconds: number('seconds'),
    patienceSeconds: number('patience'),
    keep: values.keep,
    say: (line) => console.log(line),
  });
  console.log(
    Object.entries(happened)
      .toSorted(([, a], [, b]) => b - a)
      .map(([what, times]) => `${what} ${times}`)
      .join(', '),
  );
  console.log(
    `${mined} transactions mined, ${signed} signed for them; ${misplaced} seals are not final where they stand`,
  );
  const { seals, lost, double, outOfOrder, kills } = tally;
  console.log(JSON.stringify({ seals, lost, double, outOfOrder, kills }));
  if (lost + double + outOfOrder + misplaced > 0) process.exitCode = 1;
} finally {
  await stopParts();
}
