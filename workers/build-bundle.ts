/** Builds the workflows' bundle: `node dist/workers/build-bundle.js`, part of `npm run build`. */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker';
import { bundlePath } from './bundle.ts';

const { code } = await bundleWorkflowCode({
  workflowsPath: path.join(import.meta.dirname, '..', 'workflows', 'index.js'),
  logger: new DefaultLogger('WARN'),
});
await writeFile(bundlePath, code);
