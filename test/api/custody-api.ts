/** The custody API of a test's own: real application, real HTTP, real Postgres. */
import pino from 'pino';
import { createApp } from '../../api/custody/app.ts';
import { createPool } from '../../api/http/database.ts';
import { startServer } from '../../api/http/server.ts';
import { createTenantPools } from '../../api/http/tenant-pools.ts';
import { freePort } from '../../dev/ports.ts';
import { custodyLogin } from '../../sql/login.ts';
import type { ProductDatabase } from '../product-database.ts';
import { createClient, type Client } from './client.ts';
import { verifySession } from './session-tokens.ts';

export interface CustodyApi extends Client {
  url: string;
  /** Where its pages are found: passkeys are bound to a host name. */
  origin: string;
  stop(): Promise<void>;
}

export interface CustodyApiOptions {
  passkeyMinAgeSeconds?: number;
  /** Unix milliseconds. */
  now?: () => number;
}

export async function startCustodyApi(db: ProductDatabase, options: CustodyApiOptions = {}): Promise<CustodyApi> {
  const { passkeyMinAgeSeconds = 86_400, now } = options;
  const incarnation = db.incarnation;
  const databaseUrl = db.urls.kiff_custody;
  const directory = createPool({ url: databaseUrl, max: 2, name: 'test-custody', incarnation });
  const pools = createTenantPools({
    databaseUrl,
    login: (tenant, version) => custodyLogin(db.loginSecrets.custody, tenant, version),
    name: 'test-custody',
    incarnation,
  });
  const port = await freePort();
  const origin = `http://localhost:${port}`;
  const app = createApp({
    directory,
    pools,
    verifySession,
    registry: { chainId: db.chainId, contract: db.contract },
    origin,
    challengeSecret: db.loginSecrets.custody,
    passkeyMinAgeSeconds,
    log: pino({ level: 'silent' }),
    ...(now && { now }),
  });
  const server = await startServer(app, { host: '127.0.0.1', port });
  return {
    ...(await createClient(server.url)),
    url: server.url,
    origin,
    async stop() {
      await server.drain();
      await Promise.all([pools.close(), directory.end()]);
    },
  };
}
