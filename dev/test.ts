/**
 * `npm test`: all test files, in two mocha processes side by side. Much of what a test does is wait (for a period's end, a
 * final block, a time-out), so two take little more than half as long as one. With arguments: one mocha, which gets them.
 */
import type { ChildProcess } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join, sep } from 'node:path';
import { EXIT_CODES, lastLine, runLanes, type Lane } from './lanes.ts';
import { packageRoot } from './root.ts';

const TESTS = join(packageRoot, 'dist/test');

/** These bring up whole stacks, of a dozen processes each: never two at once. The others share what they start. */
const STACKS = new Set(['main-job', 'walls', 'soak']);

function allLanes(): Lane[] {
  const files = readdirSync(TESTS, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.js'))
    .toSorted();
  return [
    { name: 'the tests with whole stacks', args: paths(files.filter(isOfStacks)) },
    { name: 'the other tests', args: paths(files.filter((file) => !isOfStacks(file))) },
  ];
}

const isOfStacks = (file: string): boolean => STACKS.has(file.split(sep, 1)[0]!);

const paths = (files: string[]): string[] => files.map((file) => join('dist/test', file));

async function main(args: readonly string[]): Promise<void> {
  const children: ChildProcess[] = [];
  let stopped: number | undefined;
  for (const [signal, code] of Object.entries(EXIT_CODES)) {
    process.on(signal, () => {
      stopped = code;
      for (const child of children) child.kill(signal as NodeJS.Signals); // each ends its parts first (test/fixtures.ts)
    });
  }
  const lanes = args.length > 0 ? [{ name: 'the tests', args }] : allLanes();
  const sum = await runLanes(
    lanes,
    (text) => stopped === undefined && process.stdout.write(text),
    (child) => children.push(child),
  );
  process.exitCode = stopped ?? (sum.failed > 0 || sum.passed === 0 ? 1 : 0);
  process.stdout.write(stopped === undefined ? `\n${lastLine(sum)}\n` : '\nStopped.\n');
}

await main(process.argv.slice(2));
