/**
 * The ingest API's own process, which says what it holds in memory (`held BYTES`) when it gets SIGUSR2: after a collection, so
 * that what is told is held and not merely left lying.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose_gc');
const collect = runInNewContext('gc') as () => void;

process.on('SIGUSR2', () => {
  // What a finalizer lets go in one collection is gone in the next.
  for (let round = 0; round < 3; round++) collect();
  const { heapUsed, external } = process.memoryUsage();
  process.stdout.write(`held ${heapUsed + external}\n`);
});

await import('../../api/ingest/main.ts');
