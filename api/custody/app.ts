/**
 * The custody API as an Express application. It lives on an origin of its own, in a process of its own, with logins of its
 * own: whoever takes the ingest API over can ask for nothing that moves a key (design section 3, wall 1). And whoever takes
 * this one over leaves evidence that the signing plane does not believe.
 */
import type { RequestListener } from 'node:http';
import type { RequestHandler } from 'express';
import type { Pool } from 'pg';
import type { Logger } from 'pino';
import type { Registry } from '../../protocol/eip712.ts';
import type { VerifySession } from '../access/session-token.ts';
import { createApplication } from '../http/application.ts';
import { checkDeployment } from '../http/deployment.ts';
import type { TrustProxy } from '../http/read-env.ts';
import type { TenantPools } from '../http/tenant-pools.ts';
import { actsOperations } from './acts-routes.ts';
import { createAdmit } from './authenticate.ts';
import { createChallenges } from './challenge.ts';
import { commandsOperations } from './commands-routes.ts';
import { contactOperations } from './contact-routes.ts';
import { custodyOperations } from './custody-routes.ts';
import { migrationsOperations } from './migrations-routes.ts';
import { ownOrigin } from './own-origin.ts';
import { pageOperations } from './page/routes.ts';
import { passkeysOperations } from './passkeys-routes.ts';

export interface AppDependencies {
  /** The product database with the login kiff_custody. */
  directory: Pick<Pool, 'query'>;
  /** The same with each tenant's custody login. */
  pools: TenantPools;
  verifySession: VerifySession;
  registry: Registry;
  /** Where this API is found, for example `https://custody.kiff.dev`. */
  origin: string;
  /** Of this process: challenges of registrations are known again by it. */
  challengeSecret: Uint8Array;
  passkeyMinAgeSeconds: number;
  log: Logger;
  /** Unix milliseconds. */
  now?: () => number;
  trustProxy?: TrustProxy;
  /** True once no new work should come here: `/readyz` says so. */
  isDraining?: () => boolean;
}

/** Nothing may be loaded, framed, submitted or kept: what a page of ours needs is allowed where that page is served. */
const HEADERS = {
  contentSecurityPolicy: {
    useDefaults: false,
    directives: {
      defaultSrc: ["'none'"],
      baseUri: ["'none'"],
      formAction: ["'none'"],
      frameAncestors: ["'none'"],
    },
  },
  referrerPolicy: { policy: 'no-referrer' },
} as const;

const INFO = {
  title: 'KIFF Cloud: custody',
  version: '1',
  description:
    'Takes the signing key of a log over, on an origin of its own, for people who are signed in with the permission org:custody:manage.\n\nWhat is asked for here is left for the signing plane, which judges it by itself: such requests answer 202 and where the answer will be. Errors are problem documents (RFC 9457); those of custody carry a fixed word as "reason". Unknown members of answers are to be ignored: more may come.',
  tags: [
    { name: 'Custody', description: 'Who holds the key, who is told, and what became of what was asked for.' },
    { name: 'Migrations', description: 'Handing the key over, step by step.' },
    { name: 'Passkeys', description: 'What admins approve with.' },
  ],
};

const neverStored: RequestHandler = (_request, response, next) => {
  response.set('Cache-Control', 'no-store');
  next();
};

export function createApp(dependencies: AppDependencies): RequestListener {
  const { directory, pools, verifySession, registry, origin, challengeSecret, log } = dependencies;
  const { passkeyMinAgeSeconds, now = Date.now, trustProxy = false, isDraining = () => false } = dependencies;
  const party = { origin, id: new URL(origin).hostname };
  const challenges = createChallenges(challengeSecret, now);
  return createApplication({
    info: INFO,
    operations: [
      ...custodyOperations({ pools }),
      ...migrationsOperations({ pools, registry }),
      ...actsOperations({ pools, registry, party, passkeyMinAgeSeconds, now }),
      ...passkeysOperations({ pools, party, challenges, minAgeSeconds: passkeyMinAgeSeconds }),
      ...contactOperations({ pools }),
      ...commandsOperations({ pools }),
      ...pageOperations(),
    ],
    admit: createAdmit({ directory, verifySession, now }),
    log,
    trustProxy,
    headers: HEADERS,
    guards: [neverStored, ownOrigin(origin)],
    isDraining,
    check: () => checkDeployment(directory, registry),
  });
}
