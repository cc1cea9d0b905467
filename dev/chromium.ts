/**
 * A Chromium to try the page in: `CHROMIUM` in the environment, else one on PATH, else Debian's own package where we are root
 * and may install it. Playwright's own builds come from a server that not every network lets through.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

async function onPath(): Promise<string | undefined> {
  for (const name of NAMES) {
    try {
      const { stdout } = await run('/bin/sh', ['-c', `command -v ${name}`]);
      return stdout.trim();
    } catch {
      // not this one
    }
  }
  return undefined;
}

/** Where it is, or in a sentence why there is none. */
export async function findChromium(): Promise<{ path: string } | { missing: string }> {
  const given = process.env['CHROMIUM'];
  if (given !== undefined && given !== '') return { path: given };
  const standing = await onPath();
  if (standing !== undefined) return { path: standing };
  if (process.getuid?.() !== 0) return { missing: 'there is no Chromium: install one, or name it in CHROMIUM' };
  try {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    await run('apt-get', ['update', '-q'], { env });
    await run('apt-get', ['install', '-y', '-q', '--no-install-recommends', 'chromium'], {
      env,
      maxBuffer: 16 * 1024 * 1024,
    });
  } catch (error) {
    const reason = error instanceof Error ? (error.message.split('\n')[0] ?? '') : '';
    return { missing: `there is no Chromium, and apt-get could not install it: ${reason}` };
  }
  const path = await onPath();
  return path === undefined ? { missing: 'Debian’s chromium is not on PATH after it was installed' } : { path };
}
