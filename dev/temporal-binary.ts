import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDirectory, withLock } from './cache.ts';
import { buildGo, inWorkDirectory, keepProgram, onPath, run, runGo, runs, type MakingOptions } from './programs.ts';

/** Built in a module of our own (dev/temporal-build), as this release needs a `replace` that `go install` ignores. */
const built = 'v1.9.1';
/** The newest release that `go install` takes as it is: for a Go that is older than the pinned module asks for. */
const installed = 'v1.5.1';
const commandPackage = 'github.com/temporalio/cli/cmd/temporal';

/** What the SDK's own download may take; where downloads are closed it usually fails at once. */
const downloadLimitMs = 180_000;

const what = 'the Temporal server';

/**
 * The Temporal CLI, which contains the development server. The first of: `temporal` on PATH; one made earlier; the SDK's
 * own download; a build with Go, which takes minutes. What is made lies in a cache that survives runs and checkouts, made
 * once also by concurrent runs.
 *
 * @throws when none works; the message names the ways. The signal's reason
 */
export async function temporalBinary(options: MakingOptions): Promise<string> {
  const found = onPath('temporal') ?? cached();
  if (found !== undefined) return found;
  const cache = cacheDirectory('temporal');
  const waiting = (pid: number): void => {
    options.signal?.throwIfAborted();
    options.onProgress(`waiting for process ${pid}, which is getting the Temporal server`);
  };
  return await withLock(cache, waiting, async () => cached() ?? (await make(cache, options)));
}

function cached(): string | undefined {
  const cache = cacheDirectory('temporal');
  return ['sdk', built, installed].map((version) => join(cache, version, 'temporal')).find((path) => runs(path));
}

async function make(cache: string, options: MakingOptions): Promise<string> {
  const problems: string[] = [];
  const made = await inWorkDirectory(cache, async (work) => {
    for (const [version, way] of [
      ['sdk', download],
      [built, build],
      [installed, install],
    ] as const) {
      try {
        const directory = join(work, version);
        mkdirSync(directory);
        return keepProgram(await way(directory, options), cache, version, 'temporal');
      } catch (error) {
        options.signal?.throwIfAborted();
        problems.push(`${way.name} (${version}): ${(error as Error).message}`);
      }
    }
    return undefined;
  });
  if (made !== undefined) return made;
  throw new Error(
    [
      'There is no Temporal server here. Any one of these provides it:',
      '  - set TEMPORAL_ADDRESS to a server that runs already;',
      '  - install the Temporal CLI (https://docs.temporal.io/cli) so that `temporal` is on PATH;',
      '  - install Go 1.26.8 or later (https://go.dev/dl) so that it can be built from its module.',
      'What was tried:',
      ...problems.map((problem) => `  ${problem.replaceAll('\n', '\n    ')}`),
    ].join('\n'),
  );
}

/** In a process of its own: only so can it be given up, and the SDK's runtime takes over its process's signals. */
async function download(directory: string, { onProgress, signal }: MakingOptions): Promise<string> {
  onProgress('downloading the Temporal server');
  const target = join(directory, 'download');
  mkdirSync(target);
  const entry = join(import.meta.dirname, 'temporal.js');
  const args = [entry, 'download', target];
  await run('the download', process.execPath, args, { directory, limitMs: downloadLimitMs, signal });
  const [file] = readdirSync(target);
  if (file === undefined) throw new Error('the SDK downloaded nothing');
  return join(target, file);
}

async function build(directory: string, options: MakingOptions): Promise<string> {
  return await buildGo({ what, module: 'dev/temporal-build', package: commandPackage }, directory, options);
}

async function install(directory: string, options: MakingOptions): Promise<string> {
  const args = ['install', '-v', '-ldflags=-s -w', `${commandPackage}@${installed}`];
  await runGo(what, args, { GOBIN: directory }, directory, options);
  return join(directory, 'temporal');
}
