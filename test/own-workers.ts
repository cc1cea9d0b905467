/** Workers in a test's own process, with the interceptors that the real ones have. */
import { NativeConnection, Worker } from '@temporalio/worker';
import { pino } from 'pino';
import type { Alert } from '../activities/failures.ts';
import { bundlePath } from '../workers/bundle.ts';
import { fixedFailures } from '../workers/fixed-failures.ts';
import { signsOfLife } from '../workers/signs-of-life.ts';
import { SEALING_QUEUE } from '../workflows/ids.ts';
import type { OwnTemporal } from './own-temporal.ts';
import './quiet-temporal.ts';

/** @param queues task queue and activities of each worker; that of the sealing queue runs the workflows too */
export async function startOwnWorkers(
  { address, namespace }: OwnTemporal,
  queues: readonly (readonly [string, object])[],
  alert: Alert,
): Promise<{ stop(): Promise<void> }> {
  const connection = await NativeConnection.connect({ address });
  const log = pino({ level: 'silent' });
  const workers: { worker: Worker; running: Promise<void> }[] = [];
  for (const [taskQueue, activities] of queues) {
    const worker = await Worker.create({
      connection,
      namespace,
      taskQueue,
      activities,
      interceptors: { activity: [fixedFailures(log, alert), signsOfLife] },
      ...(taskQueue === SEALING_QUEUE && { workflowBundle: { codePath: bundlePath } }),
    });
    workers.push({ worker, running: worker.run() });
  }
  return {
    async stop() {
      for (const { worker } of workers) worker.shutdown();
      await Promise.all(workers.map(({ running }) => running));
      await connection.close();
    },
  };
}
