/** The ingest API as an Express application: its operations, and who is let in to them. */
import type { RequestListener } from 'node:http';
import type { Pool } from 'pg';
import type { Logger } from 'pino';
import type { Registry } from '../../protocol/eip712.ts';
import type { Hex } from '../../protocol/hex.ts';
import { createRateLimits } from '../access/limits.ts';
import type { VerifySession } from '../access/session-token.ts';
import { createApplication } from '../http/application.ts';
import { checkDeployment } from '../http/deployment.ts';
import type { TrustProxy } from '../http/read-env.ts';
import type { TenantPools } from '../http/tenant-pools.ts';
import { acceptBatch } from './accept.ts';
import { createAttributions } from './attributions.ts';
import { auditOperations } from './audit-routes.ts';
import { createAuthenticate } from './authenticate.ts';
import { bundleOperations } from './bundle-routes.ts';
import { createBatcher, type AcceptCall, type BatchLimits } from './batcher.ts';
import { guardOperations } from './guard-routes.ts';
import { createIngest } from './ingest.ts';
import type { KeyUses } from './key-uses.ts';
import { keysOperations } from './keys-routes.ts';
import { createLogIdentities } from './log-identity.ts';
import { meOperations } from './me-routes.ts';
import { notOfferedOperations } from './not-offered.ts';
import { createLogReaders } from './log-readers.ts';
import { logsOperations } from './logs-routes.ts';
import { policyOperations } from './policy.ts';
import type { PromiseSigner } from './promise.ts';
import { publicLogOperations } from './public-log-routes.ts';
import { createPublicLogs } from './public-logs.ts';
import { recordsOperations } from './records-routes.ts';
import type { Refusals } from './refusals.ts';
import { sealsOperations } from './seals-routes.ts';
import { signerOperations } from './signer-routes.ts';
import type { UsageCounts } from './usage-counts.ts';
import { usageOperations } from './usage-routes.ts';
import { verifyPageOperations } from './verify-page.ts';
import { walletsOperations } from './wallets-routes.ts';

export interface AppDependencies {
  /** The product database with the login kiff_api. */
  directory: Pick<Pool, 'query'>;
  /** The same, over connections that nothing else waits for: what strangers read of public logs. */
  strangers: Pick<Pool, 'query'>;
  pools: TenantPools;
  verifySession: VerifySession;
  keyUses: KeyUses;
  refusals: Refusals;
  usageCounts: UsageCounts;
  promises: PromiseSigner;
  /** Public keys of promises besides `promises`' own: earlier ones, and the next one while it is brought in. */
  otherPromiseKeys?: readonly Hex[];
  registry: Registry;
  log: Logger;
  /** Unix milliseconds. */
  now?: () => number;
  batchLimits?: BatchLimits;
  /** What appends a batch to a log; the database unless given. */
  accept?: AcceptCall;
  trustProxy?: TrustProxy;
  /** True once no new work should come here: `/readyz` says so. */
  isDraining?: () => boolean;
}

const INFO = {
  title: 'KIFF Cloud',
  version: '1',
  description:
    'Takes custody of the audit records of AI agents: appends them to a tenant’s Merkle log, seals the log every hour with the tenant’s key and anchors the seal on Base.\n\nErrors are problem documents (RFC 9457). Requests and records are limited per key and per tenant: the headers RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-10) say how much and what is left. Lists come in pages with a cursor and a Link header. Answers that cannot change carry a strong ETag. Unknown members of answers are to be ignored: more may come.',
  tags: [
    { name: 'Records', description: 'What agents post, and what proves it.' },
    { name: 'Seals', description: 'Signed statements about the log, one per period.' },
    { name: 'Usage', description: 'What the tenant has used.' },
    { name: 'Logs', description: 'The log that is written to, and those that have ended.' },
    { name: 'Keys', description: 'What agents and programs post and read with.' },
    {
      name: 'Signer',
      description: 'What a tenant’s own signer fetches and answers: it calls us, and is never called.',
    },
    { name: 'Wallets', description: 'Which wallet belongs to which actor: for attribution, never for access.' },
    { name: 'Audit', description: 'What was done to the tenant and in its name.' },
    { name: 'Clients of KIFF', description: 'What the open-source KIFF CLI and guard SDKs call, in their words.' },
    {
      name: 'Public log',
      description:
        'The log by C2SP tlog-tiles, for transparency-log tools: for who may read it, or for everybody if the tenant has made it public.',
    },
    { name: 'Verification', description: 'What a verifier starts from.' },
  ],
};

export function createApp(dependencies: AppDependencies): RequestListener {
  const { directory, strangers, pools, verifySession, promises, registry, log, now = Date.now } = dependencies;
  const { keyUses, refusals, usageCounts, trustProxy = false, isDraining = () => false } = dependencies;
  const onKeyUsed = (keyId: string): void => keyUses.note(keyId);
  const authenticate = createAuthenticate({ directory, verifySession, onKeyUsed, now });
  const limits = createRateLimits(now);
  const logIdentity = createLogIdentities(registry);
  const accept: AcceptCall =
    dependencies.accept ??
    ((key, drafts) => pools.use(key, (pool) => acceptBatch(pool, key.tenant, key.keyId, drafts)));
  const batcher = createBatcher(accept, dependencies.batchLimits, (key) => limits.hurries(key));
  const ingest = createIngest({ pools, batcher, logIdentity, promises });

  const attributionsFor = createAttributions(pools);
  const publicLogs = createPublicLogs(directory, now);
  const readers = createLogReaders({ pools, strangers, publicLogs, refusals, limits });

  const promiseKeys = [promises.publicKey, ...(dependencies.otherPromiseKeys ?? [])];
  return createApplication({
    info: INFO,
    operations: [
      ...recordsOperations({
        pools,
        logIdentity,
        ingest,
        attributionsFor,
        refusals,
        limits,
        usageCounts,
        registry,
        now,
      }),
      ...sealsOperations({ pools, logIdentity, registry }),
      ...bundleOperations({ pools, logIdentity, registry, now }),
      ...keysOperations({ pools, refusals, now }),
      ...walletsOperations({ pools, logIdentity, refusals, chainId: registry.chainId, now }),
      ...auditOperations({ pools }),
      ...logsOperations({ pools, logIdentity }),
      ...guardOperations({ pools, ingest, attributionsFor, limits, now }),
      ...signerOperations({ pools, logIdentity, isDraining, now }),
      ...meOperations({ pools, now }),
      ...usageOperations({ pools, now }),
      ...notOfferedOperations(),
      ...publicLogOperations({ readers }),
      ...verifyPageOperations(),
      ...policyOperations({ pools, logIdentity, directory, publicLogs, promiseKeys, now }),
    ],
    admit: async (right, request, response) => {
      const caller = await authenticate(request.get('authorization'), right);
      response.locals['caller'] = caller;
      response.on('finish', () => {
        if (response.statusCode >= 400 && response.statusCode < 500) usageCounts.rejected(caller);
      });
      limits.admit(caller, right, response);
      return caller;
    },
    // What `admit` comes to for a known key that is over its limit, at the least cost.
    refuse(right, request, response) {
      const caller = authenticate.known(request.headers.authorization, right);
      const problem = caller && limits.refusal(caller, right, response);
      if (caller === undefined || problem === undefined) return undefined;
      usageCounts.rejected(caller);
      return { caller, problem };
    },
    log,
    trustProxy,
    isDraining,
    check: () => checkDeployment(directory, registry),
  });
}
