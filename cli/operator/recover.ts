/**
 * `kiff recover`: starts the operator's recovery, a program of the signing plane with credentials of its own, as a process. Nothing of
 * it is loaded here: the CLI shares only protocol/ with the server.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Command } from '../command.ts';

const ENTRY = join(import.meta.dirname, '../../workers/recovery/main.js');

async function run(args: readonly string[]): Promise<number> {
  const child = spawn(process.execPath, [ENTRY, ...args], { stdio: 'inherit' });
  const [code] = (await once(child, 'exit')) as [number | null];
  return code ?? 1;
}

export const recoverCommand: Command = { run };
