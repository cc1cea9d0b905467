/** The ingest API as a service: what its environment names, put together and listening. */
import { createSessionVerifier } from '../access/session-token.ts';
import { createPool, isUnavailable } from '../http/database.ts';
import { checkDeployment } from '../http/deployment.ts';
import { createLog, errorFacts } from '../http/log.ts';
import { Problem } from '../http/problems.ts';
import { serve } from '../http/serve.ts';
import { createTenantPools } from '../http/tenant-pools.ts';
import { tenantLogin } from '../../sql/login.ts';
import { createApp } from './app.ts';
import type { AcceptCall } from './batcher.ts';
import { readIngestEnv } from './env.ts';
import { createKeyUses } from './key-uses.ts';
import { createPromiseSigner } from './promise.ts';
import { createRefusals } from './refusals.ts';
import { createUsageCounts } from './usage-counts.ts';

/** How often what was only counted in memory is written down. A killed process loses this much of it. */
const REPORT_MILLISECONDS = 30_000;

/**
 * Resolves once the API listens.
 * @param accept what appends a batch to a log; the database unless given
 */
export async function serveIngest(accept?: AcceptCall): Promise<void> {
  const env = readIngestEnv();
  const log = createLog(env.LOG_LEVEL);
  const registry = { chainId: env.CHAIN_ID, contract: env.CONTRACT };
  const incarnation = env.KIFF_INCARNATION;
  const directory = createPool({ url: env.DATABASE_URL, max: 4, name: 'kiff-ingest', incarnation });
  // Few, so that whoever reads public logs with no right of its own takes little of the server.
  const strangers = createPool({ url: env.DATABASE_URL, max: 3, name: 'kiff-ingest-public', incarnation });
  const pools = createTenantPools({
    databaseUrl: env.DATABASE_URL,
    login: (tenant, version) => tenantLogin(env.TENANT_LOGIN_SECRET, tenant, version),
    name: 'kiff-ingest',
    incarnation,
  });

  // A wrong contract is a reason not to start; a database that is away, or restored and not compared yet, is not: /readyz
  // says so, and it may come back.
  await checkDeployment(directory, registry).catch((error: unknown) => {
    if (!isUnavailable(error) && !(error instanceof Problem)) throw error;
    log.warn(errorFacts(error), 'database.unavailable');
  });
  const verifySession = createSessionVerifier({
    jwtKey: env.CLERK_JWT_KEY,
    authorizedParties: env.CLERK_AUTHORIZED_PARTIES,
  });
  const promises = createPromiseSigner(env.PROMISE_KEY);
  const otherPromiseKeys = env.PROMISE_PUBLIC_KEYS;
  const keyUses = createKeyUses(directory, log);
  const refusals = createRefusals({ pools, log });
  const usageCounts = createUsageCounts({ pools, log });
  const report = (all: boolean) => Promise.all([keyUses.flush(), refusals.flush(all), usageCounts.flush()]);
  const reporting = setInterval(() => void report(false), REPORT_MILLISECONDS);
  const counters = { keyUses, refusals, usageCounts };
  const wiring = { directory, strangers, pools, verifySession, ...counters, promises, otherPromiseKeys, registry, log };
  await serve({
    log,
    host: env.API_HOST,
    port: env.API_PORT,
    app: (isDraining) => createApp({ ...wiring, trustProxy: env.TRUST_PROXY, isDraining, ...(accept && { accept }) }),
    async close() {
      clearInterval(reporting);
      await report(true);
      await Promise.all([pools.close(), directory.end(), strangers.end(), promises.close()]);
    },
  });
}
