/** A tenant's place in the database: its row in the directory, its logins, its schema. Run by the migration job. */
import type { Client } from 'pg';
import pg from 'pg';
import { custodyLogin, tenantLogin, type DatabaseLogin, type LoginSecrets } from './login.ts';
import { alone, migrate, readMigrations } from './migrate.ts';
import { RUNTIME_SETTINGS } from './roles.ts';

const { escapeIdentifier, escapeLiteral } = pg;

/**
 * Creates or completes a tenant's row, logins and schema; safe to repeat, and resumes where it was interrupted.
 * @param client connected to the product database as `kiff_migrate`
 */
export async function migrateTenant(client: Client, tenantId: string, secrets: LoginSecrets): Promise<void> {
  // Two jobs at once would fail where both change one row of the catalogue; so they wait for each other.
  await alone(client, () => makeTenant(client, tenantId, secrets));
}

async function makeTenant(client: Client, tenantId: string, secrets: LoginSecrets): Promise<void> {
  const migrations = readMigrations('tenant');
  await client.query('SET ROLE kiff_owner');
  await client.query('INSERT INTO kiff.tenants (id) VALUES ($1) ON CONFLICT (id) DO NOTHING', [tenantId]);
  const { rows } = await client.query<{ login_version: number }>(
    'SELECT login_version FROM kiff.tenants WHERE id = $1',
    [tenantId],
  );
  await client.query('RESET ROLE');
  const version = rows[0]!.login_version;
  await ensureLogin(client, tenantLogin(secrets.tenant, tenantId, version), 'kiff_tenant_logins');
  await ensureLogin(client, custodyLogin(secrets.custody, tenantId, version), 'kiff_custody_logins');

  await migrate(client, `tenant:${tenantId}`, migrations, 'kiff_owner', (sql) =>
    sql.replaceAll('{{tenant}}', tenantId),
  );
  await client.query('SET ROLE kiff_owner');
  await client.query('UPDATE kiff.tenants SET schema_version = $2 WHERE id = $1', [tenantId, migrations.length]);
  await client.query('RESET ROLE');
}

async function ensureLogin(client: Client, { user, password }: DatabaseLogin, group: string): Promise<void> {
  const role = escapeIdentifier(user);
  const known = await client.query('SELECT FROM pg_catalog.pg_roles WHERE rolname = $1', [user]);
  if (known.rowCount === 0) await client.query(`CREATE ROLE ${role} LOGIN NOINHERIT`);
  await client.query(`ALTER ROLE ${role} PASSWORD ${escapeLiteral(password)}`);
  for (const setting of RUNTIME_SETTINGS) await client.query(`ALTER ROLE ${role} ${setting}`);
  await client.query(`GRANT ${group} TO ${role} WITH INHERIT TRUE, SET FALSE, ADMIN FALSE`);
}
