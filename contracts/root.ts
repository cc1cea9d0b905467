import { readFileSync } from 'node:fs';
import path from 'node:path';

/** The folder of this package's package.json: the same from the sources and from dist, which holds no artefacts. */
export const packageRoot = findPackageRoot();

function findPackageRoot(): string {
  for (let folder = import.meta.dirname; ; folder = path.dirname(folder)) {
    try {
      const { name } = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8')) as { name?: string };
      if (name === 'kiff-cloud') return folder;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
    if (path.dirname(folder) === folder) throw new Error(`no package.json of kiff-cloud above ${import.meta.dirname}`);
  }
}
