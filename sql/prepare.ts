/** Brings the product database and the signing journal to this version: logins, schemas, the deployment's row, tenants. */
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import type { LoginSecrets } from './login.ts';
import { migrate, MigrationError, readMigrations } from './migrate.ts';
import { bootstrapCluster, JOURNAL_LOGINS, LOGINS, type Login } from './roles.ts';
import { migrateTenant } from './tenant.ts';

export const PRODUCT = 'kiff';
export const JOURNAL = 'kiff_journal';

/** What the logs of a deployment belong to. It is written once and never changes. */
interface Deployment {
  /** Where origins begin, for example `kiff.dev`. */
  host: string;
  chainId: number;
  /** 20 bytes. */
  contract: Buffer;
  /** P. */
  periodSeconds: number;
}

export interface Preparation {
  /** Superusers' URLs. The journal's server should be another one, so that one backup can never restore both. */
  productServer: string;
  journalServer: string;
  passwords: Record<Login, string>;
  loginSecrets: LoginSecrets;
  deployment: Deployment;
  /** The name that new databases are opened under (sql/product/013-incarnations.sql). */
  incarnation: string;
}

/** How many migrations ran, and how many tenants' schemas were looked at. */
interface Prepared {
  ran: number;
  tenants: number;
}

const PRODUCT_LOGINS = LOGINS.filter((login) => !JOURNAL_LOGINS.includes(login));

/**
 * Safe to repeat, to interrupt and to run twice at once.
 * @throws MigrationError; Error when the product database belongs to another deployment
 */
export async function prepareDatabases(preparation: Preparation): Promise<Prepared> {
  const { productServer, journalServer, passwords, loginSecrets, deployment, incarnation } = preparation;
  const databases = { product: PRODUCT, journal: JOURNAL };
  if (productServer === journalServer) {
    await connected(productServer, (client) => bootstrapCluster(client, { ...databases, passwords }));
  } else {
    // Each server knows every login, but a login that has no business there gets a password that nobody has.
    for (const [server, logins] of [
      [productServer, PRODUCT_LOGINS],
      [journalServer, JOURNAL_LOGINS],
    ] as const) {
      await connected(server, (client) =>
        bootstrapCluster(client, { ...databases, passwords: onlyFor(logins, passwords) }),
      );
    }
  }

  const journal = await connected(loginUrl(journalServer, JOURNAL, 'kiff_journal_migrate', passwords), (client) =>
    migrate(client, 'journal', readMigrations('journal'), 'kiff_journal_owner'),
  );
  const prepared = await connected(loginUrl(productServer, PRODUCT, 'kiff_migrate', passwords), async (client) => {
    const product = await migrate(client, 'product', readMigrations('product'), 'kiff_owner');
    await client.query('SET ROLE kiff_owner');
    await recordDeployment(client, deployment);
    await openNew(client, 'kiff', incarnation);
    const { rows } = await client.query<{ id: string }>('SELECT id FROM kiff.tenants ORDER BY id');
    await client.query('RESET ROLE');
    await migrateTenants(
      client,
      rows.map(({ id }) => id),
      loginSecrets,
    );
    const logs = await client.query('SET ROLE kiff_owner').then(() => client.query('SELECT FROM kiff.logs LIMIT 1'));
    return { ran: journal.length + product.length, tenants: rows.length, isNew: logs.rowCount === 0 };
  });
  await connected(loginUrl(journalServer, JOURNAL, 'kiff_journal_migrate', passwords), async (client) => {
    await client.query('SET ROLE kiff_journal_owner');
    // An empty journal beside logs is a lost one: nothing but a recovery declares it.
    const known = await client.query('SELECT FROM journal.logs LIMIT 1');
    if (prepared.isNew || known.rowCount !== 0) await openNew(client, 'journal', incarnation);
  });
  return prepared;
}

/**
 * Tenant by tenant, each with a version of its own: whatever interrupts this, the next run goes on with those that lag, and
 * only they are closed meanwhile. One that cannot be migrated holds up nobody.
 * @throws MigrationError that names those that could not
 */
async function migrateTenants(client: pg.Client, tenantIds: readonly string[], secrets: LoginSecrets): Promise<void> {
  const failures: { tenantId: string; error: MigrationError }[] = [];
  for (const tenantId of tenantIds) {
    try {
      await migrateTenant(client, tenantId, secrets);
    } catch (error) {
      if (!(error instanceof MigrationError)) throw error;
      failures.push({ tenantId, error });
    }
  }
  const [first] = failures;
  if (first === undefined) return;
  const names = failures.map(({ tenantId }) => tenantId).join(', ');
  throw new MigrationError(
    `${failures.length} of ${tenantIds.length} tenants lag and stay closed: ${names}; the first: ${first.error.message}`,
    { cause: first.error.cause },
  );
}

/** A database that was never opened gets its first name; one that was keeps what it has, whatever is configured now. */
async function openNew(client: pg.Client, schema: 'kiff' | 'journal', incarnation: string): Promise<void> {
  await client.query(
    `INSERT INTO ${schema}.incarnations (name)
     SELECT $1::text WHERE NOT EXISTS (SELECT FROM ${schema}.incarnations) ON CONFLICT DO NOTHING`,
    [incarnation],
  );
}

function onlyFor(logins: readonly Login[], passwords: Record<Login, string>): Record<Login, string> {
  const entries = LOGINS.map((login) => [
    login,
    logins.includes(login) ? passwords[login] : randomBytes(32).toString('hex'),
  ]);
  return Object.fromEntries(entries) as Record<Login, string>;
}

function loginUrl(server: string, database: string, login: Login, passwords: Record<Login, string>): string {
  const url = new URL(server);
  url.username = login;
  url.password = passwords[login];
  url.pathname = `/${database}`;
  return url.href;
}

async function connected<T>(url: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url, application_name: 'kiff-migrate' });
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

/** A database of another deployment is not touched: its logs belong to another chain, contract or period. */
async function recordDeployment(client: pg.Client, deployment: Deployment): Promise<void> {
  const { host, chainId, contract, periodSeconds } = deployment;
  const values = [host, chainId, contract, periodSeconds];
  await client.query(
    `INSERT INTO kiff.deployment (host, chain_id, contract, period_seconds) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
    values,
  );
  const { rowCount } = await client.query(
    'SELECT FROM kiff.deployment WHERE host = $1 AND chain_id = $2 AND contract = $3 AND period_seconds = $4',
    values,
  );
  if (rowCount !== 1) {
    throw new Error('the product database belongs to another deployment: another host, chain, contract or period');
  }
}
