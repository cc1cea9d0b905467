/**
 * `npm test`: all test files, in two mocha processes side by side. Much of what a test does is wait (for a period's end, a
 * final block, a time-out), so two take little more than half as long as one. With arguments: one mocha, which gets them.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { packageRoot } from './root.ts';

const MOCHA = join(packageRoot, 'node_modules/mocha/bin/mocha.js');
const TESTS = join(packageRoot, 'dist/test');

/** These bring up whole stacks, of a dozen processes each: never two at once. The others share what they start. */
const STACKS = new Set(['main-job', 'walls', 'soak']);

export interface Sum {
  passed: number;
  failed: number;
  skipped: number;
}

export interface Lane {
  /** What a failure calls it. */
  name: string;
  args: readonly string[];
}

/**
 * Runs mocha once for each lane, all at once, and writes what they say: whole suites, so that lines do not mix. A lane that
 * ends without its last line counts as one failure.
 * @returns the sum of what the lanes count
 */
export async function runLanes(
  lanes: readonly Lane[],
  write: (text: string) => void,
  started: (child: ChildProcess) => void = () => undefined,
): Promise<Sum> {
  const sums = await Promise.all(lanes.map((lane) => runLane(lane, write, started)));
  return {
    passed: sums.reduce((sum, { passed }) => sum + passed, 0),
    failed: sums.reduce((sum, { failed }) => sum + failed, 0),
    skipped: sums.reduce((sum, { skipped }) => sum + skipped, 0),
  };
}

/** As the reporter writes it (test/reporter.ts). */
export const lastLine = ({ passed, failed, skipped }: Sum): string =>
  `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;

async function runLane(
  { name, args }: Lane,
  write: (text: string) => void,
  started: (child: ChildProcess) => void,
): Promise<Sum> {
  const child = spawn(process.execPath, ['--enable-source-maps', MOCHA, ...args], {
    cwd: packageRoot,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  started(child);
  let sum: Sum | undefined;
  let suite: string[] = [];
  const flush = () => {
    if (suite.length > 0) write(`${suite.join('\n')}\n`);
    suite = [];
  };
  const take = (line: string) => {
    const counted = /^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$/.exec(line);
    if (counted !== null) {
      sum = { passed: Number(counted[1]), failed: Number(counted[2]), skipped: Number(counted[3] ?? 0) };
      return;
    }
    if (/^ {2}\S/.test(line)) flush(); // a suite of the first level, or the count at the end
    suite.push(line);
  };
  const ended = new Promise<string>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve(signal ?? `exit code ${code}`));
  });
  for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream }).on('line', take);
  const ending = await ended;
  flush();
  if (sum !== undefined) return sum;
  write(`\n${name}: ended with ${ending} before it had counted its tests\n`);
  return { passed: 0, failed: 1, skipped: 0 };
}

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
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const) {
    process.on(signal, () => {
      stopped = code;
      for (const child of children) child.kill(signal); // each ends its parts first (test/fixtures.ts)
    });
  }
  const lanes = args.length > 0 ? [{ name: 'the tests', args }] : allLanes();
  const sum = await runLanes(
    lanes,
    (text) => process.stdout.write(text),
    (child) => children.push(child),
  );
  process.stdout.write(`\n${lastLine(sum)}\n`);
  process.exitCode = stopped ?? (sum.failed > 0 || sum.passed === 0 ? 1 : 0);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(process.argv.slice(2));
