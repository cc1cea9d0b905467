import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { unlessAborted } from './abort.ts';
import { processBirth } from './process-identity.ts';

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface RunningProcess {
  readonly name: string;
  readonly pid: number;
  /** Settles when the process has ended, whoever ended it. Never rejects. */
  readonly exited: Promise<Exit>;
  /** SIGTERM, then SIGKILL after `graceMs` (10 s unless given). Repeatable; resolves when nothing of its group runs. */
  stop(graceMs?: number): Promise<Exit>;
  /** The end of what it has written to its log. */
  logTail(): string;
}

export interface CommandOptions<T> {
  name: string;
  command: string;
  args: readonly string[];
  /** All of its environment: nothing is inherited. */
  env: Readonly<Record<string, string>>;
  cwd?: string;
  /** Takes both its outputs (mode 0600). The previous run's is kept beside it as `….1`. */
  logFile: string;
  /**
   * Remembers the process, so that the next start ends one that outlived a killed supervisor: two anvils on one state
   * file would overwrite each other.
   */
  pidFile?: string;
  /** Asked until it answers with something; gets the log so far. A throw ends the start. */
  ready(log: string): Promise<T | undefined> | T | undefined;
  readyTimeoutMs?: number;
  /** Gives the start up: the process is stopped and the signal's reason thrown. Means nothing once it is ready. */
  signal?: AbortSignal | undefined;
}

export interface ProcessOptions extends Omit<CommandOptions<unknown>, 'command' | 'args' | 'ready'> {
  /** The compiled file that Node runs. */
  entry: string;
  args?: readonly string[];
  /** A pattern in its log, the URL that answers 2xx, or a question that is asked until it is true. */
  ready: RegExp | string | (() => Promise<boolean>);
}

/** Starts one of our own Node programs, with only `env` in its environment, and waits until it is ready. */
export async function startProcess(options: ProcessOptions): Promise<RunningProcess> {
  const { entry, args = [], ready, ...rest } = options;
  const { process: running } = await startCommand({
    ...rest,
    command: process.execPath,
    args: ['--enable-source-maps', entry, ...args],
    ready: async (log) => ((await isReady(ready, log)) ? true : undefined),
  });
  return running;
}

/**
 * Starts a program in a process group of its own, so that a terminal's Ctrl-C reaches only its supervisor, and waits until
 * it is ready.
 *
 * @throws when it ends or stays silent before it is ready, with the last lines of its log; the signal's reason
 */
export async function startCommand<T>(options: CommandOptions<T>): Promise<{ process: RunningProcess; ready: T }> {
  const { name, pidFile, readyTimeoutMs = 60_000, signal } = options;
  if (pidFile !== undefined) await stopLeftover(pidFile);
  signal?.throwIfAborted();
  const running = await launch(options);
  let ended: Exit | undefined;
  void running.exited.then((exit) => (ended = exit));
  const deadline = performance.now() + readyTimeoutMs;
  try {
    for (;;) {
      const answer = await unlessAborted(signal, options.ready(readFileSync(options.logFile, 'utf8')));
      // Asked after the answer: on a port that somebody else took, it may be somebody else who answers.
      if (ended) throw new Error(`${name} ended before it was ready (${describeExit(ended)})`);
      if (answer !== undefined) return { process: running, ready: answer };
      if (performance.now() > deadline) throw new Error(`${name} was not ready after ${readyTimeoutMs / 1000} s`);
      await unlessAborted(signal, Promise.race([running.exited, delay(25)]));
    }
  } catch (error) {
    await running.stop(signal?.aborted === true ? undefined : 2_000);
    signal?.throwIfAborted();
    throw new Error(`${(error as Error).message}\n${running.logTail()}`, { cause: error });
  }
}

async function isReady(ready: ProcessOptions['ready'], log: string): Promise<boolean> {
  if (ready instanceof RegExp) return ready.test(log);
  if (typeof ready === 'function') return await ready();
  return await answers(ready);
}

/** Whether a GET answers 2xx within a second. */
export async function answers(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(1_000) });
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false; // nobody listens yet: the caller asks again until its own deadline
  }
}

