/**
 * Runs numbered SQL files, each in one transaction, and remembers their hashes. It refuses a file that was edited after
 * it ran, and a database that is newer than this code.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Client } from 'pg';
import { sqlDirectory } from './directory.ts';

export interface Migration {
  version: number;
  name: string;
  sql: string;
  /** SHA-256 of the file's bytes, 64 hex digits. */
  sha256: string;
}

export class MigrationError extends Error {
  override name = 'MigrationError';
}

/** The files of one set, in order. Their numbers have no gaps. */
export function readMigrations(set: 'product' | 'journal' | 'tenant'): Migration[] {
  const directory = join(sqlDirectory(), set);
  const files = readdirSync(directory).filter((file) => file.endsWith('.sql'));
  return files.toSorted().map((name, index) => {
    const version = Number(/^(\d{3})-[a-z-]+\.sql$/.exec(name)?.[1]);
    if (version !== index + 1) throw new MigrationError(`${set}/${name}: expected number ${index + 1}`);
    const sql = readFileSync(join(directory, name), 'utf8');
    return { version, name, sql, sha256: createHash('sha256').update(sql).digest('hex') };
  });
}

/**
 * Brings one scope of a database to the newest version.
 * @param scope what the migrations belong to: `product`, `journal`, or `tenant:<id>`
 * @param render turns a file's text into the statements to run (tenant files carry a placeholder)
 * @param owner the role that will own what is created
 * @returns the versions that ran now
 * @throws MigrationError when a file that ran was edited, or the database is newer than the files
 */
export async function migrate(
  client: Client,
  scope: string,
  migrations: Migration[],
  owner: 'kiff_owner' | 'kiff_journal_owner',
  render: (sql: string) => string = (sql) => sql,
): Promise<number[]> {
  return alone(client, async () => {
    await client.query(`SET ROLE ${owner}`);
    try {
      return await runPending(client, scope, migrations, render);
    } finally {
      await client.query('RESET ROLE');
    }
  });
}

/**
 * Two migration jobs at once wait for each other here; the second finds nothing left to do. May be nested. Only the
 * migration job takes advisory locks.
 */
export async function alone<T>(client: Client, work: () => Promise<T>): Promise<T> {
  const lock = `pg_catalog.hashtextextended('kiff.migrate', 0)`;
  await client.query(`SELECT pg_catalog.pg_advisory_lock(${lock})`);
  try {
    return await work();
  } finally {
    await client.query(`SELECT pg_catalog.pg_advisory_unlock(${lock})`);
  }
}

async function runPending(
  client: Client,
  scope: string,
  migrations: Migration[],
  render: (sql: string) => string,
): Promise<number[]> {
  await client.query(`
      CREATE SCHEMA IF NOT EXISTS kiff_migrations;
      CREATE TABLE IF NOT EXISTS kiff_migrations.done (
        scope text NOT NULL, version integer NOT NULL, name text NOT NULL, sha256 text NOT NULL,
        ran_at timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (scope, version))`);
  const { rows } = await client.query<{ version: number; sha256: string }>(
    'SELECT version, sha256 FROM kiff_migrations.done WHERE scope = $1 ORDER BY version',
    [scope],
  );
  const newest = rows.at(-1)?.version ?? 0;
  if (newest > migrations.length) {
    throw new MigrationError(`${scope} is at version ${newest}, this code knows ${migrations.length}`);
  }
  for (const { version, sha256 } of rows) {
    if (migrations[version - 1]?.sha256 !== sha256) {
      throw new MigrationError(`${scope}: ${migrations[version - 1]?.name} was edited after it ran`);
    }
  }
  const ran: number[] = [];
  for (const migration of migrations.slice(newest)) {
    await client.query('BEGIN');
    try {
      await runMigration(client, scope, migration, render);
      await client.query('COMMIT');
    } catch (error) {
      await client.query('ROLLBACK');
      throw new MigrationError(`${scope}: ${migration.name} failed`, { cause: error });
    }
    ran.push(migration.version);
  }
  return ran;
}

/** Runs one file and notes that it ran, within the caller's transaction. */
export async function runMigration(
  client: Client,
  scope: string,
  { sql, version, name, sha256 }: Migration,
  render: (sql: string) => string,
): Promise<void> {
  await client.query(render(sql));
  await client.query('INSERT INTO kiff_migrations.done (scope, version, name, sha256) VALUES ($1, $2, $3, $4)', [
    scope,
    version,
    name,
    sha256,
  ]);
}
