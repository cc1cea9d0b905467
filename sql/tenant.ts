/** A tenant's place in the database: its row in the directory, its logins, its schema. Run by the migration job. */
import type { Client } from 'pg';
import pg from 'pg';
import {
  custodyLogin,
  custodyRole,
  tenantLogin,
  tenantSchema,
  type DatabaseLogin,
  type LoginSecrets,
} from './login.ts';
import { alone, migrate, readMigrations, type Migration } from './migrate.ts';
import { RUNTIME_SETTINGS } from './roles.ts';

const { escapeIdentifier, escapeLiteral } = pg;

/**
 * Creates or completes a tenant's row, logins and schema; safe to repeat, and resumes where it was interrupted.
 * @param client connected to the product database as `kiff_migrate`
 * @param migrations all of them unless an earlier version is wanted
 */
export async function migrateTenant(
  client: Client,
  tenantId: string,
  secrets: LoginSecrets,
  migrations = readMigrations('tenant'),
): Promise<void> {
  // Two jobs at once would fail where both change one row of the catalogue; so they wait for each other.
  await alone(client, () => makeTenant(client, tenantId, secrets, migrations));
}

async function makeTenant(
  client: Client,
  tenantId: string,
  secrets: LoginSecrets,
  migrations: Migration[],
): Promise<void> {
  const { rows } = await asOwner(client, async () => {
    await client.query('INSERT INTO kiff.tenants (id) VALUES ($1) ON CONFLICT (id) DO NOTHING', [tenantId]);
    return client.query<{ login_version: number }>('SELECT login_version FROM kiff.tenants WHERE id = $1', [tenantId]);
  });
  const version = rows[0]!.login_version;
  await ensureLogin(client, tenantLogin(secrets.tenant, tenantId, version), 'kiff_tenant_logins');
  await ensureLogin(client, custodyLogin(secrets.custody, tenantId, version), 'kiff_custody_logins');

  await migrate(client, `tenant:${tenantId}`, migrations, 'kiff_owner', (sql) =>
    sql.replaceAll('{{tenant}}', tenantId),
  );
  await asOwner(client, () =>
    client.query('UPDATE kiff.tenants SET schema_version = $2 WHERE id = $1', [tenantId, migrations.length]),
  );
}

/** What stands of a tenant. `genesisSigner` and `firstPeriod` are null until it is active. */
interface TenantStanding {
  status: 'onboarding' | 'active' | 'paused' | 'ended';
  genesisSigner: Buffer | null;
  /** Unix seconds. */
  firstPeriod: number | null;
}

/**
 * Makes a new tenant's row, logins and schema, or finds what an earlier try has made. An onboarding that was given up
 * begins anew.
 * @param client as in migrateTenant
 */
export async function beginTenant(client: Client, tenantId: string, secrets: LoginSecrets): Promise<TenantStanding> {
  return alone(client, async () => {
    await asOwner(client, () =>
      client.query(
        `UPDATE kiff.tenants SET status = 'onboarding' WHERE id = $1 AND status = 'ended' AND activated_at IS NULL`,
        [tenantId],
      ),
    );
    await makeTenant(client, tenantId, secrets, readMigrations('tenant'));
    const { rows } = await asOwner(client, () =>
      client.query<{ status: TenantStanding['status']; genesis_signer: Buffer | null; first_period: string | null }>(
        `SELECT t.status, l.genesis_signer, l.first_period
           FROM kiff.tenants t LEFT JOIN kiff.logs l ON l.tenant = t.id WHERE t.id = $1`,
        [tenantId],
      ),
    );
    const { status, genesis_signer: genesisSigner, first_period: firstPeriod } = rows[0]!;
    return { status, genesisSigner, firstPeriod: firstPeriod === null ? null : Number(firstPeriod) };
  });
}

/** Something was accepted or sealed, or the tenant was active: what it has stays. */
export class TenantInUse extends Error {
  override name = 'TenantInUse';
}

/**
 * Takes away everything of a tenant whose onboarding was given up; safe to repeat.
 * @param client as in migrateTenant
 * @throws TenantInUse
 */
export async function dropTenant(client: Client, tenantId: string): Promise<void> {
  const schema = tenantSchema(tenantId);
  await alone(client, async () => {
    await asOwner(client, async () => {
      await client.query('BEGIN');
      try {
        await dropRows(client, tenantId, schema);
        await client.query('COMMIT');
      } catch (error) {
        await client.query('ROLLBACK');
        throw error;
      }
    });
    for (const role of [schema, custodyRole(tenantId)]) {
      await client.query(`DROP ROLE IF EXISTS ${escapeIdentifier(role)}`);
    }
  });
}

/** Schema and rows go in one transaction: a job that dies in between leaves all of it. */
async function dropRows(client: Client, tenantId: string, schema: string): Promise<void> {
  const { rows } = await client.query<{ abandoned: boolean }>(
    `SELECT status = 'ended' AND activated_at IS NULL AS abandoned FROM kiff.tenants WHERE id = $1 FOR UPDATE`,
    [tenantId],
  );
  if (rows[0] === undefined) return; // an earlier try came this far
  if (!rows[0].abandoned) throw new TenantInUse('the onboarding was not given up');
  const exists = await client.query('SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1', [schema]);
  if (exists.rowCount === 1) {
    const used = await client.query(`SELECT FROM ${schema}.records UNION ALL SELECT FROM ${schema}.seals LIMIT 1`);
    if (used.rowCount !== 0) throw new TenantInUse('there are records or seals');
    await client.query(`DROP SCHEMA ${schema} CASCADE`);
  }
  await client.query('DELETE FROM kiff_migrations.done WHERE scope = $1', [`tenant:${tenantId}`]);
  await client.query('DELETE FROM kiff.logs WHERE tenant = $1', [tenantId]);
  await client.query('DELETE FROM kiff.tenants WHERE id = $1', [tenantId]);
}

async function asOwner<T>(client: Client, work: () => Promise<T>): Promise<T> {
  await client.query('SET ROLE kiff_owner');
  try {
    return await work();
  } finally {
    await client.query('RESET ROLE');
  }
}

/** One round trip and one commit: this is done for every tenant, by every run of the migration job. */
async function ensureLogin(client: Client, { user, password }: DatabaseLogin, group: string): Promise<void> {
  const role = escapeIdentifier(user);
  const known = await client.query('SELECT FROM pg_catalog.pg_roles WHERE rolname = $1', [user]);
  const statements = [
    ...(known.rowCount === 0 ? [`CREATE ROLE ${role} LOGIN NOINHERIT`] : []),
    `ALTER ROLE ${role} PASSWORD ${escapeLiteral(password)}`,
    ...RUNTIME_SETTINGS.map((setting) => `ALTER ROLE ${role} ${setting}`),
    `GRANT ${group} TO ${role} WITH INHERIT TRUE, SET FALSE, ADMIN FALSE`,
  ];
  // Several statements in one query are one transaction.
  await client.query(statements.join(';\n'));
}
