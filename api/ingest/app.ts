/** The ingest API as an Express application: wiring and what holds for every request. */
import express, { type Express } from 'express';
import helmet from 'helmet';
import type { Pool } from 'pg';
import type { Logger } from 'pino';
import type { Registry } from '../../protocol/eip712.ts';
import type { Hex } from '../../protocol/hex.ts';
import type { VerifySession } from '../access/session-token.ts';
import { answerProblems, notFound, onlyMethods } from '../http/answer.ts';
import { unavailable } from '../http/problems.ts';
import { logRequests, withRequestId } from '../http/request-log.ts';
import { acceptBatch } from './accept.ts';
import { createAuthenticate } from './authenticate.ts';
import { createBatcher, type BatchLimits } from './batcher.ts';
import { createIngest } from './ingest.ts';
import { checkDeployment, createLogIdentities } from './log-identity.ts';
import { policyRoutes } from './policy.ts';
import type { PromiseSigner } from './promise.ts';
import { recordsRoutes } from './records-routes.ts';
import { sealsRoutes } from './seals-routes.ts';
import type { TenantPools } from './tenant-pools.ts';

export interface AppDependencies {
  /** The product database with the login kiff_api. */
  directory: Pick<Pool, 'query'>;
  pools: TenantPools;
  verifySession: VerifySession;
  promises: PromiseSigner;
  /** Public keys of promises besides `promises`' own: earlier ones, and the next one while it is brought in. */
  otherPromiseKeys?: readonly Hex[];
  registry: Registry;
  log: Logger;
  /** Unix milliseconds. */
  now?: () => number;
  batchLimits?: BatchLimits;
  /** True once no new work should come here: `/readyz` says so. */
  isDraining?: () => boolean;
}

export function createApp(dependencies: AppDependencies): Express {
  const { directory, pools, verifySession, promises, registry, log, now = Date.now } = dependencies;
  const { isDraining = () => false } = dependencies;
  const authenticate = createAuthenticate({ directory, verifySession, now });
  const logIdentity = createLogIdentities(registry);
  const batcher = createBatcher(
    (key, drafts) => pools.use(key, (pool) => acceptBatch(pool, key.tenant, key.keyId, drafts)),
    dependencies.batchLimits,
  );
  const ingest = createIngest({ pools, batcher, logIdentity, promises });

  const app = express();
  app.disable('x-powered-by');
  // No `trust proxy`: nothing here decides by the client's address. Query strings are flat.
  app.set('query parser', 'simple');
  app.use(helmet(), withRequestId, logRequests(log));

  app
    .route('/healthz')
    .get((_request, response) => {
      response.json({ status: 'ok' });
    })
    .all(onlyMethods('GET', 'HEAD'));
  app
    .route('/readyz')
    .get(async (_request, response) => {
      if (isDraining()) throw unavailable(new Error('draining'));
      await checkDeployment(directory, registry).catch((error: unknown) => {
        throw unavailable(error);
      });
      response.json({ status: 'ready' });
    })
    .all(onlyMethods('GET', 'HEAD'));
  app.use(recordsRoutes({ authenticate, pools, logIdentity, ingest, registry, now }));
  app.use(sealsRoutes({ authenticate, pools, logIdentity }));
  const promiseKeys = [promises.publicKey, ...(dependencies.otherPromiseKeys ?? [])];
  app.use(policyRoutes({ authenticate, pools, logIdentity, directory, promiseKeys, now }));
  app.use(notFound, answerProblems(log));
  return app;
}
