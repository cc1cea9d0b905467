/**
 * A backup of a test's product database, and its restoration: a real older copy in the place of the database, under the same
 * name, as an operator would put it there. (A copy of a database, so its identity is another one, as that of a dump is.)
 */
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { bootstrapCluster } from '../sql/roles.ts';
import { migrateTenant } from '../sql/tenant.ts';
import { PASSWORDS, type ProductDatabase } from './product-database.ts';

export interface Backup {
  /** Throws the database away and puts the copy in its place; every open connection breaks. Once. */
  restore(): Promise<void>;
}

/** @param which the product database, or the journal */
export async function takeBackup(db: ProductDatabase, which: 'product' | 'journal' = 'product'): Promise<Backup> {
  const names = { product: nameIn(db.superuserUrl), journal: nameIn(db.journalSuperuserUrl) };
  const name = pg.escapeIdentifier(names[which]);
  const copy = pg.escapeIdentifier(`${names[which]}_${randomBytes(4).toString('hex')}`);
  await inCluster(db, async (client) => {
    // A database can be copied only while nobody is connected.
    await client.query(`ALTER DATABASE ${name} ALLOW_CONNECTIONS false`);
    await client.query('SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1', [
      names[which],
    ]);
    await client.query(`CREATE DATABASE ${copy} TEMPLATE ${name}`);
    await client.query(`ALTER DATABASE ${name} ALLOW_CONNECTIONS true`);
  });
  return {
    async restore() {
      const owner = which === 'product' ? 'kiff_owner' : 'kiff_journal_owner';
      await inCluster(db, async (client) => {
        await client.query(`DROP DATABASE ${name} WITH (FORCE)`);
        await client.query(`ALTER DATABASE ${copy} RENAME TO ${name}`);
        await client.query(`ALTER DATABASE ${name} OWNER TO ${owner}`);
        // What the migration job does after a restore: who may connect is not part of a database's content.
        await bootstrapCluster(client, { ...names, passwords: PASSWORDS });
      });
      if (which === 'journal') return;
      const tenants = await db.sql<{ id: string }>('SELECT id FROM kiff.tenants ORDER BY id');
      const client = await db.connect(db.urls.kiff_migrate);
      for (const { id } of tenants) await migrateTenant(client, id, db.loginSecrets);
      await client.end();
    },
  };
}

const nameIn = (url: string): string => new URL(url).pathname.slice(1);

async function inCluster(db: ProductDatabase, work: (client: pg.Client) => Promise<void>): Promise<void> {
  const url = new URL(db.superuserUrl);
  url.pathname = '/postgres';
  const client = new pg.Client(url.href);
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}
