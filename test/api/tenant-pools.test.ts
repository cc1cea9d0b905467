import assert from 'node:assert/strict';
import { createTenantPools, type TenantLogin, type TenantPools } from '../../api/http/tenant-pools.ts';
import { tenantLogin } from '../../sql/login.ts';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';

function whose({ id }: TestTenant): TenantLogin {
  return { tenant: id, loginVersion: 1 };
}

describe('tenant pools', () => {
  let db: ProductDatabase;
  let tenants: TestTenant[];
  let pools: TenantPools;
  const login = (tenant: string, version: number) => tenantLogin(db.loginSecrets.tenant, tenant, version);

  before(async function () {
    this.timeout(60_000);
    db = await createProductDatabase();
    tenants = await Promise.all([db.createTenant(), db.createTenant(), db.createTenant()]);
  });
  beforeEach(() => {
    pools = createTenantPools({
      databaseUrl: db.urls.kiff_api,
      login,
      name: 'test-pools',
      incarnation: db.incarnation,
      connectionsPerTenant: 2,
      maxPools: 2,
    });
  });
  afterEach(() => pools.close());
  after(() => db.drop());

  const whoAmI = (tenant: TestTenant): Promise<string> =>
    pools.use(whose(tenant), async (pool) => {
      const { rows } = await pool.query<{ name: string }>('SELECT session_user::text AS name');
      return rows[0]!.name;
    });

  it('connect as the tenant itself, with the limits of a runtime login', async () => {
    for (const tenant of tenants) assert.equal(await whoAmI(tenant), tenant.role);
    const limits = await pools.use(whose(tenants[0]!), async (pool) => {
      const { rows } = await pool.query(
        `SELECT current_setting('search_path') AS path, current_setting('statement_timeout') AS statement,
                current_setting('transaction_timeout') AS transaction, current_setting('synchronous_commit') AS commit`,
      );
      return rows[0] as unknown;
    });
    assert.deepEqual(limits, { path: 'pg_catalog, pg_temp', statement: '5s', transaction: '5s', commit: 'on' });
  });

  it('are evicted when another tenant needs one, and opened again', async () => {
    for (const tenant of [...tenants, ...tenants]) assert.equal(await whoAmI(tenant), tenant.role);
    // Closing takes a moment; a pool that is never closed would keep this from ending.
    for (;;) {
      const [open] = await db.sql<{ roles: number }>(
        'SELECT count(DISTINCT usename)::integer AS roles FROM pg_stat_activity WHERE usename = ANY ($1)',
        [tenants.map(({ role }) => role)],
      );
      if (open!.roles <= 2) break;
    }
  });

  it('in use are never evicted: a third tenant gets a quick 503, and its turn later', async () => {
    let release!: () => void;
    const released = new Promise<void>((resolve) => (release = resolve));
    const busy = tenants.slice(0, 2).map((tenant) => pools.use(whose(tenant), () => released));
    await assert.rejects(whoAmI(tenants[2]!), { slug: 'overloaded', status: 503, retryAfter: 1 });
    assert.equal(await whoAmI(tenants[0]!), tenants[0]!.role);
    release();
    await Promise.all(busy);
    assert.equal(await whoAmI(tenants[2]!), tenants[2]!.role);
  });

  it('follow the login’s version: the old password stops working, the new one is derived', async () => {
    const wrong = { tenant: tenants[0]!.id, loginVersion: 2 };
    await assert.rejects(
      pools.use(wrong, (pool) => pool.query('SELECT')),
      { slug: 'unavailable' },
    );
  });

  it('say unavailable when the database is away', async () => {
    const away = createTenantPools({
      databaseUrl: 'postgres://kiff_api:x@127.0.0.1:1/kiff',
      login,
      name: 'test-pools',
      incarnation: db.incarnation,
    });
    const query = away.use(whose(tenants[0]!), (pool) => pool.query('SELECT'));
    await assert.rejects(query, { slug: 'unavailable', status: 503, retryAfter: 1 });
    await away.close();
  });

  it('leave errors of statements alone', async () => {
    const wrong = pools.use(whose(tenants[0]!), (pool) => pool.query('SELECT * FROM nowhere'));
    await assert.rejects(wrong, { code: '42P01' });
  });
});
