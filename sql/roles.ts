/**
 * The logins and owners of both databases: one place that says who exists. What each may do is granted in the
 * migrations, next to the thing that is granted.
 */
import type { Client } from 'pg';
import pg from 'pg';

/** NOLOGIN owners: every object belongs to one of them, so no runtime login owns a table. */
const OWNERS = ['kiff_owner', 'kiff_journal_owner'] as const;

/**
 * What all tenants' logins have in common is granted to these, once: a grant to each login would make the access lists of
 * shared tables grow with every tenant, and PostgreSQL 18 refuses one of more than 2,442 names (measured).
 */
const TENANT_GROUPS = ['kiff_tenant_logins', 'kiff_custody_logins'] as const;

/**
 * Logins, one per process and credential. `kiff_migrate` is the migration job's and worker's; the journal has another one, so
 * that whoever may become the product's owner cannot become the journal's. `kiff_operator` is for people, `kiff_recovery`
 * and, in the journal, `kiff_journal_recovery` for what they do with `kiff recover`.
 */
export const LOGINS = [
  'kiff_migrate',
  'kiff_api',
  'kiff_custody',
  'kiff_notify',
  'kiff_veto',
  'kiff_operator',
  'kiff_webhooks',
  'kiff_sealing',
  'kiff_signing',
  'kiff_anchoring',
  'kiff_keyadmin',
  'kiff_journal_migrate',
  'kiff_recovery',
  'kiff_journal',
  'kiff_journal_recovery',
] as const;
export type Login = (typeof LOGINS)[number];

/** Those that have business with the journal, and with nothing else. */
export const JOURNAL_LOGINS: readonly Login[] = ['kiff_journal_migrate', 'kiff_journal', 'kiff_journal_recovery'];
/** Those of jobs that may take long, and may become an owner: not bound by the limits of a runtime login. */
const JOB_LOGINS: readonly Login[] = ['kiff_migrate', 'kiff_recovery', 'kiff_journal_migrate', 'kiff_journal_recovery'];

const { escapeIdentifier, escapeLiteral } = pg;

/**
 * A commit is durable when it is answered, and our code holds nothing up: no statement or transaction of it lives longer
 * than 5 s. A statement whose client has died is given up within a second, even while it waits for a lock: a batch of a
 * killed process would otherwise be written, unheard, as soon as its turn came.
 */
export const RUNTIME_SETTINGS = [
  `SET search_path = pg_catalog, pg_temp`,
  `SET synchronous_commit = 'on'`,
  `SET statement_timeout = '5s'`,
  `SET transaction_timeout = '5s'`,
  `SET idle_in_transaction_session_timeout = '5s'`,
  `SET client_connection_check_interval = '1s'`,
] as const;

/**
 * Creates owners, logins and the two databases, or brings them up to date. Runs as a superuser on the maintenance
 * database; safe to repeat.
 * @param client connected to the cluster's maintenance database
 * @param passwords one per login
 */
export async function bootstrapCluster(
  client: Client,
  options: { product: string; journal: string; passwords: Record<Login, string> },
): Promise<void> {
  for (const role of [...OWNERS, ...TENANT_GROUPS]) await ensureRole(client, role, 'NOLOGIN');
  for (const login of LOGINS) {
    const createRole = login === 'kiff_migrate' ? 'CREATEROLE' : 'NOCREATEROLE';
    await ensureRole(
      client,
      login,
      `LOGIN NOINHERIT ${createRole} PASSWORD ${escapeLiteral(options.passwords[login])}`,
    );
    if (JOB_LOGINS.includes(login)) continue;
    for (const setting of RUNTIME_SETTINGS) await client.query(`ALTER ROLE ${escapeIdentifier(login)} ${setting}`);
  }
  await client.query('GRANT kiff_owner TO kiff_migrate WITH INHERIT FALSE, SET TRUE');
  await client.query('GRANT kiff_journal_owner TO kiff_journal_migrate WITH INHERIT FALSE, SET TRUE');
  // An earlier version let one login migrate both.
  await client.query('REVOKE kiff_journal_owner FROM kiff_migrate');
  // It makes tenants' logins members; what the groups may, it may not.
  await client.query(`GRANT ${TENANT_GROUPS.join(', ')} TO kiff_migrate WITH ADMIN TRUE, INHERIT FALSE, SET FALSE`);
  await client.query('GRANT kiff_owner TO kiff_recovery WITH INHERIT FALSE, SET TRUE');

  const product = LOGINS.filter((login) => !JOURNAL_LOGINS.includes(login));
  await ensureDatabase(client, options.product, 'kiff_owner', [...product, ...TENANT_GROUPS]);
  await ensureDatabase(client, options.journal, 'kiff_journal_owner', JOURNAL_LOGINS);
  await client.query(`REVOKE CONNECT ON DATABASE ${escapeIdentifier(options.journal)} FROM kiff_migrate`);
}

async function ensureRole(client: Client, role: string, attributes: string): Promise<void> {
  const { rowCount } = await client.query('SELECT FROM pg_catalog.pg_roles WHERE rolname = $1', [role]);
  await client.query(`${rowCount === 0 ? 'CREATE' : 'ALTER'} ROLE ${escapeIdentifier(role)} ${attributes}`);
}

async function ensureDatabase(client: Client, name: string, owner: string, logins: readonly string[]): Promise<void> {
  const { rowCount } = await client.query('SELECT FROM pg_catalog.pg_database WHERE datname = $1', [name]);
  const database = escapeIdentifier(name);
  if (rowCount === 0) await client.query(`CREATE DATABASE ${database} OWNER ${escapeIdentifier(owner)}`);
  await client.query(`REVOKE ALL ON DATABASE ${database} FROM PUBLIC`);
  await client.query(`GRANT CONNECT ON DATABASE ${database} TO ${logins.map((l) => escapeIdentifier(l)).join(', ')}`);
}
