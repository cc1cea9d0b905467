/** The repository's own files: everything but what is installed, built or run. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../dev/root.ts';

const NOT_OURS = new Set(['.git', '.kiff', 'dist', 'node_modules']);

/** Paths from the root, with `/`, in order. */
export function sourceFiles(folder = ''): string[] {
  return readdirSync(join(packageRoot, folder), { withFileTypes: true })
    .filter((entry) => !NOT_OURS.has(entry.name) && !entry.name.endsWith('.log'))
    .flatMap((entry) => {
      const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
      return entry.isDirectory() ? sourceFiles(path) : [path];
    })
    .toSorted();
}
