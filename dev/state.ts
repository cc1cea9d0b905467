/** The local stack's state folder: everything that a second start continues from. */
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { removePostgres } from './postgres.ts';
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

/** Throws everything away. */
export async function clearState(directory: string): Promise<void> {
  if (!existsSync(directory)) return;
  if (!existsSync(join(directory, 'secrets.json'))) {
    throw new Error(`${directory} does not look like a state folder of this project; it is left as it is`);
  }
  await removePostgres(join(directory, 'postgres')); // its cluster may lie elsewhere
  rmSync(directory, { recursive: true });
}

/** Writes a JSON file with mode 0600, whole or not at all. */
export function writeJson(file: string, value: unknown): void {
  writeFileSync(`${file}.new`, `${JSON.stringify(value, null, 2)}\n`, { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

/** Reads a JSON file, or gives undefined when there is none. */
export function readJson(file: string): unknown {
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined;
}
