/** The custody API's process: an origin, logins and headers of its own. Its content is tried in custody-migrations.test.ts. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readCustodyEnv } from '../../api/custody/env.ts';
import { startProcess, type RunningProcess } from '../../dev/process.ts';
import { packageRoot } from '../../dev/root.ts';
import { JWT_KEY, PARTY, sessionToken } from './session-tokens.ts';
import { createProductDatabase, type ProductDatabase } from '../product-database.ts';

const ORIGIN = 'https://custody.kiff.test';

describe('the custody API', function () {
  this.timeout(30_000);
  let db: ProductDatabase;
  let directory: string;
  let running: RunningProcess;
  let url: string;

  before(async () => {
    db = await createProductDatabase();
    directory = mkdtempSync(join(tmpdir(), 'kiff-cloud-custody-'));
    const logFile = join(directory, 'custody.log');
    running = await startProcess({
      name: 'custody API',
      entry: join(packageRoot, 'dist/api/custody/main.js'),
      env: {
        DATABASE_URL: db.urls.kiff_custody,
        KIFF_INCARNATION: db.incarnation,
        CUSTODY_ORIGIN: ORIGIN,
        CUSTODY_LOGIN_SECRET: db.loginSecrets.custody.toString('hex'),
        CHAIN_ID: String(db.chainId),
        CONTRACT: db.contract,
        CLERK_JWT_KEY: JWT_KEY,
        CLERK_AUTHORIZED_PARTIES: PARTY,
        API_PORT: '0',
      },
      logFile,
      ready: /listening on http\S+\n/,
    });
    url = /listening on (http\S+)\n/.exec(readFileSync(logFile, 'utf8'))![1]!;
  });
  after(async () => {
    await running?.stop();
    await db?.drop();
    rmSync(directory, { recursive: true, force: true });
  });

  it('lives, is ready, and answers problems', async () => {
    for (const path of ['/healthz', '/readyz']) assert.equal((await fetch(url + path)).status, 200, path);
    assert.deepEqual(await problem(url, '/v1/unknown'), [404, 'https://kiff.dev/problems/not-found']);
    assert.deepEqual(await problem(url, '/v1/custody'), [401, 'https://kiff.dev/problems/unauthorized']);
  });

  it('reads with the custody login of the tenant whose session asks', async () => {
    const tenant = await db.createTenant();
    const authorization = `Bearer ${sessionToken({ organisation: await db.createOrganisation(tenant) })}`;
    const answer = await fetch(`${url}/v1/custody`, { headers: { authorization } });
    assert.equal(((await answer.json()) as { logId: string }).logId, tenant.logId);
  });

  it('lets a page load, frame, submit and keep nothing', async () => {
    const { headers } = await fetch(`${url}/healthz`);
    assert.equal(
      headers.get('content-security-policy'),
      "default-src 'none';base-uri 'none';form-action 'none';frame-ancestors 'none'",
    );
    assert.equal(headers.get('cache-control'), 'no-store');
    assert.equal(headers.get('referrer-policy'), 'no-referrer');
    assert.equal(headers.get('access-control-allow-origin'), null);
    assert.match(headers.get('strict-transport-security') ?? '', /max-age=\d+/);
  });

  it('takes requests of pages from its own origin alone, not from the ingest API’s', async () => {
    for (const origin of [
      'https://kiff.test',
      `${ORIGIN}:444`,
      'http://custody.kiff.test',
      'null',
      `${ORIGIN}.evil.test`,
    ]) {
      assert.equal(await statusFrom(url, origin), 403, origin);
    }
    assert.equal(await statusFrom(url, ORIGIN), 401, 'control: it was let through, to be asked who it is');
  });

  it('names every variable that is missing or wrong, and no value', () => {
    assert.throws(
      () => readCustodyEnv({ CUSTODY_ORIGIN: 'https://custody.kiff.test/path', API_PORT: 'secret' }),
      (error: Error) =>
        /API_PORT must be.*\n[^]*DATABASE_URL is missing[^]*CUSTODY_ORIGIN must be an origin/.test(error.message) &&
        /CHAIN_ID is missing/.test(error.message) &&
        !error.message.includes('secret'),
    );
  });
});

async function problem(url: string, path: string): Promise<unknown[]> {
  const answer = await fetch(url + path);
  return [answer.status, ((await answer.json()) as { type: string }).type];
}

/** What a page of an origin gets. */
async function statusFrom(url: string, origin: string): Promise<number> {
  return (await fetch(`${url}/v1/custody`, { headers: { origin } })).status;
}
