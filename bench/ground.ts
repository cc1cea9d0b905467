/**
 * What a bench stands on: a PostgreSQL of its own that syncs every commit to disk, the product database as a deployment
 * makes it, and tenants whose logs are open. All of it is gone when the bench ends.
 */
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { createApiKey } from '../api/ingest/api-key.ts';
import { asOwner, loginSecrets, loginUrl, prepareLocalDatabases, withClient } from '../dev/databases.ts';
import { removePostgres, startPostgres } from '../dev/postgres.ts';
import { part } from '../dev/progress.ts';
import { loadSecrets, type Secrets } from '../dev/secrets.ts';
import { toHex, type Hex } from '../protocol/hex.ts';
import { logId } from '../protocol/logid.ts';
import { tenantSchema } from '../sql/login.ts';
import { JOURNAL, PRODUCT } from '../sql/prepare.ts';
import type { Login } from '../sql/roles.ts';
import { migrateTenant } from '../sql/tenant.ts';

export interface Ground {
  directory: string;
  secrets: Secrets;
  chainId: number;
  contract: Hex;
  /** The product database with one login, or as superuser. */
  url(login: Login | 'superuser'): string;
  /** A tenant with a log that is open, sealed from `firstPeriod` on (now unless given), and one API key. */
  tenant(id: string, firstPeriod?: number): Promise<BenchTenant>;
  /** A connection whose bigints are numbers; closed by `stop`. */
  connect(url: string): Promise<pg.Client>;
  stop(): Promise<void>;
}

export interface BenchTenant {
  id: string;
  schema: string;
  apiKey: string;
}

/** Under which name the databases here were opened: what processes are configured with. */
export const INCARNATION = 'bench';

/** Per second: rate limits are counted, and never reached. */
const NO_LIMIT = 100_000_000;

/** Of the logs here, in seconds. */
export const PERIOD_SECONDS = 3600;

/** Where their origins begin. */
export const HOST = 'kiff.bench';

const INT8 = 20;
const numbers = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
    oid === INT8 ? Number : pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser,
};

/** @param registry the contract that the deployment names; a made-up one unless given */
export async function prepareGround(registry?: { chainId: number; contract: Hex }): Promise<Ground> {
  const progress = part('PostgreSQL');
  progress.start('starting');
  const directory = mkdtempSync(join(tmpdir(), 'kiff-cloud-bench-'));
  chmodSync(directory, 0o711); // as root, PostgreSQL runs as another user
  const dataDir = join(directory, 'postgres');
  const server = await startPostgres({ dataDir });
  const connections: pg.Client[] = [];
  // A bench that is ended leaves nothing behind: at exit the server is stopped (dev/process.ts), and then its files go.
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const) {
    process.once(signal, () => {
      void removePostgres(dataDir).finally(() => {
        rmSync(directory, { recursive: true, force: true });
        process.exit(code);
      });
    });
  }
  const stop = async (): Promise<void> => {
    await Promise.all(connections.map((client) => client.end()));
    await server.stop();
    await removePostgres(dataDir);
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    const secrets = loadSecrets(join(directory, 'secrets.json'));
    const { chainId, contract } = registry ?? { chainId: 31_337, contract: toHex(randomBytes(20)) };
    await prepareLocalDatabases(server.superuserUrl, secrets, {
      host: HOST,
      chainId,
      contract,
      periodSeconds: PERIOD_SECONDS,
      incarnation: INCARNATION,
    });
    progress.done(`fsync on, ${server.port}`);

    const superuser = new URL(server.superuserUrl);
    superuser.pathname = `/${PRODUCT}`;
    const url: Ground['url'] = (login) =>
      login === 'superuser'
        ? superuser.href
        : loginUrl(server.superuserUrl, secrets, login, login === 'kiff_journal' ? JOURNAL : PRODUCT);
    return {
      directory,
      secrets,
      chainId,
      contract,
      url,
      stop,
      async connect(to) {
        const client = new pg.Client({ connectionString: to, types: numbers });
        await client.connect();
        connections.push(client);
        return client;
      },
      async tenant(id, firstPeriod) {
        await withClient(url('kiff_migrate'), (client) => migrateTenant(client, id, loginSecrets(secrets)));
        const signer = randomBytes(20);
        const origin = `${HOST}/t/${id}`;
        const log = Buffer.from(logId(toHex(signer), origin).slice(2), 'hex');
        await withClient(url('kiff_sealing'), async (client) => {
          await client.query('SELECT kiff.open_log($1, $2, $3, $4)', [id, origin, signer, log]);
          await client.query('SELECT kiff.activate_tenant($1)', [id]);
        });
        const key = createApiKey(id);
        await withClient(url('kiff_migrate'), (client) =>
          asOwner(client, async () => {
            await client.query('INSERT INTO kiff.api_keys (id, tenant, hash, label) VALUES ($1, $2, $3, $4)', [
              key.id,
              id,
              Buffer.from(key.hash),
              'bench',
            ]);
            for (const of of [null, key.id]) {
              await client.query('SELECT kiff.set_limits($1, $2, $3, $3)', [id, of, NO_LIMIT]);
            }
            if (firstPeriod !== undefined) {
              await client.query('UPDATE kiff.logs SET first_period = $2 WHERE tenant = $1', [id, firstPeriod]);
            }
          }),
        );
        return { id, schema: tenantSchema(id), apiKey: key.key };
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
