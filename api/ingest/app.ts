/** The ingest API as an Express application: wiring and what holds for every request. */
import { randomUUID } from 'node:crypto';
import express, { type Express, type RequestHandler } from 'express';
import helmet from 'helmet';
import type { Pool } from 'pg';
import type { Logger } from 'pino';
import type { Registry } from '../../protocol/eip712.ts';
import { acceptBatch } from './accept.ts';
import { answerProblems, notFound, onlyMethods } from './answer.ts';
import { createAuthenticate, type Caller } from './authenticate.ts';
import { createBatcher, type BatchLimits } from './batcher.ts';
import { createIngest } from './ingest.ts';
import { checkDeployment, createLogIdentities } from './log-identity.ts';
import { unavailable } from './problems.ts';
import type { PromiseSigner } from './promise.ts';
import { recordsRoutes } from './records-routes.ts';
import { sealsRoutes } from './seals-routes.ts';
import type { TenantPools } from './tenant-pools.ts';

export interface AppDependencies {
  /** The product database with the login kiff_api. */
  directory: Pick<Pool, 'query'>;
  pools: TenantPools;
  promises: PromiseSigner;
  registry: Registry;
  log: Logger;
  /** Unix milliseconds. */
  now?: () => number;
  batchLimits?: BatchLimits;
  /** True once no new work should come here: `/readyz` says so. */
  isDraining?: () => boolean;
}

export function createApp(dependencies: AppDependencies): Express {
  const { directory, pools, promises, registry, log, now = Date.now, isDraining = () => false } = dependencies;
  const authenticate = createAuthenticate({ directory, now });
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
  app.use(notFound, answerProblems(log));
  return app;
}

/** A well-formed id from the caller is kept, so that one request can be followed through several systems. */
const withRequestId: RequestHandler = (request, response, next) => {
  const given = request.get('x-request-id');
  const requestId = given !== undefined && /^[A-Za-z0-9._-]{1,64}$/.test(given) ? given : randomUUID();
  response.locals['requestId'] = requestId;
  response.set('X-Request-Id', requestId);
  next();
};

/** One line per request. The route's pattern, not its address: ids stay out of the log. */
function logRequests(log: Logger): RequestHandler {
  return (request, response, next) => {
    const start = performance.now();
    response.on('close', () => {
      const caller = response.locals['caller'] as Caller | undefined;
      const route = request.route as { path: string } | undefined;
      log.info(
        {
          requestId: response.locals['requestId'],
          method: request.method,
          route: route?.path,
          status: response.writableFinished ? response.statusCode : 'aborted',
          milliseconds: Math.round(performance.now() - start),
          tenant: caller?.tenant,
          key: caller?.keyId,
        },
        'http.request',
      );
    });
    next();
  };
}
