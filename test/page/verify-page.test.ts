/**
 * The verification page in headless Chromium, served as the API serves it and opened from a disk: good and broken receipts, by
 * mouse and by keyboard, light and dark, with every request that it makes counted. KIFF_PICTURES=DIR keeps its pictures.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { chromium, type Browser, type Page } from 'playwright-core';
import express from 'express';
import { verifyPageOperations } from '../../api/ingest/verify-page.ts';
import { mountOperations } from '../../api/http/mount.ts';
import { findChromium } from '../../dev/chromium.ts';
import { packageRoot } from '../../dev/root.ts';
import type { Receipt } from '../../protocol/index.ts';
import { RpcRefused } from '../../protocol/rpc.ts';
import { edited, makePolicy, makeReceipt } from '../protocol/receipt-factory.ts';
import { scriptedChain } from '../protocol/scripted-chain.ts';

describe('the verification page', function () {
  this.timeout(60_000);

  let browser: Browser | undefined;
  let server: Server;
  let origin: string;
  let folder: string;
  let receipt: Receipt;
  let page: Page;
  let requested: string[] = [];

  /** A file of its own each time: one that changes after it was chosen cannot be read. */
  let files = 0;
  const file = (name: string, value: unknown): string => {
    const path = join(folder, `${++files}-${name}`);
    writeFileSync(path, typeof value === 'string' ? value : JSON.stringify(value));
    return path;
  };

  before(async function () {
    this.timeout(300_000);
    const found = await findChromium();
    if ('missing' in found) {
      process.stdout.write(`      the page was not tried: ${found.missing}\n`);
      return this.skip();
    }
    folder = mkdtempSync(join(tmpdir(), 'kiff-page-'));
    receipt = await makeReceipt({ epoch: 1, size: 100, leafIndex: 42 });
    const chain = scriptedChain(receipt);
    const app = express();
    mountOperations(app, verifyPageOperations(), undefined);
    // A node that lets web pages ask it.
    app.options('/rpc', (_request, response) => {
      response.set({ 'Access-Control-Allow-Origin': '*', 'Access-Control-Allow-Headers': '*' }).end();
    });
    app.post('/rpc', express.json(), (request, response) => {
      const { id, method, params } = request.body as { id: number; method: string; params: unknown[] };
      response.set('Access-Control-Allow-Origin', '*');
      chain(method, params).then(
        (result) => response.json({ jsonrpc: '2.0', id, result }),
        (error: unknown) => {
          const { code, message } = error instanceof RpcRefused ? error : new RpcRefused(0, 'failed');
          response.json({ jsonrpc: '2.0', id, error: { code, message } });
        },
      );
    });
    server = createServer(app);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    browser = await chromium.launch({ executablePath: found.path, args: ['--no-sandbox'] });
  });
  after(async () => {
    await browser?.close();
    server?.closeAllConnections();
    server?.close();
    if (folder !== undefined) rmSync(folder, { recursive: true });
  });
  beforeEach(async () => {
    page = await browser!.newPage({ viewport: { width: 900, height: 1400 } });
    requested = [];
    page.on('request', (request) => requested.push(`${request.method()} ${request.url()}`));
    page.on('pageerror', (error) => assert.fail(error));
    await page.goto(`${origin}/verify`);
  });
  afterEach(async () => page?.close());

  const verdict = (): Promise<string> => page.locator('#verdict').innerText();
  /** Chooses files, the receipt last: that starts it. */
  async function choose(
    receiptFile: string,
    options: { policy?: string; trust?: boolean; rpc?: string } = {},
  ): Promise<void> {
    if (options.policy !== undefined) await page.setInputFiles('#policy', options.policy);
    if (options.trust === true) await page.check('#trust');
    if (options.rpc !== undefined) await page.fill('#rpc', options.rpc);
    await page.setInputFiles('#receipt', receiptFile);
    await page.locator('#verdict', { hasText: /^(Not v|V)erified/ }).waitFor();
  }
  const statuses = (): Promise<Record<string, string>> =>
    page.$$eval('#checks li', (items) =>
      Object.fromEntries(items.map((item) => [item.querySelector('.name')?.textContent ?? '', item.className])),
    );
  async function picture(name: string): Promise<void> {
    const wanted = process.env['KIFF_PICTURES'];
    if (wanted !== undefined) await page.screenshot({ path: join(wanted, `${name}.png`), fullPage: true });
  }

  it('turns every check of a good receipt green, with the record and its path, and asks nobody but the node named', async () => {
    await choose(file('good.json', receipt), { policy: file('policy.json', makePolicy()), rpc: `${origin}/rpc` });
    assert.equal(await verdict(), 'Verified: every check held.');
    assert.deepEqual(
      Object.values(await statuses()),
      Array.from({ length: 11 }, () => 'held'),
    );
    assert.match(
      await page.locator('#record').innerText(),
      /^\{"id":"evt_3","kind":"action_executed".*1e400.*naïve 😀/,
    );
    assert.match((await page.locator('svg[role=img]').getAttribute('aria-label')) ?? '', /Leaf 42 leads over 7 hashes/);
    assert.equal(await page.locator('svg .bad').count(), 0);
    assert((await page.locator('#proved li').count()) >= 5);
    assert((await page.locator('#open li').count()) >= 3);
    assert(requested.length > 1);
    assert.deepEqual(
      requested.filter((request) => request !== `POST ${origin}/rpc`),
      [`GET ${origin}/verify`],
    );
    await picture('good-light');
    await page.emulateMedia({ colorScheme: 'dark' });
    await picture('good-dark');
    await page.setViewportSize({ width: 380, height: 800 });
    await picture('good-narrow');
  });

  it('offline sends nothing, and says what was left out; a verdict takes less than a second', async () => {
    const began = performance.now();
    await choose(file('good.json', receipt), { trust: true });
    const took = performance.now() - began;
    assert.equal(await verdict(), 'Verified, as far as asked. Left out: policy, anchor, finality.');
    assert.deepEqual(requested, [`GET ${origin}/verify`]);
    if (process.env['KIFF_PICTURES'] !== undefined)
      process.stdout.write(`      from drop to verdict: ${Math.round(took)} ms\n`);
  });

  it('names what is wrong with a broken one, draws it broken, and shows no record that was not committed to', async () => {
    const broken = edited(receipt, (copy) => {
      copy.disclosure!.body = copy.disclosure!.body.replace('order', 'Order');
      copy.inclusion[2] = `0x${'ab'.repeat(32)}`;
    });
    await choose(file('broken.json', broken), { policy: file('policy.json', makePolicy()), rpc: `${origin}/rpc` });
    assert.equal(await verdict(), 'Not verified. Failed: commitment, inclusion.');
    const status = await statuses();
    assert.deepEqual([status['commitment'], status['inclusion'], status['signature']], ['failed', 'failed', 'held']);
    assert.match(await page.locator('#record').innerText(), /^Not shown/);
    assert((await page.locator('svg .bad').count()) >= 2);
    await picture('broken');
  });

  it('without a policy and without trust fails by name; an erased record verifies as erased', async () => {
    await choose(file('good.json', receipt));
    assert.equal(await verdict(), 'Not verified. Failed: policy.');
    const erased = edited(receipt, (copy) => void (copy.disclosure = null));
    await choose(file('erased.json', erased), { trust: true });
    assert.match(await verdict(), /^Verified, as far as asked. Left out: policy, commitment/);
    assert.match(await page.locator('#record').innerText(), /^Not disclosed/);
  });

  it('says why it cannot use what is no receipt, no policy, no address, or no node', async () => {
    for (const [name, content, said] of [
      ['letter.json', 'Dear reader', /The receipt is not JSON/],
      ['deep.json', '['.repeat(1_000_000), /Failed: format/],
      ['array.json', '[]', /Failed: format/],
    ] as const) {
      await choose(file(name, content), { trust: true });
      assert.match(await verdict(), said);
    }
    await choose(file('good.json', receipt), { rpc: 'ftp://node' });
    assert.match(await verdict(), /no http or https URL/);
    await choose(file('good.json', receipt), { rpc: 'http://127.0.0.1:9', policy: file('policy.json', makePolicy()) });
    assert.equal(await verdict(), 'Not verified: the node is unreachable.');
    await choose(file('good.json', receipt), { policy: file('none.json', '{}') });
    assert.match(await verdict(), /The policy is unusable/);
  });

  it('what a receipt says is shown as text, never run', async () => {
    const script = '<img src=x onerror="document.title=1"><script>document.title=2</script>';
    const body = `{"attribution":null,"record":{"id":"evt_3","note":${JSON.stringify(script)}}}`;
    await choose(file('hostile.json', await makeReceipt({ body })), { trust: true });
    assert.match(await page.locator('#record').innerText(), /<script>/);
    assert.equal(await page.title(), 'Verify a KIFF receipt');
    assert.equal(await page.locator('img').count(), 0);
  });

  it('takes a dropped file, and can be used with the keyboard alone', async () => {
    const text = JSON.stringify(receipt);
    await page.focus('#trust');
    await page.keyboard.press('Space');
    await page.evaluate(`{
      const data = new DataTransfer();
      data.items.add(new File([${JSON.stringify(text)}], 'receipt.json'));
      document.body.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }));
    }`);
    await page.locator('#verdict', { hasText: /^Verified/ }).waitFor();

    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate('document.activeElement?.id'), 'rpc');
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate('document.activeElement?.id'), 'verify');
    await page.keyboard.press('Enter');
    await page.locator('#verdict:focus').waitFor();
    const names = await page.$$eval('input', (inputs) => inputs.map(({ labels }) => labels?.[0]?.textContent?.trim()));
    assert(names.every((name) => name !== undefined && name !== ''));
    assert.equal(await page.locator('#verdict').getAttribute('role'), 'status');
  });

  it('is one file that works from a disk, and lets nothing in', async () => {
    const built = join(packageRoot, 'dist/page/verify.html');
    const html = readFileSync(built, 'utf8');
    assert.match(html, /http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'sha256-/);
    assert(!/<(?:link|img|iframe|script src)/.test(html.slice(0, html.indexOf('<script>'))));
    await page.goto(pathToFileURL(built).href);
    await choose(file('good.json', receipt), { trust: true });
    assert.match(await verdict(), /^Verified/);

    const { headers } = await fetch(`${origin}/verify`);
    const policy = headers.get('content-security-policy') ?? '';
    assert.match(policy, /default-src 'none'.*frame-ancestors 'none'/);
    // Control: the policy bites, so that a script of another hash does not run.
    await page.goto(`${origin}/verify`);
    await page.evaluate(`{
      const script = document.createElement('script');
      try {
        script.text = 'document.title = "run"';
        document.head.append(script);
      } catch {
        // Trusted types refuse it first.
      }
    }`);
    assert.equal(await page.title(), 'Verify a KIFF receipt');
  });
});
