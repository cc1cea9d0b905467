/** The custody API's process. SIGTERM and SIGINT drain it. */
import { createSessionVerifier } from '../access/session-token.ts';
import { createPool, isUnavailable } from '../http/database.ts';
import { checkDeployment } from '../http/deployment.ts';
import { createLog, errorFacts } from '../http/log.ts';
import { Problem } from '../http/problems.ts';
import { serve, start } from '../http/serve.ts';
import { createTenantPools } from '../http/tenant-pools.ts';
import { custodyLogin } from '../../sql/login.ts';
import { createApp } from './app.ts';
import { readCustodyEnv } from './env.ts';

start(async () => {
  const env = readCustodyEnv();
  const log = createLog(env.LOG_LEVEL);
  const registry = { chainId: env.CHAIN_ID, contract: env.CONTRACT };
  const incarnation = env.KIFF_INCARNATION;
  const directory = createPool({ url: env.DATABASE_URL, max: 4, name: 'kiff-custody', incarnation });
  const pools = createTenantPools({
    databaseUrl: env.DATABASE_URL,
    login: (tenant, version) => custodyLogin(env.CUSTODY_LOGIN_SECRET, tenant, version),
    name: 'kiff-custody',
    incarnation,
    // People ask here, not agents.
    connectionsPerTenant: 2,
    maxConnections: 20,
  });
  // As for the ingest API: a wrong contract is a reason not to start, a database that is away is not.
  await checkDeployment(directory, registry).catch((error: unknown) => {
    if (!isUnavailable(error) && !(error instanceof Problem)) throw error;
    log.warn(errorFacts(error), 'database.unavailable');
  });
  const verifySession = createSessionVerifier({
    jwtKey: env.CLERK_JWT_KEY,
    authorizedParties: env.CLERK_AUTHORIZED_PARTIES,
  });
  await serve({
    log,
    host: env.API_HOST,
    port: env.API_PORT,
    app: (isDraining) =>
      createApp({
        directory,
        pools,
        verifySession,
        registry,
        origin: env.CUSTODY_ORIGIN,
        challengeSecret: env.CUSTODY_LOGIN_SECRET,
        passkeyMinAgeSeconds: env.PASSKEY_MIN_AGE_SECONDS,
        log,
        trustProxy: env.TRUST_PROXY,
        isDraining,
      }),
    close: () => Promise.all([pools.close(), directory.end()]),
  });
});
