import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import {
  createTenantPools,
  type TenantLogin,
  type TenantPools,
  type TenantPoolsOptions,
} from '../../api/http/tenant-pools.ts';
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
    tenants = await Promise.all(Array.from({ length: 8 }, () => db.createTenant()));
  });
  const open = (options: Partial<TenantPoolsOptions> = {}): TenantPools =>
    createTenantPools({
      databaseUrl: db.urls.kiff_api,
      login,
      name: 'test-pools',
      incarnation: db.incarnation,
      connectionsPerTenant: 2,
      maxConnections: 4,
      ...options,
    });

  beforeEach(() => {
    pools = open();
  });
  afterEach(() => pools.close());
  after(() => db.drop());

  const session = (tenant: TestTenant, of = pools): Promise<{ name: string; pid: number }> =>
    of.use(whose(tenant), async (connection) => {
      const { rows } = await connection.query<{ name: string; pid: number }>(
        'SELECT session_user::text AS name, pg_backend_pid() AS pid',
      );
      return rows[0]!;
    });
  const whoAmI = async (tenant: TestTenant, of = pools): Promise<string> => (await session(tenant, of)).name;

  /** Takes a connection of a tenant and keeps it until the answer is called. */
  async function hold(tenant: TestTenant): Promise<() => Promise<void>> {
    let release!: () => void;
    const released = new Promise<void>((resolve) => (release = resolve));
    let held!: () => void;
    const holding = new Promise<void>((resolve) => (held = resolve));
    const work = pools.use(whose(tenant), async (connection) => {
      await connection.query('SELECT');
      held();
      await released;
    });
    await Promise.race([holding, work]);
    return async () => {
      release();
      await work;
    };
  }

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

  it('keep a connection for the next request, and take none for work that asks nothing', async () => {
    const first = await session(tenants[0]!);
    assert.deepEqual(await session(tenants[0]!), first);
    assert.equal(await pools.use(whose(tenants[1]!), async () => 'nothing asked'), 'nothing asked');
    assert.deepEqual(pools.size(), { pools: 1, connections: 1 });
  });

  describe('with more tenants than connections (F42)', () => {
    it('evict the least lately used that nobody works with, and open them again', async () => {
      const [a, b, c, d, e] = tenants as [TestTenant, TestTenant, TestTenant, TestTenant, TestTenant];
      const first = await session(a);
      for (const tenant of [b, c, d]) await whoAmI(tenant);
      assert.deepEqual(await session(a), first, 'four fit');
      await whoAmI(e); // b makes room: a was used since
      assert.deepEqual(pools.size(), { pools: 4, connections: 4 });
      assert.deepEqual(await session(a), first);
      for (const tenant of [...tenants, ...tenants]) assert.equal(await whoAmI(tenant), tenant.role);
      // Closing takes a moment; a connection that is never closed would keep this from ending.
      for (;;) {
        const [row] = await db.sql<{ count: number }>(
          `SELECT count(*) AS count FROM pg_stat_activity WHERE application_name = 'test-pools' AND usename = ANY ($1)`,
          [tenants.map(({ role }) => role)],
        );
        if (row!.count <= 4) break;
      }
    });

    it('tell a tenant that has none at once when all are at work, and serve it afterwards', async () => {
      const [a, b, c, d, late] = tenants as [TestTenant, TestTenant, TestTenant, TestTenant, TestTenant];
      const held = [];
      for (const tenant of [a, b, c, d]) held.push(await hold(tenant));
      await assert.rejects(whoAmI(late), { slug: 'overloaded', status: 503, retryAfter: 1 });
      assert.deepEqual(pools.size(), { pools: 4, connections: 4 });
      await held[0]!();
      assert.equal(await whoAmI(late), late.role);
      await Promise.all(held.slice(1).map((release) => release()));
    });

    it('let a tenant that has some wait for its own, first come first served, and not for ever', async () => {
      const [a] = tenants as [TestTenant];
      pools = open({ patienceMilliseconds: 300 });
      const held = [await hold(a), await hold(a)];
      const order: number[] = [];
      const waiting = [1, 2].map((n) => whoAmI(a).then(() => order.push(n)));
      await held[0]!();
      await Promise.all(waiting);
      assert.deepEqual(order, [1, 2]);
      held.push(await hold(a));
      await assert.rejects(whoAmI(a), { slug: 'overloaded' });
      await held[1]!();
      assert.equal(await whoAmI(a), a.role);
      await held[2]!();
    });

    it('neither mix tenants up nor dead-lock when everybody comes at once, again and again', async () => {
      let served = 0;
      let refused = 0;
      await Promise.all(
        Array.from({ length: 400 }, async (_, n) => {
          const tenant = tenants[n % tenants.length]!;
          for (;;) {
            try {
              assert.equal(await whoAmI(tenant), tenant.role);
              assert.ok(pools.size().connections <= 4);
              served++;
              return;
            } catch (error) {
              if ((error as { slug?: string }).slug !== 'overloaded') throw error;
              refused++;
              await delay(5);
            }
          }
        }),
      );
      assert.equal(served, 400);
      assert.ok(refused > 0, 'control: there was not room for all');
    });
  });

  it('cost nothing once their tenants are idle', async () => {
    pools = open({ idleMilliseconds: 50 });
    for (const tenant of tenants.slice(0, 4)) await whoAmI(tenant);
    assert.ok(pools.size().pools > 0, 'control: the last one is kept a while');
    while (pools.size().pools > 0) await delay(10);
    assert.equal(await whoAmI(tenants[0]!), tenants[0]!.role);
  });

  it('replace a connection that has lived long enough', async () => {
    pools = open({ lifetimeSeconds: 1 });
    const { pid } = await session(tenants[0]!);
    while ((await session(tenants[0]!)).pid === pid) await delay(50);
  });

  it('survive a connection that the server ends between two questions', async () => {
    const work = pools.use(whose(tenants[0]!), async (connection) => {
      const { rows } = await connection.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
      await db.sql('SELECT pg_terminate_backend($1, 5000)', [rows[0]!.pid]);
      await connection.query('SELECT');
    });
    await assert.rejects(work, { slug: 'unavailable' });
    assert.equal(await whoAmI(tenants[0]!), tenants[0]!.role);
  });

  it('follow the login’s version: the old password stops working, the new one is derived', async () => {
    const wrong = { tenant: tenants[0]!.id, loginVersion: 2 };
    await assert.rejects(
      pools.use(wrong, (pool) => pool.query('SELECT')),
      { slug: 'unavailable' },
    );
    assert.deepEqual(pools.size(), { pools: 0, connections: 0 });
  });

  it('say unavailable when the database is away', async () => {
    const away = open({ databaseUrl: 'postgres://kiff_api:x@127.0.0.1:1/kiff' });
    const query = away.use(whose(tenants[0]!), (pool) => pool.query('SELECT'));
    await assert.rejects(query, { slug: 'unavailable', status: 503, retryAfter: 1 });
    await away.close();
  });

  it('leave errors of statements alone, and keep the connection', async () => {
    const { pid } = await session(tenants[0]!);
    const wrong = pools.use(whose(tenants[0]!), (pool) => pool.query('SELECT * FROM nowhere'));
    await assert.rejects(wrong, { code: '42P01' });
    assert.equal((await session(tenants[0]!)).pid, pid);
  });
});
