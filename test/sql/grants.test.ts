import assert from 'node:assert/strict';
import pg from 'pg';
import { hashApiKey } from '../../api/ingest/api-key.ts';
import { custodyRole } from '../../sql/login.ts';
import { LOGINS } from '../../sql/roles.ts';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { accept } from './batch.ts';

const DENIED = { code: '42501' };
const TABLES = ['log_head', 'records', 'bodies', 'tiles', 'seals', 'events'];

describe('who may do what in the product database', () => {
  let db: ProductDatabase;
  let tenant: TestTenant;
  let other: TestTenant;

  before(async function () {
    this.timeout(60_000);
    db = await createProductDatabase();
    tenant = await db.createTenant();
    other = await db.createTenant();
  });
  after(() => db.drop());

  describe('a tenant’s login', () => {
    let client: pg.Client;
    const denied = (statement: string): Promise<void> => assert.rejects(client.query(statement), DENIED, statement);

    before(async () => {
      client = await db.connect(tenant.url);
    });

    it('may accept and read its own log (control)', async () => {
      assert.equal((await accept(client, tenant, ['a']))[0]!.outcome, 'accepted');
      for (const table of TABLES) await client.query(`SELECT * FROM ${tenant.role}.${table}`);
    });

    it('writes no table, not even its own', async () => {
      for (const table of TABLES) {
        await denied(`INSERT INTO ${tenant.role}.${table} DEFAULT VALUES`);
        await denied(`DELETE FROM ${tenant.role}.${table}`);
        await denied(`TRUNCATE ${tenant.role}.${table}`);
        await denied(`BEGIN; LOCK TABLE ${tenant.role}.${table} IN ROW SHARE MODE`);
        await client.query('ROLLBACK');
      }
      await denied(`UPDATE ${tenant.role}.log_head SET size = 0`);
      await denied(`UPDATE ${tenant.role}.bodies SET salt = salt`);
      await denied(`UPDATE ${tenant.role}.seals SET level = 'final'`);
      await denied(`SELECT FROM ${tenant.role}.log_head FOR UPDATE`);
      for (const table of ['tenants', 'logs', 'api_keys', 'deployment']) await denied(`DELETE FROM kiff.${table}`);
      await denied(`CREATE TABLE ${tenant.role}.mine (a integer)`);
      await denied('CREATE TEMPORARY TABLE mine (a integer)');
      await denied('CREATE SCHEMA mine');
      await denied('CREATE TABLE public.mine (a integer)');
    });

    it('calls no step of sealing', async () => {
      await denied(`SELECT ${tenant.role}.collect(0)`);
      await denied(`SELECT ${tenant.role}.record_root(1, '\\x00')`);
      await denied(`SELECT ${tenant.role}.record_signature(1, '', '', 0, '', '', '')`);
      await denied(`SELECT kiff.set_levels('{}', '{}', '{}', '{}', '{}', '{}', '{}')`);
      await denied(`SELECT kiff.activate_tenant('${tenant.id}')`);
      await denied(`SELECT kiff.find_api_key('')`);
    });

    it('does not reach another tenant’s log', async () => {
      for (const table of TABLES) await denied(`SELECT FROM ${other.role}.${table}`);
      await assert.rejects(accept(client, other, ['x']), DENIED);
    });

    it('sees its own rows of the directory and no others', async () => {
      assert.deepEqual((await client.query('SELECT id FROM kiff.tenants')).rows, [{ id: tenant.id }]);
      assert.deepEqual((await client.query('SELECT tenant FROM kiff.logs')).rows, [{ tenant: tenant.id }]);
      await denied('SELECT FROM kiff.api_keys');
      assert.equal((await db.sql('SELECT FROM kiff.tenants')).length, 2, 'control: there are two');
    });

    it('stays itself, whatever it says: no SET ROLE, and RESET ROLE changes nothing', async () => {
      for (const role of [other.role, 'kiff_owner', 'kiff_api', 'kiff_sealing', 'kiff_migrate', 'postgres']) {
        await denied(`SET ROLE ${role}`);
        await denied(`SET SESSION AUTHORIZATION ${role}`);
      }
      await client.query('RESET ROLE');
      const { rows } = await client.query(
        'SELECT session_user::text, current_user::text, kiff.session_tenant() AS tenant',
      );
      assert.deepEqual(rows, [{ session_user: tenant.role, current_user: tenant.role, tenant: tenant.id }]);
    });

    it('does not get in with another tenant’s password', async () => {
      const url = new URL(tenant.url);
      url.password = new URL(other.url).password;
      const wrong = new pg.Client(url.href);
      await assert.rejects(wrong.connect(), { code: '28P01' });
    });
  });

  it('the tenant of a session is its login, even where SET ROLE is possible', async () => {
    const superuser = await db.connect(db.superuserUrl);
    await superuser.query(`SET ROLE ${tenant.role}`);
    const { rows } = await superuser.query('SELECT current_user::text, kiff.session_tenant() AS tenant');
    assert.deepEqual(rows, [{ current_user: tenant.role, tenant: null }]);
    assert.deepEqual((await superuser.query('SELECT FROM kiff.tenants')).rowCount, 0);
    await superuser.end();
  });

  it('the API’s login looks a key up by its hash, and sees no tenant, no key list and no log', async () => {
    const api = await db.connect(db.urls.kiff_api);
    const find = (key: string) => api.query('SELECT key_id, tenant FROM kiff.find_api_key($1)', [hashApiKey(key)]);
    assert.deepEqual((await find(tenant.apiKey)).rows, [{ key_id: tenant.keyId, tenant: tenant.id }]);
    assert.deepEqual((await find('something else')).rows, []);
    for (const statement of [
      'SELECT FROM kiff.tenants',
      'SELECT FROM kiff.logs',
      'SELECT FROM kiff.api_keys',
      `SELECT FROM ${tenant.role}.records`,
      `SET ROLE ${tenant.role}`,
      `SELECT kiff.open_log('x', 'x', '', '')`,
    ]) {
      await assert.rejects(api.query(statement), DENIED, statement);
    }
    await assert.rejects(accept(api, tenant, ['x']), DENIED);
  });

  it('the workers read no body, and each does only its own step', async () => {
    const may: Record<string, [string, boolean][]> = {
      kiff_sealing: [
        [`SELECT FROM ${tenant.role}.records`, true],
        [`SELECT FROM ${tenant.role}.bodies`, false],
        [`UPDATE ${tenant.role}.seals SET level = 'final'`, false],
        [`UPDATE ${tenant.role}.log_head SET size = 0`, false],
        [`DELETE FROM ${tenant.role}.records`, false],
        [`SELECT ${tenant.role}.record_signature(1, '', '', 0, '', '', '')`, false],
      ],
      kiff_signing: [
        [`SELECT FROM ${tenant.role}.seals`, true],
        [`SELECT FROM ${tenant.role}.records`, true],
        [`SELECT FROM ${tenant.role}.unkept_commitments(0, 1)`, true],
        [`SELECT FROM ${tenant.role}.bodies`, false],
        [`UPDATE ${tenant.role}.records SET entry = entry`, false],
        [`SELECT ${tenant.role}.collect(0)`, false],
        [`UPDATE ${tenant.role}.tiles SET hashes = hashes`, false],
      ],
      kiff_anchoring: [
        ['SELECT FROM kiff.seals_to_anchor(10)', true],
        [`SELECT FROM ${tenant.role}.seals`, false],
        [`SELECT FROM ${tenant.role}.bodies`, false],
        ['UPDATE kiff.wallets SET holder = holder', false],
        ['DELETE FROM kiff.transactions', false],
      ],
    };
    for (const [login, statements] of Object.entries(may)) {
      const client = await db.connect(db.urls[login as keyof typeof db.urls]);
      for (const [statement, allowed] of statements) {
        if (allowed) await client.query(statement);
        else await assert.rejects(client.query(statement), DENIED, `${login}: ${statement}`);
      }
      await assert.rejects(accept(client, tenant, ['x']), DENIED);
    }
  });

  it('no runtime login owns anything, is a member of more than its tenants’ group, or may go without limits', async () => {
    const tenantLogins = [tenant.role, custodyRole(tenant.id)];
    const logins = [...LOGINS.filter((login) => !/(migrate|recovery)$/.test(login)), ...tenantLogins];
    const roles = await db.sql<{ name: string; settings: string[] }>(
      `SELECT rolname::text AS name, rolconfig AS settings FROM pg_roles
        WHERE rolname = ANY ($1) AND NOT (rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls OR rolinherit)`,
      [logins],
    );
    assert.deepEqual(roles.map(({ name }) => name).toSorted(), logins.toSorted());
    for (const { settings } of roles) {
      assert.deepEqual(settings.toSorted(), [
        'client_connection_check_interval=1s',
        'idle_in_transaction_session_timeout=5s',
        'search_path=pg_catalog, pg_temp',
        'statement_timeout=5s',
        'synchronous_commit=on',
        'transaction_timeout=5s',
      ]);
    }
    const owned = await db.sql(`SELECT relname FROM pg_class WHERE pg_get_userbyid(relowner) = ANY ($1)`, [logins]);
    assert.deepEqual(owned, []);
    // A group gives what it is granted and can be neither become nor given on.
    const member = await db.sql(
      `SELECT pg_get_userbyid(member)::text AS login, pg_get_userbyid(roleid)::text AS of, set_option, admin_option
         FROM pg_auth_members WHERE pg_get_userbyid(member) = ANY ($1) ORDER BY 1`,
      [logins],
    );
    const plain = { set_option: false, admin_option: false };
    assert.deepEqual(member, [
      { login: custodyRole(tenant.id), of: 'kiff_custody_logins', ...plain },
      { login: tenant.role, of: 'kiff_tenant_logins', ...plain },
    ]);
  });

  it('no function is everybody’s but session_tenant and opened_as, and every SECURITY DEFINER one pins its search_path', async () => {
    const everybodys = () =>
      db.sql<{ name: string }>(
        `SELECT p.oid::regprocedure::text AS name FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
          WHERE n.nspname LIKE 'kiff%' AND EXISTS
            (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee = 0)`,
      );
    const unpinned = () =>
      db.sql<{ name: string }>(
        `SELECT p.oid::regprocedure::text AS name FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
          WHERE n.nspname LIKE 'kiff%' AND p.prosecdef
            AND NOT 'search_path=pg_catalog, pg_temp' = ANY (coalesce(p.proconfig, '{}'))`,
      );
    assert.deepEqual((await everybodys()).map(({ name }) => name).toSorted(), [
      'kiff.opened_as(text)',
      'kiff.session_tenant()',
    ]);
    assert.deepEqual(await unpinned(), []);

    // Control: a careless function is found by both.
    await db.sql('CREATE FUNCTION kiff.careless() RETURNS integer LANGUAGE sql SECURITY DEFINER AS $$ SELECT 1 $$');
    assert.ok((await everybodys()).some(({ name }) => name === 'kiff.careless()'));
    assert.deepEqual(await unpinned(), [{ name: 'kiff.careless()' }]);
    await db.sql('DROP FUNCTION kiff.careless()');
  });

  it('the product’s logins do not reach the journal, nor its login the product: each is let in by name', async () => {
    for (const url of [tenant.url, tenant.custodyUrl, db.urls.kiff_api, db.urls.kiff_operator]) {
      const journal = new URL(url);
      journal.pathname = new URL(db.journalSuperuserUrl).pathname;
      await assert.rejects(new pg.Client(journal.href).connect(), DENIED);
    }
    const product = new URL(db.urls.kiff_journal);
    product.pathname = new URL(db.superuserUrl).pathname;
    await assert.rejects(new pg.Client(product.href).connect(), DENIED);
  });
});
