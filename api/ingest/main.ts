/** The ingest API's process. SIGTERM and SIGINT drain it. */
import { createSessionVerifier } from '../access/session-token.ts';
import { createLog, errorFacts } from '../http/log.ts';
import { startServer } from '../http/server.ts';
import { createApp } from './app.ts';
import { createPool, isUnavailable } from './database.ts';
import { readEnv } from './env.ts';
import { checkDeployment } from './log-identity.ts';
import { createPromiseSigner } from './promise.ts';
import { createTenantPools } from './tenant-pools.ts';

async function main(): Promise<void> {
  const env = readEnv();
  const log = createLog(env.LOG_LEVEL);
  const registry = { chainId: env.CHAIN_ID, contract: env.CONTRACT };
  const directory = createPool({ url: env.DATABASE_URL, max: 4, name: 'kiff-ingest' });
  const pools = createTenantPools({ databaseUrl: env.DATABASE_URL, tenantLoginSecret: env.TENANT_LOGIN_SECRET });

  // A wrong contract is a reason not to start; a database that is away is not: /readyz says so, and it may come back.
  await checkDeployment(directory, registry).catch((error: unknown) => {
    if (!isUnavailable(error)) throw error;
    log.warn(errorFacts(error), 'database.unavailable');
  });

  let draining = false;
  const app = createApp({
    directory,
    pools,
    verifySession: createSessionVerifier({
      jwtKey: env.CLERK_JWT_KEY,
      authorizedParties: env.CLERK_AUTHORIZED_PARTIES,
    }),
    promises: createPromiseSigner(env.PROMISE_KEY),
    otherPromiseKeys: env.PROMISE_PUBLIC_KEYS,
    registry,
    log,
    isDraining: () => draining,
  });
  const server = await startServer(app, { host: env.API_HOST, port: env.API_PORT });

  // `on`, not `once`: a second signal (a terminal sends it twice) must not end the process before it has drained.
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (draining) return;
      draining = true;
      log.info({ signal }, 'api.draining');
      server
        .drain()
        .then(() => Promise.all([pools.close(), directory.end()]))
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

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
});
