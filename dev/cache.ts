import {
  accessSync,
  constants,
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { processBirth } from './process-identity.ts';

/**
 * A directory that survives runs and checkouts: `${XDG_CACHE_HOME:-~/.cache}/kiff-cloud/<name>`. Where that cannot be
 * written (no home), one in the temporary directory that belongs to this user alone.
 *
 * @throws when the latter exists and others could have put something there: programs are run from it
 */
export function cacheDirectory(name: string): string {
  const usual = join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'kiff-cloud', name);
  if (isWritable(usual)) return usual;
  const uid = process.getuid?.() ?? 0;
  const own = join(tmpdir(), `kiff-cloud-cache-${uid}`);
  mkdirSync(own, { recursive: true, mode: 0o700 });
  const { mode, uid: owner } = lstatSync(own);
  if ((mode & constants.S_IFMT) !== constants.S_IFDIR || owner !== uid || (mode & 0o077) !== 0) {
    throw new Error(`${own} is not a directory of this user alone: remove it, or set XDG_CACHE_HOME`);
  }
  mkdirSync(join(own, name), { recursive: true });
  return join(own, name);
}

function isWritable(directory: string): boolean {
  try {
    mkdirSync(directory, { recursive: true });
    accessSync(directory, constants.W_OK);
    return true;
  } catch {
    return false; // whatever the reason, the caller takes another place
  }
}

/**
 * Runs `work` while no other process does so in the same cache directory. What it makes must appear by rename: the lock
 * of a process that died is taken over, and two that find it at the same instant both work.
 */
export async function withLock<T>(
  directory: string,
  waiting: (pid: number) => void,
  work: () => Promise<T>,
): Promise<T> {
  const lock = join(directory, 'lock');
  // A link appears with its content in it; a file that is created first and filled later could be read empty.
  const mine = join(directory, `lock.${process.pid}`);
  writeFileSync(mine, JSON.stringify({ pid: process.pid, birth: processBirth(process.pid) }));
  try {
    while (!linked(mine, lock)) {
      const owner = readOwner(lock);
      if (owner && processBirth(owner.pid) === owner.birth) {
        waiting(owner.pid);
        await delay(250);
      } else if (owner) {
        rmSync(lock, { force: true });
      }
    }
    try {
      for (const left of readdirSync(directory)) {
        const pid = Number(/^lock\.(\d+)$/.exec(left)?.[1] ?? process.pid);
        if (processBirth(pid) === undefined) rmSync(join(directory, left), { force: true }); // killed while it waited
      }
      return await work();
    } finally {
      rmSync(lock, { force: true });
    }
  } finally {
    rmSync(mine, { force: true });
  }
}

function linked(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

function readOwner(lock: string): { pid: number; birth: string } | undefined {
  try {
    return JSON.parse(readFileSync(lock, 'utf8')) as { pid: number; birth: string };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined; // released just now
    throw error;
  }
}
