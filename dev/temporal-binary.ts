import { spawnSync } from 'node:child_process';
import {
  accessSync,
  constants,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { unlessAborted } from './abort.ts';
import { cacheDirectory, withLock } from './cache.ts';
import { launch, type Exit } from './process.ts';
import { packageRoot } from './root.ts';

/** Built in a module of our own (dev/temporal-build), as this release needs a `replace` that `go install` ignores. */
const built = 'v1.9.1';
/** The newest release that `go install` takes as it is: for a Go that is older than the pinned module asks for. */
const installed = 'v1.5.1';
const commandPackage = 'github.com/temporalio/cli/cmd/temporal';

/** What the SDK's own download may take; where downloads are closed it usually fails at once. */
const downloadLimitMs = 180_000;
const buildLimitMs = 60 * 60_000;

export interface TemporalBinaryOptions {
  /** Told what is being done, whenever that changes. */
  onProgress: (doing: string) => void;
  /** Gives it up, with everything that was started for it. */
  signal?: AbortSignal | undefined;
}

/**
 * The Temporal CLI, which contains the development server. The first of: `temporal` on PATH; one made earlier; the SDK's
 * own download; a build with Go, which takes minutes. What is made lies in a cache that survives runs and checkouts, made
 * once also by concurrent runs.
 *
 * @throws when none works; the message names the ways. The signal's reason
 */
export async function temporalBinary(options: TemporalBinaryOptions): Promise<string> {
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

async function make(cache: string, options: TemporalBinaryOptions): Promise<string> {
  // We hold the lock: what lies there is of a run that was killed.
  for (const left of readdirSync(cache).filter((name) => name.startsWith('work-'))) {
    rmSync(join(cache, left), { recursive: true, force: true });
  }
  const work = mkdtempSync(join(cache, 'work-'));
  const problems: string[] = [];
  try {
    for (const [version, way] of [
      ['sdk', download],
      [built, build],
      [installed, install],
    ] as const) {
      try {
        const directory = join(work, version);
        mkdirSync(directory);
        const binary = await way(directory, options);
        if (!runs(binary)) throw new Error(`${binary} does not run`);
        const target = join(cache, version, 'temporal');
        mkdirSync(join(cache, version), { recursive: true });
        renameSync(binary, target);
        return target;
      } catch (error) {
        options.signal?.throwIfAborted();
        problems.push(`${way.name} (${version}): ${(error as Error).message}`);
      }
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
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
async function download(directory: string, { onProgress, signal }: TemporalBinaryOptions): Promise<string> {
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

async function build(directory: string, options: TemporalBinaryOptions): Promise<string> {
  for (const file of ['go.mod', 'go.sum'])
    copyFileSync(join(packageRoot, 'dev/temporal-build', file), join(directory, file));
  const target = join(directory, 'temporal');
  // -v names each package as it is compiled, which is the only sign of progress that Go gives.
  const args = ['build', '-mod=readonly', '-v', '-ldflags=-s -w', '-o', target, commandPackage];
  await runGo(args, { GOTOOLCHAIN: 'local' }, directory, options);
  return target;
}

async function install(directory: string, options: TemporalBinaryOptions): Promise<string> {
  await runGo(
    ['install', '-v', '-ldflags=-s -w', `${commandPackage}@${installed}`],
    { GOBIN: directory },
    directory,
    options,
  );
  return join(directory, 'temporal');
}

async function runGo(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  directory: string,
  { onProgress, signal }: TemporalBinaryOptions,
): Promise<void> {
  const go = onPath('go', 'version') ?? ['/usr/local/go/bin/go'].find((path) => runs(path, 'version'));
  if (go === undefined) throw new Error('Go is not installed');
  await run('the build', go, args, {
    directory,
    limitMs: buildLimitMs,
    signal,
    env: { ...goDirectories(), GOFLAGS: '-buildvcs=false', GOWORK: 'off', ...env },
    onLog: (log) => {
      const lines = log.split('\n');
      const compiled = lines.filter((line) => line !== '' && !line.startsWith('go: ')).length;
      const doing = 'building the Temporal server with Go, once; this takes minutes';
      onProgress(compiled > 0 ? `${doing}: ${compiled} packages compiled` : `${doing}: fetching its sources`);
    },
  });
}

/** Go keeps its caches under the home directory; a user without a writable one gets them beside ours. */
function goDirectories(): Record<string, string> {
  try {
    accessSync(homedir(), constants.W_OK);
    return {};
  } catch {
    const own = cacheDirectory('go');
    return { GOPATH: join(own, 'path'), GOCACHE: join(own, 'build'), GOENV: 'off' };
  }
}

interface RunOptions {
  directory: string;
  limitMs: number;
  signal: AbortSignal | undefined;
  env?: Record<string, string>;
  onLog?: (log: string) => void;
}

/** Runs a program to its end, with this process's environment and `env`. */
async function run(name: string, command: string, args: readonly string[], options: RunOptions): Promise<void> {
  const { directory, limitMs, signal, env = {}, onLog } = options;
  const logFile = join(directory, 'log');
  const running = await launch({ name, command, args, env: { ...definedEnv(), ...env }, cwd: directory, logFile });
  const deadline = performance.now() + limitMs;
  for (;;) {
    let exit: Exit | undefined;
    try {
      exit = await unlessAborted(signal, Promise.race([running.exited, delay(500, undefined)]));
    } catch (error) {
      await running.stop(1_000); // with all of its group: Go's compilers are children of its own
      throw error;
    }
    if (exit?.code === 0) return;
    if (exit) throw new Error(running.logTail());
    if (performance.now() > deadline) {
      await running.stop(1_000);
      throw new Error(`${name} was given up after ${limitMs / 1000} s`);
    }
    onLog?.(readFileSync(logFile, 'utf8'));
  }
}

function definedEnv(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}

function onPath(name: string, versionArg?: string): string | undefined {
  const directories = (process.env['PATH'] ?? '').split(delimiter).filter((directory) => directory !== '');
  return directories.map((directory) => join(directory, name)).find((path) => runs(path, versionArg));
}

/** Whether it is an executable file that says its version: a shim without its program, or a cut-off file, does not. */
function runs(path: string, versionArg = '--version'): boolean {
  try {
    if (!statSync(path).isFile()) return false;
  } catch {
    return false; // it is not there, or PATH names a directory that is closed to us
  }
  return spawnSync(path, [versionArg], { stdio: 'ignore', timeout: 20_000 }).status === 0;
}
