/**
 * A backup of a database, and its restoration: a real older copy in the place of the database, under the same name, as an
 * operator would put it there. (A copy of a database, so its identity is another one, as that of a dump is.)
 */
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { withClient } from '../dev/databases.ts';
import { bootstrapCluster } from '../sql/roles.ts';
import { migrateTenant } from '../sql/tenant.ts';
import { PASSWORDS, type ProductDatabase } from './product-database.ts';

export interface Backup {
  /** Throws the database away and puts the copy in its place; every open connection breaks. Once. */
  restore(): Promise<void>;
}

/**
 * Copies a database of a server, and can put the copy back. What is not part of a database's content, such as who may connect, is the
 * migration job's to bring.
 * @param url of the database, as the superuser's
 */
export async function copyDatabase(url: string): Promise<Backup> {
  const plain = nameIn(url);
  const server = new URL(url);
  server.pathname = '/postgres';
  const name = pg.escapeIdentifier(plain);
  const copy = pg.escapeIdentifier(`${plain}_${randomBytes(4).toString('hex')}`);
  await withClient(server.href, async (client) => {
    // A database can be copied only while nobody is connected.
    await client.query(`ALTER DATABASE ${name} ALLOW_CONNECTIONS false`);
    await client.query('SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1', [plain]);
    await client.query(`CREATE DATABASE ${copy} TEMPLATE ${name}`);
    await client.query(`ALTER DATABASE ${name} ALLOW_CONNECTIONS true`);
  });
  return {
    restore: () =>
      withClient(server.href, async (client) => {
        const { rows } = await client.query<{ owner: string }>(
          'SELECT pg_get_userbyid(datdba) AS owner FROM pg_database WHERE datname = $1',
          [plain],
        );
        await client.query(`DROP DATABASE ${name} WITH (FORCE)`);
        await client.query(`ALTER DATABASE ${copy} RENAME TO ${name}`);
        await client.query(`ALTER DATABASE ${name} OWNER TO ${pg.escapeIdentifier(rows[0]!.owner)}`);
      }),
  };
}

/** @param which the product database, or the journal */
export async function takeBackup(db: ProductDatabase, which: 'product' | 'journal' = 'product'): Promise<Backup> {
  const backup = await copyDatabase(which === 'product' ? db.superuserUrl : db.journalSuperuserUrl);
  const names = { product: nameIn(db.superuserUrl), journal: nameIn(db.journalSuperuserUrl) };
  return {
    async restore() {
      await backup.restore();
      // What the migration job does after a restore.
      const server = new URL(db.superuserUrl);
      server.pathname = '/postgres';
      await withClient(server.href, (client) => bootstrapCluster(client, { ...names, passwords: PASSWORDS }));
      if (which === 'journal') return;
      const tenants = await db.sql<{ id: string }>('SELECT id FROM kiff.tenants ORDER BY id');
      await withClient(db.urls.kiff_migrate, async (client) => {
        for (const { id } of tenants) await migrateTenant(client, id, db.loginSecrets);
      });
    },
  };
}

const nameIn = (url: string): string => new URL(url).pathname.slice(1);
