/** Where the workflows' bundle lies: built ahead, so that a worker starts fast and needs no webpack. */
import path from 'node:path';

export const bundlePath = path.join(import.meta.dirname, '..', 'workflow-bundle.js');
