/**
 * A product database (and its journal) of a test's own, made as a deployment makes it: roles, migrations, the deployment's
 * row, and tenants through the same functions that onboarding uses. Roles belong to the whole cluster, so the shared logins
 * have fixed passwords, and tenant ids are random: databases of parallel tests do not meet.
 */
import { randomBytes, randomInt } from 'node:crypto';
import pg from 'pg';
import { createApiKey } from '../api/ingest/api-key.ts';
import { fromHex, toHex, type Hex } from '../protocol/hex.ts';
import { logId } from '../protocol/logid.ts';
import { custodyLogin, custodyRole, tenantLogin, tenantSchema, type DatabaseLogin } from '../sql/login.ts';
import { migrate, readMigrations } from '../sql/migrate.ts';
import { bootstrapCluster, JOURNAL_LOGINS, LOGINS, type Login } from '../sql/roles.ts';
import { migrateTenant } from '../sql/tenant.ts';
import { postgres } from './parts.ts';

export interface TestTenant {
  id: string;
  /** Its login's and its schema's name. */
  role: string;
  /** The product database with the tenant's own login. */
  url: string;
  /** The same with the login that the custody API uses for it. */
  custodyUrl: string;
  origin: string;
  genesisSigner: Hex;
  logId: Hex;
  /** First second of the first period that will be sealed. */
  firstPeriod: number;
  /** A key with both scopes. */
  apiKey: string;
  keyId: string;
}

export interface TenantOptions {
  id?: string;
  /** The log's first signer; random unless given. */
  genesisSigner?: Hex;
  /** False leaves the tenant in onboarding, with a log that is not active. */
  activate?: boolean;
  /** Per second, of the tenant and of its first key, in place of the defaults; null is no limit. */
  limits?: { requests: number | null; records: number | null };
  /** Moves the log's beginning into the past, so that there are periods to collect at once. */
  firstPeriod?: number;
}

export interface ProductDatabase {
  /** One URL per login; `kiff_journal`'s and its migrations' are of the journal, all others of the product database. */
  urls: Record<Login, string>;
  /** The product database and the journal, as superuser. */
  superuserUrl: string;
  journalSuperuserUrl: string;
  loginSecrets: { tenant: Buffer; custody: Buffer };
  /** The name that both databases are opened under. */
  incarnation: string;
  host: string;
  periodSeconds: number;
  chainId: number;
  contract: Hex;
  createTenant(options?: TenantOptions): Promise<TestTenant>;
  /** One more API key of a tenant. */
  createKey(
    tenant: TestTenant,
    options?: { scopes?: string[]; expiresAt?: Date },
  ): Promise<{ id: string; key: string }>;
  /** Makes a tenant an organisation's. @returns the organisation's id */
  createOrganisation(tenant: TestTenant): Promise<string>;
  /** Runs one statement as superuser in the product database; bigints come as numbers. */
  sql<Row extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]>;
  /** A connection with a login, closed by `drop`; bigints come as numbers. */
  connect(url: string): Promise<pg.Client>;
  /** Closes every connection made here and removes both databases and the tenants' logins. */
  drop(): Promise<void>;
}

export interface ProductDatabaseOptions {
  /** Of a cluster's maintenance database; the test run's own cluster unless given. */
  superuserUrl?: string;
  periodSeconds?: number;
  chainId?: number;
  contract?: Hex;
  host?: string;
}

/** As in production code: indexes and seconds stay far below 2^53. */
const numbers = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
    oid === 20 ? Number : pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser,
};

const INCARNATION = 'test';

/** Of the shared logins, in every test database. */
export const PASSWORDS = Object.fromEntries(LOGINS.map((login) => [login, `test-${login}`])) as Record<Login, string>;

