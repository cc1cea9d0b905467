/**
 * Each wall of design section 3, tried with each credential from the wrong side, and from the right one as the control.
 * What is tried is what docs/walls.md says.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { KMSClient } from '@aws-sdk/client-kms';
import pg from 'pg';
import { format } from 'prettier';
import { loginUrl } from '../../dev/databases.ts';
import { ACCESS_KEYS } from '../../dev/kms-roles.ts';
import { packageRoot } from '../../dev/root.ts';
import { custodyLogin, tenantLogin } from '../../sql/login.ts';
import { JOURNAL, PRODUCT } from '../../sql/prepare.ts';
import { JOURNAL_LOGINS, LOGINS, type Login } from '../../sql/roles.ts';
import { auditRecord, post } from '../main-job/client.ts';
import { localStack } from '../main-job/local-stack.ts';
import { Refused, type Attempt, type Ground } from './attempt.ts';
import { databaseAttempts } from './databases.ts';
import { renderWalls, WALLS } from './document.ts';
import { kmsAttempts } from './kms.ts';

const ATTEMPTS: readonly Attempt[] = [...databaseAttempts, ...kmsAttempts];
const DOCUMENT = join(packageRoot, 'docs', 'walls.md');

describe('walls', function () {
  this.timeout(120_000);
  const clients: KMSClient[] = [];
  const connections = new Map<string, pg.Client>();
  let ground: Ground;

  before(async () => {
    const local = await localStack();
    const [tenant, other] = await local.tenants(2);
    assert.ok(tenant && other);
    await post(local.stack.apiUrl, tenant, auditRecord());
    await post(local.stack.apiUrl, other, auditRecord());
    const { around } = local.stack;

    const urlOf = (credential: string): string => {
      const { superuserUrl, secrets } = around;
      const login = LOGINS.find((each) => each === credential);
      if (login !== undefined) {
        const database = JOURNAL_LOGINS.includes(login) ? JOURNAL : PRODUCT;
        return loginUrl(superuserUrl, secrets, login, database);
      }
      const custody = credential.startsWith('kiff_c_');
      const secret = Buffer.from(custody ? secrets.custodyLogin : secrets.tenantLogin, 'hex');
      const { user, password } = (custody ? custodyLogin : tenantLogin)(secret, tenant.id, 1);
      const url = new URL(loginUrl(superuserUrl, secrets, 'kiff_api' satisfies Login, PRODUCT));
      url.username = user;
      url.password = encodeURIComponent(password);
      return url.href;
    };

    ground = {
      local,
      tenant,
      other,
      async database(credential) {
        const open = connections.get(credential);
        if (open !== undefined) return open;
        const client = new pg.Client({ connectionString: urlOf(credential) });
        await client.connect();
        // Attempts take their time together; a connection may idle longer than a process's would.
        await client.query('SET idle_in_transaction_session_timeout = 0');
        connections.set(credential, client);
        return client;
      },
      kms(role) {
        const { url, region } = around.kms;
        const credentials = { accessKeyId: ACCESS_KEYS[role], secretAccessKey: around.secrets.kms[role] };
        const client = new KMSClient({ endpoint: url, region, credentials, maxAttempts: 1 });
        clients.push(client);
        return client;
      },
    };
  });

  after(async () => {
    for (const client of clients) client.destroy();
    await Promise.all([...connections.values()].map((client) => client.end()));
  });

  for (const { wall, from, act, may, run } of ATTEMPTS) {
    it(`${wall}: ${from} ${may ? 'may' : 'may not'} ${act}`, async () => {
      if (may) await run(ground);
      else await assert.rejects(run(ground), Refused);
    });
  }

  it('docs/walls.md says exactly what is tried here (WALLS=write npm test accepts a change)', async () => {
    const text = await format(renderWalls(ATTEMPTS), { parser: 'markdown', printWidth: 120 });
    if (process.env['WALLS'] === 'write') writeFileSync(DOCUMENT, text);
    assert.equal(text, readFileSync(DOCUMENT, 'utf8'));
  });

  it('and each test that it names is there', () => {
    for (const [file, title] of WALLS.flatMap(({ triedIn }) => triedIn)) {
      const path = join(packageRoot, file);
      assert.ok(existsSync(path) && readFileSync(path, 'utf8').includes(title), `${file} has no test “${title}”`);
    }
  });
});
