/** Starts one worker and runs it until SIGTERM or SIGINT: then it takes no more work, finishes what it has, and ends. */
import type { ClientConnectConfig } from '@temporalio/envconfig';
import { DefaultLogger, NativeConnection, Runtime, Worker, type WorkflowBundleOption } from '@temporalio/worker';
import type { Logger } from 'pino';
import { fixedFailures } from './fixed-failures.ts';
import { createAlert } from './log.ts';
import { jitteredRetries } from './retry-jitter.ts';
import { signsOfLife } from './signs-of-life.ts';

/** A signal leaves this long to finish; what is not done then is retried by another worker. */
const GRACE = '10s';

export interface WorkerOptions {
  temporal: ClientConnectConfig;
  taskQueue: string;
  activities: object;
  log: Logger;
  workflowBundle?: WorkflowBundleOption;
  /** At most; Temporal's default unless given. */
  concurrentActivities?: number;
  /** Runs once Temporal is connected and before there is a worker: the connection of one that never ran cannot be closed. */
  prepare?: (connection: NativeConnection, namespace: string) => Promise<void>;
  /** Goes on beside the worker, and is stopped before its connection closes. */
  beside?: (connection: NativeConnection, namespace: string) => { stop(): Promise<void> };
  /** Runs when the worker has ended. */
  close: () => Promise<void>;
}

export function namespaceOf(temporal: ClientConnectConfig): string {
  return temporal.namespace ?? 'default';
}

/** Connects to Temporal with the process's own credentials. */
export async function connect(temporal: ClientConnectConfig): Promise<NativeConnection> {
  // Failed activities are in the histories, and what is not ours of them in our own log: the SDK need not tell them again.
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  return NativeConnection.connect(temporal.connectionOptions);
}

export async function runWorker(connection: NativeConnection, options: WorkerOptions): Promise<void> {
  const { temporal, taskQueue, activities, log, workflowBundle, concurrentActivities } = options;
  const namespace = namespaceOf(temporal);
  try {
    await options.prepare?.(connection, namespace);
    const worker = await Worker.create({
      connection,
      namespace,
      taskQueue,
      activities,
      interceptors: { activity: [jitteredRetries(), fixedFailures(log, createAlert(log)), signsOfLife] },
      shutdownGraceTime: GRACE,
      // What a killed worker had cached is not waited for any longer than this: it is replayed by another.
      stickyQueueScheduleToStartTimeout: '2s',
      ...(workflowBundle === undefined ? {} : { workflowBundle }),
      ...(concurrentActivities === undefined ? {} : { maxConcurrentActivityTaskExecutions: concurrentActivities }),
    });
    const running = worker.run();
    const beside = options.beside?.(connection, namespace);
    log.info({ taskQueue, namespace }, 'ready');
    try {
      await running;
    } finally {
      await beside?.stop();
    }
  } finally {
    await connection.close();
    await options.close();
  }
}

/** Runs a worker's main function; a failed start is one log line and exit code 1. */
export function start(log: Logger, main: () => Promise<void>): void {
  main().then(
    () => log.info('stopped'),
    (error: unknown) => {
      log.fatal({ err: error }, 'ended');
      process.exitCode = 1;
    },
  );
}
