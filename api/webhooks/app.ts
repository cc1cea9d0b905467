/** Clerk's webhooks as an Express application: one address, and what every process of ours says about itself. */
import type { RequestListener } from 'node:http';
import type { Pool } from 'pg';
import type { Logger } from 'pino';
import { createApplication } from '../http/application.ts';
import type { TrustProxy } from '../http/read-env.ts';
import { clerkOperation } from './clerk.ts';

export interface AppDependencies {
  /** The product database with the login kiff_webhooks. */
  directory: Pick<Pool, 'query'>;
  signingSecret: string;
  log: Logger;
  trustProxy?: TrustProxy;
  /** True once no new work should come here: `/readyz` says so. */
  isDraining?: () => boolean;
}

const INFO = {
  title: 'KIFF Cloud: webhooks',
  version: '1',
  description: 'What Clerk tells of organisations and their members.',
  tags: [{ name: 'Webhooks', description: 'Signed deliveries. Nobody else has anything to send here.' }],
};

export function createApp({
  directory,
  signingSecret,
  log,
  trustProxy = false,
  isDraining = () => false,
}: AppDependencies): RequestListener {
  return createApplication({
    info: INFO,
    operations: [clerkOperation({ directory, signingSecret, log })],
    log,
    trustProxy,
    isDraining,
    async check() {
      const { rowCount } = await directory.query('SELECT FROM kiff.deployment');
      if (rowCount !== 1) throw new Error('the database has no deployment yet');
    },
  });
}
