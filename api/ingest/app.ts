/** The ingest API as an Express application. */
import type { Express } from 'express';
import type { Pool } from 'pg';
import type { Logger } from 'pino';
import type { Registry } from '../../protocol/eip712.ts';
import type { Hex } from '../../protocol/hex.ts';
import type { VerifySession } from '../access/session-token.ts';
import { createApplication } from '../http/application.ts';
import { healthRoutes } from '../http/health.ts';
import type { TenantPools } from '../http/tenant-pools.ts';
import { acceptBatch } from './accept.ts';
import { createAuthenticate } from './authenticate.ts';
import { createBatcher, type BatchLimits } from './batcher.ts';
import { createIngest } from './ingest.ts';
import { checkDeployment, createLogIdentities } from './log-identity.ts';
import { policyRoutes } from './policy.ts';
import type { PromiseSigner } from './promise.ts';
import { recordsRoutes } from './records-routes.ts';
import { sealsRoutes } from './seals-routes.ts';

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

  const promiseKeys = [promises.publicKey, ...(dependencies.otherPromiseKeys ?? [])];
  return createApplication(log, {}, [
    healthRoutes({ isDraining, check: () => checkDeployment(directory, registry) }),
    recordsRoutes({ authenticate, pools, logIdentity, ingest, registry, now }),
    sealsRoutes({ authenticate, pools, logIdentity }),
    policyRoutes({ authenticate, pools, logIdentity, directory, promiseKeys, now }),
  ]);
}
