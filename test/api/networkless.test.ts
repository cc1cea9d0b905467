/** Clerk unreachable (F44): the API is run with every way out refused, and each try recorded. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { startApiProcess, type ApiProcess } from './api-process.ts';
import { sessionToken } from './session-tokens.ts';

/** Loaded before the process's own code. Loopback is where its database is. */
const GUARD = (tries: string): string => `
import { appendFileSync } from 'node:fs';
import { Socket } from 'node:net';
import dns from 'node:dns';
const refuse = (host) => {
  appendFileSync(${JSON.stringify(tries)}, host + '\\n');
  throw Object.assign(new Error('no way out'), { code: 'ENETUNREACH' });
};
const connect = Socket.prototype.connect;
Socket.prototype.connect = function (...args) {
  const [first] = Array.isArray(args[0]) ? args[0] : args;
  const host = typeof first === 'object' ? (first.host ?? first.path ?? 'localhost') : (args[1] ?? 'localhost');
  return host === '127.0.0.1' ? connect.apply(this, args) : refuse(String(host));
};
const lookup = dns.lookup;
dns.lookup = (host, ...rest) => (host === '127.0.0.1' ? lookup(host, ...rest) : refuse(host));
`;

describe('with every way out refused (F44)', () => {
  let db: ProductDatabase;
  let tenant: TestTenant;
  let organisation: string;
  let directory: string;
  let api: ApiProcess;
  let tries: string;
  let guard: string;

  before(async function () {
    this.timeout(60_000);
    directory = mkdtempSync(join(tmpdir(), 'kiff-cloud-no-network-'));
    tries = join(directory, 'tries');
    guard = join(directory, 'guard.mjs');
    writeFileSync(guard, GUARD(tries));
    db = await createProductDatabase();
    tenant = await db.createTenant();
    organisation = await db.createOrganisation(tenant);
    api = await startApiProcess(db, { NODE_OPTIONS: `--import=${guard}` });
  });
  after(async () => {
    await api.stop();
    await db.drop();
    rmSync(directory, { recursive: true, force: true });
  });

  it('records are taken, sessions are let in and refused, and nobody tries to reach anything', async () => {
    assert.equal((await api.post(tenant, 'no-network')).status, 201);
    const asked = async (token: string): Promise<number> =>
      (await fetch(`${api.url}/v1/records/no-network`, { headers: { authorization: `Bearer ${token}` } })).status;
    assert.equal(await asked(sessionToken({ organisation })), 200);
    assert.equal(await asked(sessionToken({ organisation, header: { kid: 'another' } })), 200, 'no key is looked for');
    assert.equal(await asked(sessionToken({ organisation, signature: () => 'AAAA' })), 401);
    assert.equal(await asked('ak_a_machine_key_of_clerk'), 401);
    assert.ok(!existsSync(tries), 'a way out was tried');
  });

  it('a try would have been refused and recorded (control)', () => {
    const code = `fetch('https://api.clerk.com/v1/jwks').then(() => process.exit(1), () => process.exit(0))`;
    const { status } = spawnSync(process.execPath, [`--import=${guard}`, '-e', code]);
    assert.equal(status, 0);
    assert.match(readFileSync(tries, 'utf8'), /api\.clerk\.com/);
  });
});
