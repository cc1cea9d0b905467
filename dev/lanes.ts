/** Several mochas at once, with the output of one. */
import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { packageRoot } from './root.ts';

const MOCHA = join(packageRoot, 'node_modules/mocha/bin/mocha.js');

/** What a run ends with that a signal has stopped. */
export const EXIT_CODES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

interface Sum {
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
  write: (text: string) => unknown,
  started: (child: ChildProcess) => void = () => undefined,
): Promise<Sum> {
  const sums = await Promise.all(lanes.map((lane) => runLane(lane, write, started)));
  return {
    passed: sums.reduce((sum, { passed }) => sum + passed, 0),
    failed: sums.reduce((sum, { failed }) => sum + failed, 0),
    skipped: sums.reduce((sum, { skipped }) => sum + skipped, 0),
  };
}

/** The last line of a run, and of each lane (test/reporter.ts). */
export const lastLine = ({ passed, failed, skipped }: Sum): string =>
  `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;

async function runLane(
  { name, args }: Lane,
  write: (text: string) => unknown,
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
