import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/**
 * What tells this process from a later one with the same number, or `undefined` when no such process runs (a zombie does
 * not run). Process numbers are reused, in containers after every restart: a number from a file proves nothing alone.
 */
export function processBirth(pid: number): string | undefined {
  if (process.platform !== 'linux') return psBirth(pid);
  const fields = statFields(pid);
  // proc(5): after the command's closing bracket come state (3) … starttime (22, clock ticks since boot).
  if (!fields || fields[0] === 'Z' || fields[0] === 'X') return undefined;
  return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()} ${fields[19]}`;
}

/** The command line of a running process, its arguments joined by spaces. */
export function processCommand(pid: number): string | undefined {
  if (processBirth(pid) === undefined) return undefined;
  if (process.platform !== 'linux') return ps(pid, 'command=');
  return readProc(`/proc/${pid}/cmdline`)?.replaceAll('\0', ' ').trim();
}

function statFields(pid: number): string[] | undefined {
  const stat = readProc(`/proc/${pid}/stat`);
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
}

function readProc(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') return undefined;
    throw error;
  }
}

function psBirth(pid: number): string | undefined {
  return ps(pid, 'stat=')?.startsWith('Z') ? undefined : ps(pid, 'lstart=');
}

function ps(pid: number, column: string): string | undefined {
  try {
    return execFileSync('ps', ['-ww', '-o', column, '-p', String(pid)], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch (error) {
    // ps exits 1 when there is no such process; anything else (no ps at all) is a fault.
    if ((error as { status?: number }).status === 1) return undefined;
    throw error;
  }
}
