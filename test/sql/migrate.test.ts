import assert from 'node:assert/strict';
import type pg from 'pg';
import { migrate, MigrationError, readMigrations, type Migration } from '../../sql/migrate.ts';
import { migrateTenant } from '../../sql/tenant.ts';
import { createProductDatabase, randomTenantId, type ProductDatabase } from '../product-database.ts';

const step = (version: number, sql: string): Migration => ({
  version,
  name: `00${version}-x.sql`,
  sql,
  sha256: `${version}:${sql}`,
});

describe('migrations', () => {
  let db: ProductDatabase;
  let client: pg.Client;

  before(async function () {
    this.timeout(60_000);
    db = await createProductDatabase();
    client = await db.connect(db.urls.kiff_migrate);
  });
  after(() => db.drop());

  const run = (scope: string, migrations: Migration[]): Promise<number[]> =>
    migrate(client, scope, migrations, 'kiff_owner');
  const exists = async (table: string): Promise<boolean> =>
    (await db.sql('SELECT FROM pg_tables WHERE schemaname = $1 AND tablename = $2', ['kiff', table])).length === 1;

  it('run once: a second time there is nothing to do', async () => {
    assert.deepEqual(await run('product', readMigrations('product')), []);
    const one = [step(1, 'CREATE TABLE kiff.once (a integer)')];
    assert.deepEqual(await run('once', one), [1]);
    assert.deepEqual(await run('once', one), []);
    assert.deepEqual(await run('once', [...one, step(2, 'ALTER TABLE kiff.once ADD b integer')]), [2]);
  });

  it('that were edited after they ran are refused', async () => {
    await run('edited', [step(1, 'SELECT 1')]);
    const edited = run('edited', [step(1, 'SELECT 2'), step(2, 'CREATE TABLE kiff.edited (a integer)')]);
    await assert.rejects(
      edited,
      (error) => error instanceof MigrationError && /001-x\.sql was edited/.test(error.message),
    );
    assert.ok(!(await exists('edited')));
  });

  it('refuse a database that is newer than they are', async () => {
    await run('newer', [step(1, 'SELECT 1'), step(2, 'SELECT 2')]);
    await assert.rejects(run('newer', [step(1, 'SELECT 1')]), /newer is at version 2, this code knows 1/);
  });

  it('that fail leave nothing of themselves, keep what ran before, and can be put right', async () => {
    const good = step(1, 'CREATE TABLE kiff.good (a integer)');
    const bad = step(2, 'CREATE TABLE kiff.bad (a integer); SELECT 1 / 0');
    await assert.rejects(run('failing', [good, bad]), /failing: 002-x\.sql failed/);
    assert.deepEqual([await exists('good'), await exists('bad')], [true, false]);
    assert.deepEqual(await run('failing', [good, step(2, 'CREATE TABLE kiff.bad (a integer)')]), [2]);
  });

  it('of two jobs at once run once, and tenants of several jobs at once all come up', async () => {
    const other = await db.connect(db.urls.kiff_migrate);
    const slow = [step(1, 'CREATE TABLE kiff.raced (a integer)')];
    const ran = await Promise.all([run('raced', slow), migrate(other, 'raced', slow, 'kiff_owner')]);
    assert.deepEqual(ran.flat(), [1]);

    const same = randomTenantId();
    const ids = [same, same, randomTenantId(), randomTenantId()];
    const jobs = await Promise.all(ids.map(() => db.connect(db.urls.kiff_migrate)));
    await Promise.all(jobs.map((job, at) => migrateTenant(job, ids[at]!, db.loginSecrets)));
    const tenants = await db.sql('SELECT id, schema_version FROM kiff.tenants WHERE id = ANY ($1) ORDER BY id', [ids]);
    const schema_version = readMigrations('tenant').length;
    assert.deepEqual(
      tenants,
      [...new Set(ids)].toSorted().map((id) => ({ id, schema_version })),
    );
  });

  it('give their objects to an owner that nobody can log in as', async () => {
    const owners = await db.sql<{ owner: string }>(
      `SELECT DISTINCT pg_get_userbyid(relowner)::text AS owner FROM pg_class
        WHERE relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname LIKE 'kiff%')`,
    );
    assert.deepEqual(owners, [{ owner: 'kiff_owner' }]);
    const [role] = await db.sql(`SELECT rolcanlogin, rolsuper FROM pg_roles WHERE rolname = 'kiff_owner'`);
    assert.deepEqual(role, { rolcanlogin: false, rolsuper: false });
  });
});
