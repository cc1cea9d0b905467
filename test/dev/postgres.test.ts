import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { serverAccount } from '../../dev/postgres-host.ts';
import { removePostgres, startPostgres, type Postgres, type PostgresOptions } from '../../dev/postgres.ts';
import { processBirth } from '../../dev/process-identity.ts';

const asRoot = process.getuid?.() === 0;

describe('dev/postgres', function () {
  this.timeout(60_000);
  let directory: string;
  let servers: { server: Postgres; dataDir: string }[];

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'kiff-cloud-postgres-'));
    chmodSync(directory, 0o711);
    servers = [];
  });

  afterEach(async () => {
    await Promise.all(servers.map(({ server }) => server.stop()));
    for (const { dataDir } of servers) await removePostgres(dataDir);
    rmSync(directory, { recursive: true, force: true });
  });

  async function start(options: Partial<PostgresOptions> = {}): Promise<Postgres> {
    const dataDir = options.dataDir ?? join(directory, 'data');
    const server = await startPostgres({ durable: false, ...options, dataDir });
    servers.push({ server, dataDir });
    return server;
  }

  it('keeps what was committed when it is stopped and started', async () => {
    const first = await start();
    await query(first.superuserUrl, 'CREATE TABLE kept AS SELECT 42 AS answer');
    const pid = postmaster(join(directory, 'data'));
    await first.stop();
    await first.stop();
    assert.equal(processBirth(pid), undefined, 'nothing is left running');

    const second = await start({ durable: true });
    assert.deepEqual(await query(second.superuserUrl, 'SELECT answer FROM kept'), [{ answer: 42 }]);
    assert.deepEqual(
      await query(
        second.superuserUrl,
        `SELECT current_setting('synchronous_commit') AS sync, current_setting('fsync') AS fsync, current_setting('TimeZone') AS zone`,
      ),
      [{ sync: 'on', fsync: 'on', zone: 'UTC' }],
    );
  });

  it('admits nobody without the password, and listens on 127.0.0.1 only', async () => {
    const server = await start();
    const file = join(directory, 'data.password');
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.ok(server.superuserUrl.includes(`:${readFileSync(file, 'utf8')}@127.0.0.1:${server.port}/`));
    await assert.rejects(query(server.url('postgres', 'postgres', 'wrong'), 'SELECT 1'), { code: '28P01' });
    assert.deepEqual(
      await query(
        server.superuserUrl,
        `SELECT current_setting('listen_addresses') AS tcp, current_setting('unix_socket_directories') AS unix,
           (SELECT array_agg(DISTINCT auth_method) FROM pg_hba_file_rules) AS auth`,
      ),
      [{ tcp: '127.0.0.1', unix: '', auth: ['scram-sha-256'] }],
    );
  });

  it('comes back on its port after a crash, without what was not committed', async () => {
    const server = await start();
    await query(server.superuserUrl, 'CREATE TABLE kept (n int)');
    const client = await connect(server.superuserUrl);
    await client.query('INSERT INTO kept VALUES (1)');
    await client.query('BEGIN');
    await client.query('INSERT INTO kept VALUES (2)');
    await server.restart({ mode: 'immediate' });
    assert.deepEqual(await query(server.superuserUrl, 'SELECT n FROM kept'), [{ n: 1 }]);
    assert.match(readFileSync(server.logFile, 'utf8'), /not properly shut down/);
  });

  it('starts after a kill -9 of the server', async () => {
    const server = await start();
    await query(server.superuserUrl, 'CREATE TABLE kept (n int)');
    process.kill(postmaster(join(directory, 'data')), 'SIGKILL');
    const again = await start();
    assert.deepEqual(await query(again.superuserUrl, 'SELECT n FROM kept'), []);
  });

  it('takes over from a supervisor that was killed and left its server running', async () => {
    const script = `
      import { startPostgres } from ${JSON.stringify(new URL('../../dev/postgres.js', import.meta.url).href)};
      await startPostgres({ dataDir: ${JSON.stringify(join(directory, 'data'))}, durable: false });
      console.log('up');
      setInterval(() => {}, 1000);`;
    const supervisor = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(supervisor.stdout, 'data');
    supervisor.kill('SIGKILL');
    await once(supervisor, 'exit');
    const left = postmaster(join(directory, 'data'));
    assert.notEqual(processBirth(left), undefined);

    const server = await start();
    assert.equal(processBirth(left), undefined);
    assert.deepEqual(await query(server.superuserUrl, 'SELECT 1 AS one'), [{ one: 1 }]);
  });

  it('leaves nothing running when the supervisor dies of an error', async () => {
    const script = `
      import { startPostgres } from ${JSON.stringify(new URL('../../dev/postgres.js', import.meta.url).href)};
      await startPostgres({ dataDir: ${JSON.stringify(join(directory, 'data'))}, durable: false });
      console.log((await import('node:fs')).readFileSync(${JSON.stringify(join(directory, 'data/postmaster.pid'))}, 'utf8'));
      throw new Error('a bug');`;
    const supervisor = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const [said] = (await once(supervisor.stdout, 'data')) as [Buffer];
    await once(supervisor, 'exit');
    assert.equal(supervisor.exitCode, 1);
    const pid = Number(said.toString().split('\n')[0]);
    while (processBirth(pid) !== undefined) await delay(10);
    assert.equal(existsSync(join(directory, 'data/postmaster.pid')), false, 'it was stopped, not killed');
    await removePostgres(join(directory, 'data'));
  });

  it('does not take a process that has the old number for its server', async () => {
    const server = await start();
    await server.stop();
    const bystander = spawn('sleep', ['60'], { stdio: 'ignore' });
    await once(bystander, 'spawn');
    try {
      writeFileSync(join(directory, 'data/postmaster.pid'), `${bystander.pid}\n${join(directory, 'data')}\n`);
      const again = await start();
      assert.deepEqual(await query(again.superuserUrl, 'SELECT 1 AS one'), [{ one: 1 }]);
      assert.notEqual(processBirth(bystander.pid ?? 0), undefined, 'it was not signalled');
    } finally {
      bystander.kill('SIGKILL');
    }
  });

  it('runs two side by side', async () => {
    const [a, b] = await Promise.all([
      start({ dataDir: join(directory, 'a') }),
      start({ dataDir: join(directory, 'b') }),
    ]);
    assert.notEqual(a.port, b.port);
    for (const server of [a, b]) assert.deepEqual(await query(server.superuserUrl, 'SELECT 1 AS one'), [{ one: 1 }]);
    await assert.rejects(query(a.superuserUrl.replace(`:${a.port}/`, `:${b.port}/`), 'SELECT 1'), { code: '28P01' });
  });

  it('says why it did not start', async () => {
    const server = await start();
    await assert.rejects(
      start({ dataDir: join(directory, 'other'), port: server.port }),
      /did not start[^]*Address already in use/,
    );
    await removePostgres(join(directory, 'other'));
  });

  it('as root, works below a directory that is private to root', async function () {
    if (!asRoot) this.skip();
    const closed = join(directory, 'closed');
    mkdirSync(closed, { mode: 0o700 });
    const dataDir = join(closed, 'data');
    const server = await start({ dataDir });
    assert.ok(lstatSync(dataDir).isSymbolicLink());
    const place = realpathSync(dataDir);
    assert.equal(statSync(place).mode & 0o777, 0o700);
    assert.equal(statSync(place).uid, serverAccount()?.uid);
    assert.deepEqual(await query(server.superuserUrl, 'SELECT 1 AS one'), [{ one: 1 }]);
    await server.stop();

    const again = await start({ dataDir });
    assert.equal(realpathSync(dataDir), place);
    await again.stop();
    await removePostgres(dataDir);
    assert.equal(existsSync(place), false);
  });
});

function postmaster(dataDir: string): number {
  return Number(readFileSync(join(dataDir, 'postmaster.pid'), 'utf8').split('\n')[0]);
}

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client(url);
  client.on('error', () => undefined); // the server is stopped under open connections here
  await client.connect();
  return client;
}

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = await connect(url);
  try {
    return (await client.query(sql)).rows as unknown[];
  } finally {
    await client.end();
  }
}
