/** The local stack's state folder: everything that a second start continues from. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { removePostgres } from './postgres.ts';
import { stopLeftover } from './process.ts';
import { processBirth } from './process-identity.ts';
import { packageRoot } from './root.ts';

/** `.kiff` in the checkout unless told otherwise. */
export function stateDirectory(configured: string | undefined): string {
  return configured === undefined ? join(packageRoot, '.kiff') : resolve(configured);
}

/** Makes the folder. It stays readable: PostgreSQL runs as another user when we are root. Secrets are files of mode 0600. */
export function openState(directory: string): void {
  mkdirSync(directory, { recursive: true });
  chmodSync(directory, 0o755);
  for (const name of ['logs', 'demo']) mkdirSync(join(directory, name), { recursive: true });
}

/**
 * Throws everything away, and first ends what an interrupted run left running on it.
 * @throws when the folder, which is this process's already, holds something and is no state folder
 */
export async function clearState(directory: string): Promise<void> {
  const names = readdirSync(directory).filter((name) => name !== OWN_PID);
  if (names.length === 0) return;
  if (!names.includes(MARK)) {
    throw new Error(`${directory} does not look like a state folder of this project; it is left as it is`);
  }
  const pidFiles = names.filter((name) => name.endsWith('.pid'));
  await Promise.all(pidFiles.map((name) => stopLeftover(join(directory, name))));
  await removePostgres(join(directory, 'postgres')); // its cluster may lie elsewhere
  const rest = readdirSync(directory).filter((name) => name !== OWN_PID && name !== MARK);
  for (const name of rest) rmSync(join(directory, name), { recursive: true });
  rmSync(join(directory, MARK)); // the last of all, so that an interrupted clearing can be repeated
}

const OWN_PID = 'start.pid';

/** Every state folder has it, from the beginning. */
const MARK = 'secrets.json';

/**
 * Makes this process the folder's only one: two stacks on one state would end each other's parts.
 * @returns gives the folder up
 * @throws when another one holds it
 */
export function claimState(directory: string): () => void {
  mkdirSync(directory, { recursive: true });
  const file = join(directory, OWN_PID);
  const holder = readJson(file) as { pid: number; birth: string } | undefined;
  if (holder !== undefined && processBirth(holder.pid) === holder.birth) {
    throw new Error(`process ${holder.pid} runs on ${directory} already`);
  }
  writeJson(file, { pid: process.pid, birth: processBirth(process.pid) });
  return () => rmSync(file, { force: true });
}

/** Writes a JSON file with mode 0600, whole or not at all. */
export function writeJson(file: string, value: unknown): void {
  writePrivate(file, `${JSON.stringify(value, null, 2)}\n`);
}

/** Writes a program's environment as `node --env-file` and shells read it, as {@link writeJson} writes. */
export function writeEnv(file: string, env: Readonly<Record<string, string>>): void {
  const lines = Object.entries(env).map(([name, value]) => `${name}='${value}'\n`);
  writePrivate(file, lines.join(''));
}

function writePrivate(file: string, text: string): void {
  writeFileSync(`${file}.new`, text, { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

/** Reads a JSON file, or gives undefined when there is none. */
export function readJson(file: string): unknown {
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined;
}