export async function createProductDatabase(options: ProductDatabaseOptions = {}): Promise<ProductDatabase> {
  const clusterUrl = options.superuserUrl ?? (await postgres()).superuserUrl;
  const { periodSeconds = 3600, chainId = 31_337, contract = toHex(randomBytes(20)), host = 'kiff.test' } = options;
  const suffix = randomBytes(6).toString('hex');
  const names = { product: `kiff_test_${suffix}`, journal: `kiff_test_${suffix}_journal` };
  const loginSecrets = { tenant: randomBytes(32), custody: randomBytes(32) };
  const connections: pg.Client[] = [];

  await alone(clusterUrl, (client) => bootstrapCluster(client, { ...names, passwords: PASSWORDS }));
  const urls = Object.fromEntries(
    LOGINS.map((login) => {
      const database = JOURNAL_LOGINS.includes(login) ? names.journal : names.product;
      return [login, withLogin(clusterUrl, database, login, PASSWORDS[login])];
    }),
  ) as Record<Login, string>;

  const connect = async (url: string): Promise<pg.Client> => {
    const client = new pg.Client({ connectionString: url, types: numbers });
    // A connection that a test has the server end must not end the test run.
    client.on('error', () => undefined);
    await client.connect();
    connections.push(client);
    return client;
  };

  const migration = await connect(urls.kiff_migrate);
  await migrate(migration, 'product', readMigrations('product'), 'kiff_owner');
  await migration.end();
  const journal = await connect(urls.kiff_journal_migrate);
  await migrate(journal, 'journal', readMigrations('journal'), 'kiff_journal_owner');
  await journal.query('SET ROLE kiff_journal_owner');
  await journal.query('INSERT INTO journal.incarnations (name) VALUES ($1)', [INCARNATION]);
  await journal.end();

  const superuserUrl = withDatabase(clusterUrl, names.product);
  // A pool, which finds its way back when a test restarts the server or puts another database in this one's place.
  const superuser = new pg.Pool({ connectionString: superuserUrl, max: 4, types: numbers });
  superuser.on('error', () => undefined);
  const sql = async <Row extends pg.QueryResultRow>(text: string, values: unknown[] = []): Promise<Row[]> =>
    (await superuser.query<Row>(text, values)).rows;
  await sql('INSERT INTO kiff.deployment (host, chain_id, contract, period_seconds) VALUES ($1, $2, $3, $4)', [
    host,
    chainId,
    fromHex(contract),
    periodSeconds,
  ]);

  await sql('INSERT INTO kiff.incarnations (name) VALUES ($1)', [INCARNATION]);

  const createKey: ProductDatabase['createKey'] = async (tenant, { scopes = ['ingest', 'read'], expiresAt } = {}) => {
    const { id, key, hash } = createApiKey(tenant.id);
    await sql('INSERT INTO kiff.api_keys (id, tenant, hash, scopes, expires_at) VALUES ($1, $2, $3, $4, $5)', [
      id,
      tenant.id,
      hash,
      scopes,
      expiresAt ?? null,
    ]);
    return { id, key };
  };

  const urlOf = ({ user, password }: DatabaseLogin) => withLogin(clusterUrl, names.product, user, password);

  // One after the other, as the migration job makes them.
  let queue: Promise<unknown> = Promise.resolve();
  const createTenant = async (tenantOptions: TenantOptions = {}): Promise<TestTenant> => {
    const { id = randomTenantId(), genesisSigner = toHex(randomBytes(20)), activate = true } = tenantOptions;
    const job = await connect(urls.kiff_migrate);
    await migrateTenant(job, id, loginSecrets);
    await job.end();
    const sealing = await connect(urls.kiff_sealing);
    const origin = `${host}/t/${id}`;
    const tenant: TestTenant = {
      id,
      role: tenantSchema(id),
      url: urlOf(tenantLogin(loginSecrets.tenant, id, 1)),
      custodyUrl: urlOf(custodyLogin(loginSecrets.custody, id, 1)),
      origin,
      genesisSigner,
      logId: logId(genesisSigner, origin),
      firstPeriod: 0,
      apiKey: '',
      keyId: '',
    };
    await sealing.query('SELECT kiff.open_log($1, $2, $3, $4)', [
      id,
      origin,
      Buffer.from(fromHex(genesisSigner)),
      Buffer.from(fromHex(tenant.logId)),
    ]);
    if (activate) {
      const { rows } = await sealing.query<{ period: number }>('SELECT kiff.activate_tenant($1) AS period', [id]);
      tenant.firstPeriod = tenantOptions.firstPeriod ?? rows[0]!.period;
      await sql('UPDATE kiff.logs SET first_period = $2 WHERE tenant = $1', [id, tenant.firstPeriod]);
    }
    await sealing.end();
    const { id: keyId, key } = await createKey(tenant);
    const { limits } = tenantOptions;
    if (limits !== undefined) {
      for (const owner of [null, keyId]) {
        await sql('SELECT kiff.set_limits($1, $2, $3, $4)', [id, owner, limits.requests, limits.records]);
      }
    }
    return Object.assign(tenant, { apiKey: key, keyId });
  };

  return {
    urls,
    superuserUrl,
    journalSuperuserUrl: withDatabase(clusterUrl, names.journal),
    loginSecrets,
    incarnation: INCARNATION,
    host,
    periodSeconds,
    chainId,
    contract,
    createTenant: (tenantOptions) => {
      const created = queue.then(() => createTenant(tenantOptions));
      queue = created.catch(() => undefined);
      return created;
    },
    createKey,
    async createOrganisation(tenant) {
      const id = `org_${tenant.id}`;
      await sql('INSERT INTO kiff.organisations (id, tenant) VALUES ($1, $2)', [id, tenant.id]);
      return id;
    },
    sql,
    connect,
    async drop() {
      const tenants = await sql<{ id: string }>('SELECT id FROM kiff.tenants');
      const roles = tenants.flatMap(({ id }) => [tenantSchema(id), custodyRole(id)]);
      await Promise.all([superuser.end(), ...connections.map((client) => client.end())]);
      await alone(clusterUrl, async (client) => {
        for (const name of [names.product, names.journal]) {
          await client.query(`DROP DATABASE IF EXISTS ${pg.escapeIdentifier(name)} WITH (FORCE)`);
        }
        for (const role of roles) await client.query(`DROP ROLE IF EXISTS ${pg.escapeIdentifier(role)}`);
      });
    },
  };
}

/** `t` and 11 random letters and digits. */
export function randomTenantId(): string {
  return `t${Array.from({ length: 11 }, () => randomInt(36).toString(36)).join('')}`;
}

/** Roles and databases are the whole cluster's; two test processes that alter one at once would fail. */
async function alone(clusterUrl: string, work: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client(clusterUrl);
  await client.connect();
  try {
    await client.query(`SELECT pg_advisory_lock(hashtextextended('kiff test cluster', 0))`);
    await work(client);
  } finally {
    await client.end();
  }
}

function withDatabase(url: string, database: string): string {
  const changed = new URL(url);
  changed.pathname = `/${database}`;
  return changed.href;
}

function withLogin(url: string, database: string, user: string, password: string): string {
  const changed = new URL(withDatabase(url, database));
  changed.username = user;
  changed.password = encodeURIComponent(password);
  return changed.href;
}
