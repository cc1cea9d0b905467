import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The folder of SQL files. It is not part of the emitted code, so it is looked for from the package's root. */
export function sqlDirectory(): string {
  let directory = import.meta.dirname;
  while (!existsSync(join(directory, 'package.json'))) {
    const parent = dirname(directory);
    if (parent === directory) throw new Error('package.json not found above the SQL migrations');
    directory = parent;
  }
  return join(directory, 'sql');
}
