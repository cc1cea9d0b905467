/** A tenant's place in the database: its row in the directory, its login, its schema. Run by the migration job. */
import type { Client } from 'pg';
import pg from 'pg';
import { tenantPassword, tenantSchema } from './login.ts';
import { alone, migrate, readMigrations } from './migrate.ts';
import { RUNTIME_SETTINGS } from './roles.ts';

const { escapeIdentifier, escapeLiteral } = pg;

/**
 * Creates or completes a tenant's row, login and schema; safe to repeat, and resumes where it was interrupted.
 * @param client connected to the product database as `kiff_migrate`
 */
export async function migrateTenant(client: Client, tenantId: string, secret: Uint8Array): Promise<void> {
  // Grants on the database are rows of one catalogue tuple: two jobs at once would fail, not wait.
  await alone(client, () => makeTenant(client, tenantId, secret));
}

async function makeTenant(client: Client, tenantId: string, secret: Uint8Array): Promise<void> {
  const role = tenantSchema(tenantId);
  const migrations = readMigrations('tenant');

  await client.query('SET ROLE kiff_owner');
  await client.query('INSERT INTO kiff.tenants (id) VALUES ($1) ON CONFLICT (id) DO NOTHING', [tenantId]);
  const { rows } = await client.query<{ login_version: number }>(
    'SELECT login_version FROM kiff.tenants WHERE id = $1',
    [tenantId],
  );
  await client.query('RESET ROLE');

  const password = tenantPassword(secret, tenantId, rows[0]!.login_version);
  const known = await client.query('SELECT FROM pg_catalog.pg_roles WHERE rolname = $1', [role]);
  if (known.rowCount === 0) await client.query(`CREATE ROLE ${escapeIdentifier(role)} LOGIN NOINHERIT`);
  await client.query(`ALTER ROLE ${escapeIdentifier(role)} PASSWORD ${escapeLiteral(password)}`);
  for (const setting of RUNTIME_SETTINGS) await client.query(`ALTER ROLE ${escapeIdentifier(role)} ${setting}`);
  await client.query(
    `DO $$ BEGIN EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), ${escapeLiteral(role)}); END $$`,
  );

  await migrate(client, `tenant:${tenantId}`, migrations, 'kiff_owner', (sql) =>
    sql.replaceAll('{{tenant}}', tenantId),
  );
  await client.query('SET ROLE kiff_owner');
  await client.query('UPDATE kiff.tenants SET schema_version = $2 WHERE id = $1', [tenantId, migrations.length]);
  await client.query('RESET ROLE');
}
