/** F43: the migration job over many tenants, as a process that is killed half way; and the API meanwhile. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { createApiKey } from '../../api/ingest/api-key.ts';
import { removePostgres, startPostgres, type Postgres } from '../../dev/postgres.ts';
import { packageRoot } from '../../dev/root.ts';
import { readMigrations } from '../../sql/migrate.ts';
import { PRODUCT } from '../../sql/prepare.ts';
import { LOGINS, type Login } from '../../sql/roles.ts';
import { migrateTenant } from '../../sql/tenant.ts';
import { startApiProcess, type ApiProcess } from '../api/api-process.ts';

const SECRET = '5e'.repeat(32);
const CONTRACT = `0x${'c0'.repeat(20)}` as const;
const TENANTS = ['aaa', 'bbb', 'ccc', 'ddd', 'eee'];
const password = (login: Login): string => `a-password-of-${login}`;
const all = readMigrations('tenant');

describe('migrations over all tenants', function () {
  this.timeout(60_000);
  let directory: string;
  let server: Postgres;
  let superuser: pg.Client;
  let migration: pg.Client;
  let api: ApiProcess;
  const keys = new Map<string, string>();
  const secrets = { tenant: Buffer.from(SECRET, 'hex'), custody: Buffer.from(SECRET, 'hex') };

  const urlOf = (login: Login): string => server.url(PRODUCT, login, password(login));

  function job(): { child: ChildProcess; ended: Promise<{ code: number | null; said: string }> } {
    const child = spawn(process.execPath, [join(packageRoot, 'dist/sql/main.js')], {
      env: {
        SUPERUSER_URL: server.superuserUrl,
        TENANT_LOGIN_SECRET: SECRET,
        CUSTODY_LOGIN_SECRET: SECRET,
        KIFF_HOST: 'kiff.test',
        CHAIN_ID: '31337',
        CONTRACT,
        PERIOD_SECONDS: '60',
        KIFF_INCARNATION: 'first',
        ...Object.fromEntries(LOGINS.map((login) => [`${login.toUpperCase()}_PASSWORD`, password(login)])),
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => (said += text));
    }
    return { child, ended: once(child, 'close').then(([code]) => ({ code: code as number | null, said })) };
  }

  const versions = async (): Promise<number[]> => {
    const { rows } = await superuser.query<{ schema_version: number }>(
      'SELECT schema_version FROM kiff.tenants ORDER BY id',
    );
    return rows.map(({ schema_version: version }) => version);
  };

  /** What each tenant's key gets, past the few seconds for which the API remembers what it knew. */
  async function answers(): Promise<number[]> {
    return Promise.all(TENANTS.map((id) => sealsOf(api, keys.get(id)!)));
  }

  async function untilAnswers(wanted: number[]): Promise<void> {
    while (JSON.stringify(await answers()) !== JSON.stringify(wanted)) await delay(100);
  }

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'kiff-tenant-migrations-'));
    chmodSync(directory, 0o711);
    server = await startPostgres({ dataDir: join(directory, 'postgres'), durable: false });
    assert.equal((await job().ended).code, 0);
    [superuser, migration] = await Promise.all([
      connect(new URL(`/${PRODUCT}`, server.superuserUrl).href),
      connect(urlOf('kiff_migrate')),
    ]);
    // As the version before this one left them.
    for (const id of TENANTS) {
      await migrateTenant(migration, id, secrets, all.slice(0, -1));
      await superuser.query(
        `INSERT INTO kiff.logs (tenant, origin, genesis_signer, log_id, first_period) VALUES ($1, $2, $3, $4, 0)`,
        [id, `kiff.test/t/${id}`, Buffer.alloc(20, 1), Buffer.from(id.padEnd(32, '.'))],
      );
      await superuser.query(`UPDATE kiff.tenants SET status = 'active', activated_at = now() WHERE id = $1`, [id]);
      const key = createApiKey(id);
      keys.set(id, key.key);
      await superuser.query('INSERT INTO kiff.api_keys (id, tenant, hash) VALUES ($1, $2, $3)', [key.id, id, key.hash]);
    }
    api = await startApiProcess({
      urls: { kiff_api: urlOf('kiff_api') },
      loginSecrets: secrets,
      incarnation: 'first',
      chainId: 31_337,
      contract: CONTRACT,
    });
  });
  after(async () => {
    await api?.stop();
    await Promise.all([superuser?.end(), migration?.end()]);
    await server?.stop();
    await removePostgres(join(directory, 'postgres'));
    rmSync(directory, { recursive: true, force: true });
  });

  it('killed with kill -9 half way, a run is resumed by the next; only lagging tenants are refused', async () => {
    assert.deepEqual(await answers(), [503, 503, 503, 503, 503], 'all lag');

    // Its third tenant's row is held, so that the run stands still there, its schema migrated and not yet marked.
    const holder = await connect(new URL(`/${PRODUCT}`, server.superuserUrl).href);
    await holder.query('BEGIN');
    await holder.query(`SELECT FROM kiff.tenants WHERE id = 'ccc' FOR UPDATE`);
    const killed = job();
    for (;;) {
      const { rowCount } = await superuser.query(
        `SELECT FROM pg_stat_activity WHERE usename = 'kiff_migrate' AND wait_event_type = 'Lock' AND query LIKE 'UPDATE kiff.tenants%'`,
      );
      if (rowCount === 1) break;
      await delay(20);
    }
    killed.child.kill('SIGKILL');
    await killed.ended;
    // The server ends the statement of a client that is gone only when it has its lock: let it go.
    await superuser.query(
      `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'kiff_migrate' AND wait_event_type = 'Lock'`,
    );
    await holder.query('ROLLBACK');
    await holder.end();
    const [old, now] = [all.length - 1, all.length];
    assert.deepEqual(await versions(), [now, now, old, old, old]);
    await untilAnswers([200, 200, 503, 503, 503]);

    const resumed = await job().ended;
    assert.equal(resumed.code, 0, resumed.said);
    assert.match(resumed.said, /5 tenants/);
    assert.deepEqual(await versions(), [now, now, now, now, now]);
    await untilAnswers([200, 200, 200, 200, 200]);
  });

  it('one that cannot be migrated is named and stays closed, and holds up nobody', async () => {
    // Two tenants lag; something in the first one's schema is in the way.
    for (const id of ['xxx', 'yyy']) await migrateTenant(migration, id, secrets, all.slice(0, 1));
    await superuser.query('CREATE FUNCTION kiff_t_xxx.collect(bigint) RETURNS text LANGUAGE sql RETURN 1::text');
    const stuck = await job().ended;
    assert.equal(stuck.code, 1);
    assert.match(stuck.said, /1 of 7 tenants lag and stay closed: xxx; the first: tenant:xxx: 003-seal\.sql failed/);
    assert.deepEqual((await versions()).slice(-2), [1, all.length]);

    await superuser.query('DROP FUNCTION kiff_t_xxx.collect(bigint)');
    const mended = await job().ended;
    assert.equal(mended.code, 0, mended.said);
    assert.deepEqual((await versions()).slice(-2), [all.length, all.length]);
  });
});

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  return client;
}

/** The status that a key gets for its tenant's seals. */
async function sealsOf(api: ApiProcess, key: string): Promise<number> {
  const { status } = await fetch(`${api.url}/v1/seals`, { headers: { authorization: `Bearer ${key}` } });
  return status;
}
