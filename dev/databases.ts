/** The two databases of the local stack: made, migrated, and told which deployment they belong to. */
import pg from 'pg';
import { migrate, readMigrations } from '../sql/migrate.ts';
import { bootstrapCluster, type Login } from '../sql/roles.ts';
import { migrateTenant } from '../sql/tenant.ts';
import { fromHex, toHex, type Hex } from '../protocol/hex.ts';
import type { Secrets } from './secrets.ts';

export const PRODUCT = 'kiff';
export const JOURNAL = 'kiff_journal';

export interface Deployment {
  host: string;
  chainId: number;
  contract: Hex;
  periodSeconds: number;
}

/** The URL of a login on one of the databases of the server that `superuserUrl` names. */
export function loginUrl(superuserUrl: string, secrets: Secrets, login: Login, database: string): string {
  const url = new URL(superuserUrl);
  url.username = login;
  url.password = secrets.logins[login];
  url.pathname = `/${database}`;
  return url.href;
}

export async function withClient<T>(url: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

/** Brings both databases to the newest version. @returns how many migrations ran */
export async function prepareDatabases(
  superuserUrl: string,
  secrets: Secrets,
  deployment: Deployment,
): Promise<number> {
  await withClient(superuserUrl, (client) =>
    bootstrapCluster(client, { product: PRODUCT, journal: JOURNAL, passwords: secrets.logins }),
  );
  const journal = await withClient(loginUrl(superuserUrl, secrets, 'kiff_migrate', JOURNAL), (client) =>
    migrate(client, 'journal', readMigrations('journal'), 'kiff_journal_owner'),
  );
  const product = await withClient(loginUrl(superuserUrl, secrets, 'kiff_migrate', PRODUCT), async (client) => {
    const ran = await migrate(client, 'product', readMigrations('product'), 'kiff_owner');
    await recordDeployment(client, deployment);
    const { rows } = await asOwner(client, () =>
      client.query<{ id: string }>('SELECT id FROM kiff.tenants ORDER BY id'),
    );
    for (const { id } of rows) await migrateTenant(client, id, tenantSecret(secrets));
    return ran;
  });
  return journal.length + product.length;
}

export const tenantSecret = (secrets: Secrets): Buffer => Buffer.from(secrets.tenantLogin, 'hex');

/** Written once. A database of another deployment is not touched: its logs belong to another chain, contract or period. */
async function recordDeployment(client: pg.Client, deployment: Deployment): Promise<void> {
  const { host, chainId, contract, periodSeconds } = deployment;
  await asOwner(client, async () => {
    await client.query(
      `INSERT INTO kiff.deployment (host, chain_id, contract, period_seconds) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
      [host, chainId, Buffer.from(fromHex(contract, 20)), periodSeconds],
    );
    const { rows } = await client.query<{ host: string; chain_id: string; contract: Buffer; period_seconds: number }>(
      'SELECT host, chain_id, contract, period_seconds FROM kiff.deployment',
    );
    const row = rows[0];
    const same =
      row?.host === host &&
      Number(row.chain_id) === chainId &&
      toHex(row.contract) === contract &&
      row.period_seconds === periodSeconds;
    if (!same) {
      throw new Error(
        `this state belongs to another deployment (period ${row?.period_seconds} s on chain ${row?.chain_id}); begin anew with --fresh`,
      );
    }
  });
}

/** Runs as the owner of the schemas, which only the migration job may become. */
export async function asOwner<T>(client: pg.Client, run: () => Promise<T>): Promise<T> {
  await client.query('SET ROLE kiff_owner');
  try {
    return await run();
  } finally {
    await client.query('RESET ROLE');
  }
}
