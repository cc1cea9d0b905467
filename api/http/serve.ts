/** An API's process: serves until SIGTERM or SIGINT, drains, closes what it holds, and ends. */
import type { RequestListener } from 'node:http';
import type { Logger } from 'pino';
import { errorFacts } from './log.ts';
import { startServer } from './server.ts';

export interface Service {
  log: Logger;
  host: string;
  port: number;
  app: (isDraining: () => boolean) => RequestListener;
  /** Runs after the last answer. */
  close: () => Promise<unknown>;
}

/** Resolves once the API listens, and says so on standard output: `api listening on URL`. */
export async function serve({ log, host, port, app, close }: Service): Promise<void> {
  let draining = false;
  const server = await startServer(
    app(() => draining),
    { host, port },
  );
  // `on`, not `once`: a second signal (a terminal sends it twice) must not end the process before it has drained.
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (draining) return;
      draining = true;
      log.info({ signal }, 'api.draining');
      server
        .drain()
        .then(close)
        .then(
          () => log.info('api.stopped'),
          (error: unknown) => {
            log.error(errorFacts(error), 'api.stop-failed');
            process.exitCode = 1;
          },
        )
        // Nothing keeps the process alive now; a timer or a socket that does is not worth waiting for.
        .finally(() => log.flush(() => process.exit()));
    });
  }
  process.stdout.write(`api listening on ${server.url}\n`);
}

/** Runs an API's main function; a failed start is one message and exit code 1. */
export function start(main: () => Promise<void>): void {
  main().catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1);
  });
}
