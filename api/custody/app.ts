/**
 * The custody API as an Express application. It lives on an origin of its own, in a process of its own, with logins of its
 * own: whoever takes the ingest API over can ask for nothing that moves a key (design section 3, wall 1).
 */
import type { RequestListener } from 'node:http';
import type { RequestHandler } from 'express';
import type { Pool } from 'pg';
import type { Logger } from 'pino';
import { createApplication } from '../http/application.ts';
import type { TrustProxy } from '../http/read-env.ts';
import { ownOrigin } from './own-origin.ts';

export interface AppDependencies {
  /** The product database with the login kiff_custody. */
  directory: Pick<Pool, 'query'>;
  /** Where this API is found, for example `https://custody.kiff.dev`. */
  origin: string;
  log: Logger;
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
  description: 'Takes the signing key of a log over, on an origin of its own.',
  tags: [],
};

const neverStored: RequestHandler = (_request, response, next) => {
  response.set('Cache-Control', 'no-store');
  next();
};

export function createApp({
  directory,
  origin,
  log,
  trustProxy = false,
  isDraining = () => false,
}: AppDependencies): RequestListener {
  const check = async (): Promise<void> => {
    const { rowCount } = await directory.query('SELECT FROM kiff.deployment');
    if (rowCount !== 1) throw new Error('the database has no deployment yet');
  };
  return createApplication({
    info: INFO,
    operations: [],
    log,
    trustProxy,
    headers: HEADERS,
    guards: [neverStored, ownOrigin(origin)],
    isDraining,
    check,
  });
}
