import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/**
 * The repository's root: resources that the compiler does not copy (sql/, artefacts, go.mod) are found from here, since
 * `import.meta.dirname` is `dist/…` once compiled.
 */
export const packageRoot = findRoot(import.meta.dirname);

function findRoot(start: string): string {
  for (let dir = start; ; dir = dirname(dir)) {
    if (packageName(join(dir, 'package.json')) === 'kiff-cloud') return dir;
    if (dir === dirname(dir)) throw new Error(`no package.json named kiff-cloud above ${start}`);
  }
}

function packageName(path: string): unknown {
  try {
    return (JSON.parse(readFileSync(path, 'utf8')) as { name?: unknown }).name;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
