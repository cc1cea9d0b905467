/** The `kiff` command as people run it: a process of its own. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

const KIFF = join(import.meta.dirname, '../../cli/kiff.js');

export interface Ran {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** @param input what it reads from standard input, at once or as it takes it */
export async function kiff(
  args: readonly string[],
  options: {
    input?: string | Uint8Array | AsyncIterable<Uint8Array>;
    env?: Record<string, string>;
    node?: readonly string[];
  } = {},
): Promise<Ran> {
  const { input = '', env = {}, node = [] } = options;
  const child = spawn(process.execPath, ['--enable-source-maps', ...node, KIFF, ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  // A command that refuses its arguments does not read its input.
  let gone = false;
  child.stdin.on('error', () => (gone = true));
  const closed = once(child, 'close') as Promise<[number | null]>;
  if (typeof input === 'string' || input instanceof Uint8Array) {
    child.stdin.end(input);
  } else {
    for await (const chunk of input) {
      if (gone) break;
      if (!child.stdin.write(chunk)) await Promise.race([once(child.stdin, 'drain').catch(() => undefined), closed]);
    }
    child.stdin.end();
  }
  const [code] = await closed;
  return { code, stdout, stderr };
}
