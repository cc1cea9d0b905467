/** Programs that are not npm's: whether one runs here, running one to its end, and building one with Go from its pinned module. */
import { spawnSync } from 'node:child_process';
import {
  accessSync,
  constants,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { unlessAborted } from './abort.ts';
import { cacheDirectory } from './cache.ts';
import { launch, type Exit } from './process.ts';
import { packageRoot } from './root.ts';

const buildLimitMs = 60 * 60_000;

export interface MakingOptions {
  /** Told what is being done, whenever that changes. */
  onProgress: (doing: string) => void;
  /** Gives it up, with everything that was started for it. */
  signal?: AbortSignal | undefined;
}

/** A Go program and what it is called in lines of progress. */
export interface GoProgram {
  what: string;
  /** The folder with the module of our own that pins it. */
  module: string;
  package: string;
}

/** Builds a program from the versions and checksums of a module of ours. @returns its path in `directory` */
export async function buildGo(program: GoProgram, directory: string, options: MakingOptions): Promise<string> {
  for (const file of ['go.mod', 'go.sum']) {
    copyFileSync(join(packageRoot, program.module, file), join(directory, file));
  }
  const target = join(directory, 'program');
  // -v names each package as it is compiled, which is the only sign of progress that Go gives.
  const args = ['build', '-mod=readonly', '-v', '-ldflags=-s -w', '-o', target, program.package];
  await runGo(program.what, args, { GOTOOLCHAIN: 'local' }, directory, options);
  return target;
}

/** A directory to make something in, below a cache that the caller has locked; what runs before it left there goes. */
export async function inWorkDirectory<T>(cache: string, work: (directory: string) => Promise<T>): Promise<T> {
  for (const left of readdirSync(cache).filter((name) => name.startsWith('work-'))) {
    rmSync(join(cache, left), { recursive: true, force: true });
  }
  const directory = mkdtempSync(join(cache, 'work-'));
  try {
    return await work(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Puts a program that was made to its place in the cache, at once and whole. @throws when it does not run */
export function keepProgram(binary: string, cache: string, version: string, name: string, versionArg?: string): string {
  if (!runs(binary, versionArg)) throw new Error(`${binary} does not run`);
  const target = join(cache, version, name);
  mkdirSync(join(cache, version), { recursive: true });
  renameSync(binary, target);
  return target;
}

/** @throws when Go is not here, or says no */
export async function runGo(
  what: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  directory: string,
  { onProgress, signal }: MakingOptions,
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
      const doing = `building ${what} with Go, once`;
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
export async function run(name: string, command: string, args: readonly string[], options: RunOptions): Promise<void> {
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

/** The first of that name on PATH that runs. */
export function onPath(name: string, versionArg?: string): string | undefined {
  const directories = (process.env['PATH'] ?? '').split(delimiter).filter((directory) => directory !== '');
  return directories.map((directory) => join(directory, name)).find((path) => runs(path, versionArg));
}

/** Whether it is an executable file that says its version: a shim without its program, or a cut-off file, does not. */
export function runs(path: string, versionArg = '--version'): boolean {
  try {
    if (!statSync(path).isFile()) return false;
  } catch {
    return false; // it is not there, or PATH names a directory that is closed to us
  }
  return spawnSync(path, [versionArg], { stdio: 'ignore', timeout: 20_000 }).status === 0;
}
