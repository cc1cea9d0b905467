/** The custody pages in a real browser, with its virtual authenticator: real application, real Postgres. */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { chromium, type Browser, type Page } from 'playwright-core';
import { findChromium } from '../../dev/chromium.ts';
import type { Hex } from '../../protocol/hex.ts';
import { SagaRows } from '../custody/rows.ts';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { startCustodyApi, type CustodyApi } from './custody-api.ts';
import { sessionToken } from './session-tokens.ts';

const ARN = 'arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab';
const NEW_SIGNER: Hex = '0x00112233445566778899aabbccddeeff00112233';

describe('the custody pages', function () {
  this.timeout(60_000);
  let db: ProductDatabase;
  let api: CustodyApi;
  let tenant: TestTenant;
  let organisation: string;
  let rows: SagaRows;
  let browser: Browser;
  let page: Page;
  /** What the page has asked, and what the browser has refused it. */
  let asked: string[];
  let complaints: string[];

  before(async function () {
    this.timeout(300_000);
    const found = await findChromium();
    if ('missing' in found) {
      process.stdout.write(`      the custody pages were not tried: ${found.missing}\n`);
      return this.skip();
    }
    browser = await chromium.launch({ executablePath: found.path, args: ['--no-sandbox'] });
    db = await createProductDatabase();
    api = await startCustodyApi(db, { passkeyMinAgeSeconds: 0 });
    tenant = await db.createTenant();
    organisation = await db.createOrganisation(tenant);
    rows = await SagaRows.of(db, tenant);
  });
  after(async () => {
    await browser?.close();
    await api?.stop();
    await db?.drop();
  });
  beforeEach(async () => {
    const context = await browser.newContext({ viewport: { width: 900, height: 1_500 } });
    page = await context.newPage();
    asked = [];
    complaints = [];
    page.on('request', (request) => asked.push(request.url()));
    page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
    page.on('pageerror', (error) => complaints.push(error.message));
    const devtools = await context.newCDPSession(page);
    await devtools.send('WebAuthn.enable');
    await devtools.send('WebAuthn.addVirtualAuthenticator', {
      options: {
        protocol: 'ctap2',
        transport: 'internal',
        hasResidentKey: true,
        hasUserVerification: true,
        isUserVerified: true,
        automaticPresenceSimulation: true,
      },
    });
  });
  afterEach(async () => {
    await page.context().close();
  });

  const token = (user: string): string => sessionToken({ organisation, user });

  async function signIn(path: string, user: string): Promise<void> {
    await page.goto(api.origin + path);
    await page.getByLabel('Session token').fill(token(user));
    await page.getByRole('button', { name: 'Open' }).click();
  }

  /** What the signing plane does with the newest command of a kind. */
  async function finish(kind: string): Promise<void> {
    for (;;) {
      const [row] = await db.sql<{ ref: string }>(
        `SELECT c.payload ->> 'ref' AS ref FROM kiff.commands c WHERE c.tenant = $1 AND c.kind = $2
            AND NOT EXISTS (SELECT FROM kiff.command_results r WHERE r.command = c.id)`,
        [tenant.id, kind],
      );
      if (row !== undefined) return rows.finish(row.ref, 'done');
      await page.waitForTimeout(20);
    }
  }

  const status = (text: string): Promise<void> => page.getByRole('status').filter({ hasText: text }).waitFor();

  /** Pictures for a person to look at, when a folder is named. */
  async function picture(name: string): Promise<void> {
    const folder = process.env['PICTURES'];
    if (folder === undefined) return;
    mkdirSync(folder, { recursive: true });
    await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
  }

  it('a passkey is registered, a migration is read and approved with it, and vetoed', async () => {
    await signIn('/passkeys', 'user_ada');
    await page.getByRole('button', { name: 'Register a passkey' }).click();
    await finish('custody.passkey');
    await status('The passkey is registered.');
    await page.getByText('verified, counts from').waitFor();
    await picture('passkeys');

    const start = { custody: 'tenant-kms', keyArn: ARN };
    const { json } = await api.call('POST', '/v1/custody/migrations', token('user_ada'), start);
    const id = json.ref as string;
    await rows.open(id);
    await rows.step(id, 'identify', 'done');
    await rows.identify(id, NEW_SIGNER, ARN);
    await rows.step(id, 'authorise', 'waiting');
    await signIn(`/migrations/${id}`, 'user_ada');
    await page.getByRole('button', { name: 'Approve with a passkey' }).waitFor();
    const shown = await page.locator('main').innerText();
    for (const fact of [NEW_SIGNER, ARN, tenant.genesisSigner, tenant.logId, 'you can end it at any moment']) {
      assert.ok(shown.includes(fact), fact);
    }
    await picture('migration');

    await page.getByRole('button', { name: 'Approve with a passkey' }).click();
    await finish('custody.approve');
    await status('You have approved.');
    await page.getByText('user_ada, ').waitFor();
    const { approvals } = (await api.get(`/v1/custody/migrations/${id}`, token('user_bob'))).json;
    assert.deepEqual(
      approvals.map((one: any) => [one.user, one.state]),
      [['user_ada', 'done']],
    );
    await page.getByRole('button', { name: 'Approve with a passkey' }).click();
    await status('You have approved already');
    await picture('approved');

    page.on('dialog', (dialog) => void dialog.accept());
    await page.getByRole('button', { name: 'Veto: stop it' }).click();
    await finish('custody.veto');
    await status('It is stopped.');

    await signIn('/passkeys', 'user_ada');
    await page.getByRole('button', { name: 'Remove' }).click();
    await finish('custody.passkey.remove');
    await status('The passkey is removed.');
    await page.getByText('verified, counts from').waitFor({ state: 'detached' });
    assert.deepEqual(
      asked.filter((url) => !url.startsWith(`${api.origin}/`)),
      [],
      'nobody else was asked',
    );
    assert.deepEqual(
      complaints.filter((text) => !text.includes('409')),
      [],
    );
  });

  it('without a good session it shows nothing, and says so', async () => {
    await page.goto(`${api.origin}/migrations/0123456789abcdef`);
    await page.getByLabel('Session token').fill('a.b.c');
    await page.getByRole('button', { name: 'Open' }).click();
    await status('The session token is not valid here.');
    assert.equal(await page.locator('#migration').isVisible(), false);
    await picture('refused');
  });

  it('runs no script but its own, loads nothing, and cannot be framed', async () => {
    await page.goto(`${api.origin}/passkeys`);
    const ran = await page.evaluate<string>(`(() => {
      const script = document.createElement('script');
      try {
        script.text = 'globalThis.foreign = true';
        document.head.append(script);
      } catch {
        return 'refused';
      }
      return String(globalThis.foreign);
    })()`);
    assert.match(ran, /^(?:refused|undefined)$/);
    const foreign = `${api.url}/healthz`;
    const loaded = await page.evaluate<string>(`fetch('${foreign}').then(() => 'loaded', () => 'refused')`);
    assert.equal(loaded, 'refused', 'the same server under another name is another origin');
    const own = await page.evaluate<string>(`fetch('/healthz').then(() => 'loaded')`);
    assert.equal(own, 'loaded', 'control');
    const { headers } = await api.get('/passkeys');
    assert.match(
      headers.get('content-security-policy') ?? '',
      /^default-src 'none'; script-src 'sha256-[^']+'; style-src 'sha256-[^']+'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'/,
    );
    assert.equal(headers.get('cache-control'), 'no-store');
  });
});