/** Starts a program as {@link startCommand} does and waits for nothing but its start. */
export async function launch(
  options: Omit<CommandOptions<unknown>, 'ready' | 'readyTimeoutMs' | 'signal'>,
): Promise<RunningProcess> {
  const { name, command, args, env, cwd, logFile, pidFile } = options;
  mkdirSync(dirname(logFile), { recursive: true });
  if (existsSync(logFile)) renameSync(logFile, `${logFile}.1`);
  const log = openSync(logFile, 'w', 0o600);
  const child = spawn(command, args, {
    env,
    detached: true,
    stdio: ['ignore', log, log],
    ...(cwd === undefined ? {} : { cwd }),
  });
  closeSync(log);
  await once(child, 'spawn'); // rejects with the 'error' event, for instance ENOENT
  const pid = child.pid;
  if (pid === undefined) throw new Error(`${name} has no process number`);

  live.add(pid);
  const forgetAtExit = atExit(endLiveProcesses);
  if (pidFile !== undefined) remember(pidFile, pid);

  let ended = false;
  const exited = (once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>).then(
    ([code, signal]): Exit => {
      ended = true;
      signalGroup(pid, 'SIGKILL'); // what the process itself started and left behind
      live.delete(pid);
      if (live.size === 0) forgetAtExit();
      if (pidFile !== undefined) rmSync(pidFile, { force: true });
      return { code, signal };
    },
  );

  return {
    name,
    pid,
    exited,
    stop: async (graceMs = 10_000) => {
      if (ended) return await exited; // its number may be somebody else's by now
      signalGroup(pid, 'SIGTERM');
      const kill = setTimeout(() => signalGroup(pid, 'SIGKILL'), graceMs);
      try {
        return await exited;
      } finally {
        clearTimeout(kill);
      }
    },
    logTail: () => readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-20).join('\n'),
  };
}

function remember(pidFile: string, pid: number): void {
  writeFileSync(`${pidFile}.new`, JSON.stringify({ pid, birth: processBirth(pid) }), { mode: 0o600 });
  renameSync(`${pidFile}.new`, pidFile);
}

/** Ends the process that a pid file remembers, if it is still that process. */
export async function stopLeftover(pidFile: string): Promise<void> {
  if (!existsSync(pidFile)) return;
  const { pid, birth } = JSON.parse(readFileSync(pidFile, 'utf8')) as { pid: number; birth?: string };
  const runs = (): boolean => birth !== undefined && processBirth(pid) === birth;
  for (const [signal, graceMs] of [
    ['SIGTERM', 10_000],
    ['SIGKILL', 5_000],
  ] as const) {
    if (!runs()) break;
    signalGroup(pid, signal);
    for (const end = performance.now() + graceMs; runs() && performance.now() < end;) await delay(25);
  }
  if (runs()) throw new Error(`process ${pid}, left by an earlier run, does not end`);
  rmSync(pidFile, { force: true });
}

/** Process groups that run now, by their leader. */
const live = new Set<number>();

/** Synchronous last resorts, run once each when this process exits, also by an uncaught error (not by SIGKILL). */
const lastResorts = new Set<() => void>();

/** Registers a last resort; the answer takes it back. It must be synchronous: at exit nothing else runs any more. */
export function atExit(end: () => void): () => void {
  if (lastResorts.size === 0) process.on('exit', runLastResorts);
  lastResorts.add(end);
  return () => {
    lastResorts.delete(end);
    if (lastResorts.size === 0) process.off('exit', runLastResorts);
  };
}

function runLastResorts(): void {
  for (const end of lastResorts) end();
}

/** SIGTERM to all at once, SIGKILL to those that still run after three seconds. */
function endLiveProcesses(): void {
  for (const pid of live) signalGroup(pid, 'SIGTERM');
  const sleeper = new Int32Array(new SharedArrayBuffer(4));
  for (const end = performance.now() + 3_000; anyLives() && performance.now() < end;) Atomics.wait(sleeper, 0, 0, 20);
  for (const pid of live) signalGroup(pid, 'SIGKILL');
}

function anyLives(): boolean {
  return [...live].some((pid) => processBirth(pid) !== undefined);
}

function signalGroup(leader: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-leader, signal);
  } catch (error) {
    // ESRCH: nothing of the group runs. EPERM: macOS says that of a group of zombies.
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ESRCH' && code !== 'EPERM') throw error;
  }
}

function describeExit({ code, signal }: Exit): string {
  return signal === null ? `exit code ${code}` : `signal ${signal}`;
}
