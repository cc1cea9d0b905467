/** Writes the kit's files anew: `node dist/conformance/generate.js`. A test says when they are not what this writes. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../dev/root.ts';
import { kitFiles } from './files.ts';

const files = await kitFiles();
for (const folder of ['cases', 'policies']) {
  rmSync(join(packageRoot, 'conformance', folder), { recursive: true, force: true });
  mkdirSync(join(packageRoot, 'conformance', folder));
}
for (const [path, text] of files) writeFileSync(join(packageRoot, 'conformance', path), text);
process.stdout.write(`${files.size} files\n`);
