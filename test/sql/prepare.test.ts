/** The migration job as a process, on two servers: the product's and the signing journal's. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { removePostgres, startPostgres, type Postgres } from '../../dev/postgres.ts';
import { packageRoot } from '../../dev/root.ts';
import { JOURNAL, PRODUCT } from '../../sql/prepare.ts';
import { LOGINS, type Login } from '../../sql/roles.ts';
import { migrateTenant } from '../../sql/tenant.ts';

const password = (login: Login): string => `a-password-of-${login}`;
const SECRET = '5e'.repeat(32);

/** Runs the job with nothing but `env` in its environment. */
async function job(env: Record<string, string>): Promise<{ code: number; out: string; err: string }> {
  const child = spawn(process.execPath, [join(packageRoot, 'dist/sql/main.js')], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
  const [code] = (await once(child, 'close')) as [number];
  return { code, out, err };
}

async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}

function databaseOf(serverUrl: string, database: string): string {
  const url = new URL(serverUrl);
  url.pathname = `/${database}`;
  return url.href;
}

describe('the migration job', function () {
  this.timeout(60_000);
  let directory: string;
  let product: Postgres;
  let journal: Postgres;
  let env: Record<string, string>;

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'kiff-migration-job-'));
    chmodSync(directory, 0o711);
    [product, journal] = await Promise.all([
      startPostgres({ dataDir: join(directory, 'product'), durable: false }),
      startPostgres({ dataDir: join(directory, 'journal'), durable: false }),
    ]);
    env = {
      SUPERUSER_URL: product.superuserUrl,
      JOURNAL_SUPERUSER_URL: journal.superuserUrl,
      TENANT_LOGIN_SECRET: SECRET,
      CUSTODY_LOGIN_SECRET: SECRET,
      KIFF_HOST: 'kiff.test',
      CHAIN_ID: '31337',
      CONTRACT: `0x${'c0'.repeat(20)}`,
      PERIOD_SECONDS: '60',
      KIFF_INCARNATION: 'first',
      ...Object.fromEntries(LOGINS.map((login) => [`${login.toUpperCase()}_PASSWORD`, password(login)])),
    };
  });

  after(async () => {
    for (const [name, server] of [
      ['product', product],
      ['journal', journal],
    ] as const) {
      await server.stop();
      await removePostgres(join(directory, name));
    }
    rmSync(directory, { recursive: true, force: true });
  });

  it('brings both servers up, and finds nothing left to do the second time', async () => {
    const first = await job(env);
    assert.equal(first.code, 0, first.err);
    assert.match(first.out, /: [1-9]\d* migrations ran, 0 tenants/);
    const second = await job(env);
    assert.match(second.out, /: 0 migrations ran, 0 tenants/, second.err);
    const [row] = await query(
      product.url(PRODUCT, 'kiff_api', password('kiff_api')),
      'SELECT host, period_seconds FROM kiff.deployment',
    );
    assert.deepEqual(row, { host: 'kiff.test', period_seconds: 60 });
  });

  it('gives a login a password only on the server where it has business', async () => {
    const journalOf = (login: Login) => journal.url(JOURNAL, login, password(login));
    await query(journalOf('kiff_journal'), 'SELECT FROM journal.statements');
    await query(journalOf('kiff_journal_migrate'), 'SELECT 1');
    await query(journalOf('kiff_journal_recovery'), 'SELECT FROM journal.statements');
    for (const login of ['kiff_migrate', 'kiff_recovery', 'kiff_api', 'kiff_sealing', 'kiff_signing'] as const) {
      await assert.rejects(query(journalOf(login), 'SELECT 1'), { code: '28P01' }, login);
    }
    await assert.rejects(query(product.url(PRODUCT, 'kiff_journal', password('kiff_journal')), 'SELECT 1'), {
      code: '28P01',
    });
  });

  it('looks at the tenants that are there', async () => {
    const client = new pg.Client({ connectionString: product.url(PRODUCT, 'kiff_migrate', password('kiff_migrate')) });
    await client.connect();
    try {
      await migrateTenant(client, 'acme', { tenant: Buffer.from(SECRET, 'hex'), custody: Buffer.from(SECRET, 'hex') });
    } finally {
      await client.end();
    }
    assert.match((await job(env)).out, /: 0 migrations ran, 1 tenants/);
  });

  it('opens both new databases under the configured name, and neither under another one later', async () => {
    const opened = async () => [
      await query(product.url(PRODUCT, 'kiff_api', password('kiff_api')), `SELECT kiff.opened_as('first') AS open`),
      await query(journal.url(JOURNAL, 'kiff_journal', password('kiff_journal')), OPENED),
    ];
    const OPENED = `SELECT journal.opened_as('first') AS open`;
    assert.deepEqual(await opened(), [[{ open: true }], [{ open: true }]]);
    assert.equal((await job({ ...env, KIFF_INCARNATION: 'second' })).code, 0);
    assert.deepEqual(await opened(), [[{ open: true }], [{ open: true }]]);
  });

  it('does not declare a journal that was lost: there are logs, and it knows none (F47)', async () => {
    const opened = () =>
      query(
        journal.url(JOURNAL, 'kiff_journal', password('kiff_journal')),
        `SELECT journal.opened_as('first') AS open, (SELECT count(*)::integer FROM journal.logs) AS logs`,
      );
    await query(
      databaseOf(product.superuserUrl, PRODUCT),
      `INSERT INTO kiff.logs (tenant, origin, genesis_signer, log_id)
      VALUES ('acme', 'kiff.test/t/acme', decode(repeat('01', 20), 'hex'), decode(repeat('02', 32), 'hex'))`,
    );
    await query(journal.superuserUrl, `DROP DATABASE ${JOURNAL} WITH (FORCE)`);
    assert.equal((await job(env)).code, 0);
    assert.deepEqual(await opened(), [{ open: false, logs: 0 }]);

    // Control: without a log it would have been a new deployment.
    await query(databaseOf(product.superuserUrl, PRODUCT), 'DELETE FROM kiff.logs');
    assert.equal((await job(env)).code, 0);
    assert.deepEqual(await opened(), [{ open: true, logs: 0 }]);
  });

  it('leaves the database of another deployment alone', async () => {
    const { code, err } = await job({ ...env, PERIOD_SECONDS: '3600' });
    assert.equal(code, 1);
    assert.match(err, /belongs to another deployment/);
    const [row] = await query(
      product.url(PRODUCT, 'kiff_api', password('kiff_api')),
      'SELECT period_seconds FROM kiff.deployment',
    );
    assert.deepEqual(row, { period_seconds: 60 });
  });

  it('names every variable that is missing or wrong, and no value', async () => {
    const { KIFF_API_PASSWORD, ...rest } = env;
    const { code, err } = await job({ ...rest, CONTRACT: 'nowhere', KIFF_SEALING_PASSWORD: 'too/short' });
    assert.equal(code, 1);
    for (const name of ['KIFF_API_PASSWORD is missing', 'CONTRACT must', 'KIFF_SEALING_PASSWORD must']) {
      assert.ok(err.includes(name), err);
    }
    assert.ok(!err.includes('nowhere') && !err.includes('too/short') && !err.includes(String(KIFF_API_PASSWORD)));
  });
});
