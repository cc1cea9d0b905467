/** Notices of a custody migration, from the row that makes them to the mail, the webhook and the veto that comes back. */
import assert from 'node:assert/strict';
import { createHmac, randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { pino } from 'pino';
import type pg from 'pg';
import { createPool } from '../../activities/database.ts';
import { createPool as createApiPool } from '../../api/http/database.ts';
import { startServer } from '../../api/http/server.ts';
import { deliverWaiting, startDelivering, type DeliveryDependencies } from '../../workers/notify/deliver.ts';
import { createMailSender } from '../../workers/notify/mail.ts';
import { createApp } from '../../workers/veto/app.ts';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';

const SECRET = `whsec_${randomBytes(32).toString('base64')}`;
const SIGNER = Buffer.alloc(20, 7);
const DENIED = { code: '42501' };
const MAIL = 'ada@example.org';
/** As the saga gives it; the numbers play no part here. */
const POLICY = { approvals: 3600, trialSeals: 2, handoverExpiry: 3600, observation: 0, deletionWindow: 604_800 };

interface Hook {
  headers: IncomingHttpHeaders;
  body: string;
  url: string | undefined;
}

const linkIn = (text: string): string => /https?:\/\/\S+\/veto\/[\w-]{43}/.exec(text)?.[0] ?? assert.fail('no link');

describe('notices', function () {
  this.timeout(60_000);
  const folder = mkdtempSync(join(tmpdir(), 'kiff-cloud-mail-'));
  const hooks: Hook[] = [];
  const alerts: string[] = [];
  let status = 204;
  const server = createServer((request, response) => {
    void (async () => {
      let body = '';
      for await (const chunk of request) body += String(chunk);
      hooks.push({ headers: request.headers, body, url: request.url });
      response.writeHead(status, { location: '/elsewhere' }).end();
    })();
  });
  let hookUrl: string;
  let db: ProductDatabase;
  let tenant: TestTenant;
  let custody: pg.Client;
  let sealing: pg.Client;
  let signing: pg.Client;
  let pool: pg.Pool;
  let deps: DeliveryDependencies;
  let veto: Awaited<ReturnType<typeof startServer>>;
  let vetoPool: pg.Pool;

  before(async () => {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    hookUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`;
    db = await createProductDatabase();
    sealing = await db.connect(db.urls.kiff_sealing);
    signing = await db.connect(db.urls.kiff_signing);
    pool = createPool(db.urls.kiff_notify, 4, { schema: 'kiff', name: 'test' });
    vetoPool = createApiPool({ url: db.urls.kiff_veto, max: 2, name: 'veto', incarnation: 'test' });
    const log = pino({ level: 'silent' });
    veto = await startServer(createApp({ pool: vetoPool, log }), { host: '127.0.0.1', port: 0 });
    deps = {
      pool,
      mail: createMailSender(pathToFileURL(folder).href, 'KIFF Cloud <custody@kiff.invalid>'),
      vetoOrigin: veto.url,
      custodyOrigin: 'https://custody.kiff.invalid',
      allowLoopback: true,
      log,
      alert: (name) => alerts.push(name),
    };
  });
  beforeEach(async () => {
    tenant = await db.createTenant();
    custody = await db.connect(tenant.custodyUrl);
  });
  afterEach(async () => {
    // What a test left waiting is not the next one's.
    await db.sql('UPDATE kiff.notice_deliveries SET sent_at = now() WHERE sent_at IS NULL');
    hooks.length = 0;
    alerts.length = 0;
    status = 204;
    for (const name of mails()) rmSync(join(folder, name));
  });
  after(async () => {
    await veto.drain();
    await Promise.all([pool.end(), vetoPool.end()]);
    await db.drop();
    server.close();
    server.closeAllConnections();
    rmSync(folder, { recursive: true });
  });

  const mails = (): string[] => readdirSync(folder).toSorted();
  const mail = (at: number): string =>
    readFileSync(join(folder, mails()[at]!), 'utf8').replaceAll('=\n', '').replaceAll('=3D', '=');

  /** A command of the custody API's. @returns its id */
  async function leave(kind: string, payload: object): Promise<number> {
    await custody.query('INSERT INTO kiff.commands (kind, payload) VALUES ($1, $2)', [kind, JSON.stringify(payload)]);
    const [row] = await db.sql<{ id: number }>('SELECT max(id) AS id FROM kiff.commands WHERE tenant = $1', [
      tenant.id,
    ]);
    return row!.id;
  }

  async function contact(user: string, addresses: object): Promise<void> {
    const command = await leave('custody.contact', { ref: randomUUID(), ...addresses });
    await signing.query('SELECT kiff.keep_custody_contact($1, $2)', [command, user]);
  }

  /** A migration whose new signer is known. @returns its id */
  async function migrate(): Promise<string> {
    const id = randomUUID();
    const command = await leave('custody.start', {
      ref: id,
      custody: 2,
      keyArn: 'arn:aws:kms:eu-west-1:222233334444:key/k',
    });
    await sealing.query('SELECT kiff.open_custody_migration($1, $2)', [command, JSON.stringify(POLICY)]);
    await sealing.query('SELECT kiff.set_new_signer($1, $2, $3)', [
      id,
      SIGNER,
      'arn:aws:kms:eu-west-1:222233334444:key/k',
    ]);
    return id;
  }

  const commands = () =>
    db.sql<{ id: number; issuer: string; payload: { migration: string } }>(
      `SELECT id, issuer, payload FROM kiff.commands WHERE tenant = $1 AND kind = 'custody.veto'`,
      [tenant.id],
    );

  const deliveries = () =>
    db.sql<{
      channel: string;
      kind: string;
      attempts: number;
      sent: boolean;
      problem: string | null;
      given_up: boolean;
    }>(
      `SELECT d.channel, n.kind, d.attempts, d.sent_at IS NOT NULL AS sent, d.problem, d.given_up_at IS NOT NULL AS given_up
         FROM kiff.notice_deliveries d JOIN kiff.notices n ON n.id = d.notice WHERE n.tenant = $1 ORDER BY d.id`,
      [tenant.id],
    );

  it('go to every admin, by mail and webhook, when the new signer is known', async () => {
    await contact('user_ada', { email: MAIL });
    await contact('user_grace', { webhook: { url: hookUrl, secret: SECRET } });
    const id = await migrate();
    assert.equal(await deliverWaiting(deps), 2);
    assert.equal(await deliverWaiting(deps), 0, 'once');

    const [text] = [mail(0)];
    assert.match(text, /^To: ada@example\.org$/m);
    assert.match(text, /^From: "?KIFF Cloud"? <custody@kiff\.invalid>$/m);
    assert.ok(text.includes(`0x${SIGNER.toString('hex')}`), 'the new address in full');
    assert.ok(text.includes(`https://custody.kiff.invalid/migrations/${id}`));

    const [hook] = hooks;
    assert.ok(hook);
    const { 'webhook-id': webhookId, 'webhook-timestamp': at, 'webhook-signature': signature } = hook.headers;
    const key = Buffer.from(SECRET.slice('whsec_'.length), 'base64');
    assert.equal(
      signature,
      `v1,${createHmac('sha256', key)
        .update(`${String(webhookId)}.${String(at)}.${hook.body}`)
        .digest('base64')}`,
    );
    assert.ok(Math.abs(Number(at) - Date.now() / 1000) < 60);
    const told = JSON.parse(hook.body) as { type: string; data: Record<string, unknown> };
    assert.equal(told.type, 'custody.migration-started');
    assert.equal(told.data['newSigner'], `0x${SIGNER.toString('hex')}`);
    assert.deepEqual(
      (await deliveries()).map(({ channel, sent, problem }) => [channel, sent, problem]),
      [
        ['email', true, null],
        ['webhook', true, null],
      ],
    );
  });

  it('go to the newest address of each admin, and to none of whom took it away', async () => {
    await contact('user_ada', { email: 'old@example.org' });
    await contact('user_ada', { email: MAIL });
    await contact('user_grace', { email: 'grace@example.org' });
    await contact('user_grace', {});
    await migrate();
    assert.equal(await deliverWaiting(deps), 1);
    assert.match(mail(0), /^To: ada@example\.org$/m);
  });

  it('are made of every turn of a handover, once, and of those that were not ours', async () => {
    await contact('user_ada', { email: MAIL });
    const id = await migrate();
    const hash = randomBytes(32);
    const set = (columns: string) => db.sql(`UPDATE kiff.handovers SET ${columns} WHERE handover_hash = $1`, [hash]);
    await db.sql(
      `INSERT INTO kiff.handovers (tenant, log_id, handover_hash, migration, epoch_to, from_signer, to_signer, custody, not_before, expires_at, nonce)
       SELECT m.tenant, m.log_id, $2, m.id, 1, m.from_signer, m.new_signer, 2, 0, 100, m.nonce FROM kiff.custody_migrations m WHERE m.id = $1`,
      [id, hash],
    );
    const proposed = `proposed_tx = '\\x01', proposed_block = 1, proposed_block_hash = '\\x01', proposed_log_index = 0, eta = 50`;
    await set(`proposed_level = 'included', ${proposed}`);
    // A reorganisation takes it back and it comes again.
    await set(
      'proposed_level = NULL, proposed_tx = NULL, proposed_block = NULL, proposed_block_hash = NULL, proposed_log_index = NULL, eta = NULL',
    );
    await set(`proposed_level = 'final', ${proposed}`);
    for (let time = 0; time < 2; time++) {
      await sealing.query(`SELECT kiff.note_custody_step($1, 'accept', 'begun', $2)`, [id, JSON.stringify({ time })]);
    }
    const accepted = `accepted_tx = '\\x02', accepted_block = 2, accepted_block_hash = '\\x02', accepted_log_index = 0,
      accepted_seq = 3, accepted_hash = sha256('\\x02')`;
    await set(`accepted_level = 'included', ${accepted}`);
    await set(`accepted_level = 'final', ${accepted}`);
    await db.sql(
      `INSERT INTO kiff.handovers (tenant, log_id, handover_hash, epoch_to, from_signer, to_signer, custody, not_before, expires_at, nonce,
         cancelled_level, cancelled_tx, cancelled_block, cancelled_block_hash, cancelled_log_index)
       SELECT tenant, log_id, $2, 2, to_signer, from_signer, 3, 0, 100, nonce, 'final', '\\x03', 3, '\\x03', 0
         FROM kiff.handovers WHERE handover_hash = $1`,
      [hash, randomBytes(32)],
    );
    assert.deepEqual(
      (await deliveries()).map(({ kind }) => kind),
      ['migration-started', 'handover-proposed', 'acceptance-requested', 'handover-accepted', 'handover-cancelled'],
    );
    await deliverWaiting(deps);
    const texts = mails().map((_, at) => mail(at));
    assert.equal(texts.filter((text) => text.includes(`${veto.url}/veto/`)).length, 3, 'as long as it can be stopped');
    assert.equal(texts.filter((text) => text.includes(`https://custody.kiff.invalid/migrations/${id}`)).length, 4);
  });

  it('tell of an undone migration, and of a new and of a removed passkey', async () => {
    await contact('user_ada', { email: MAIL });
    const id = await migrate();
    for (const kind of ['custody.passkey', 'custody.passkey.remove']) {
      const passkey = await leave(kind, { ref: randomUUID() });
      await sealing.query(`SELECT kiff.settle_command($1, 'started', NULL)`, [passkey]);
      await sealing.query(`SELECT kiff.finish_command($1, 'done', NULL)`, [passkey]);
    }
    await sealing.query(`SELECT kiff.give_up_custody($1, 'vetoed')`, [id]);
    await sealing.query(`SELECT kiff.end_custody_migration($1, 'undone', 'vetoed')`, [id]);
    assert.deepEqual(
      (await deliveries()).map(({ kind }) => kind),
      ['migration-started', 'passkey-registered', 'passkey-removed', 'migration-undone'],
    );
    await deliverWaiting(deps);
    assert.equal(mails().filter((_, at) => mail(at).includes('/veto/')).length, 0, 'there is nothing to stop any more');
  });

  describe('links', () => {
    it('stop a migration, once, when a person confirms; looking does nothing', async () => {
      await contact('user_ada', { email: MAIL });
      const id = await migrate();
      await deliverWaiting(deps);
      const link = linkIn(mail(0));
      for (let look = 0; look < 2; look++) {
        const page = await fetch(link);
        assert.equal(page.status, 200);
        assert.match(page.headers.get('content-security-policy') ?? '', /default-src 'none'.*form-action 'self'/);
        const text = await page.text();
        assert.ok(text.includes(`0x${SIGNER.toString('hex')}`) && text.includes('<form method="post">'));
      }
      assert.deepEqual(await commands(), []);

      const cast = await fetch(link, { method: 'POST' });
      assert.match(await cast.text(), /Your veto was taken/);
      const [command, ...more] = await commands();
      assert.ok(command);
      assert.deepEqual([command.issuer, command.payload.migration, more.length], ['kiff_veto', id, 0]);
      const stands = await signing.query('SELECT kiff.is_link_veto($1) AS link, kiff.vetoed_by_link($2) AS vetoed', [
        command.id,
        id,
      ]);
      assert.deepEqual(stands.rows, [{ link: true, vetoed: true }]);

      await fetch(link, { method: 'POST' });
      assert.equal((await commands()).length, 1);
      await sealing.query('SELECT kiff.answer_stops($1, NULL)', [id]);
      assert.match(await (await fetch(link)).text(), /It was stopped/);
    });

    it('are different for everybody, and say when it is too late', async () => {
      await contact('user_ada', { email: MAIL });
      await contact('user_grace', { webhook: { url: hookUrl, secret: SECRET } });
      const id = await migrate();
      await deliverWaiting(deps);
      const inHook = (JSON.parse(hooks[0]!.body) as { data: { vetoUrl: string } }).data.vetoUrl;
      assert.notEqual(inHook, linkIn(mail(0)));
      await fetch(inHook, { method: 'POST' });
      await sealing.query(`SELECT kiff.answer_stops($1, 'too-late')`, [id]);
      assert.match(await (await fetch(inHook)).text(), /It was too late/);
    });

    it('that are not ours, or of a migration that has ended, do nothing', async () => {
      await contact('user_ada', { email: MAIL });
      const id = await migrate();
      await deliverWaiting(deps);
      const link = linkIn(mail(0));
      for (const wrong of [link.slice(0, -1), `${veto.url}/veto/${randomBytes(32).toString('base64url')}`]) {
        assert.equal((await fetch(wrong, { method: 'POST' })).status, 404);
      }
      await sealing.query(`SELECT kiff.give_up_custody($1, 'cancelled')`, [id]);
      await sealing.query(`SELECT kiff.end_custody_migration($1, 'undone', 'cancelled')`, [id]);
      assert.match(await (await fetch(link, { method: 'POST' })).text(), /nothing left to stop/);
      assert.deepEqual(await commands(), []);
    });
  });

  describe('that are not taken', () => {
    it('come again later, with the same id and another link, and are given up in the end with an alert', async () => {
      await contact('user_grace', { webhook: { url: hookUrl, secret: SECRET } });
      await migrate();
      status = 500;
      await deliverWaiting(deps);
      assert.equal(await deliverWaiting(deps), 0, 'not at once');
      const now = () => db.sql('UPDATE kiff.notice_deliveries SET try_after = now() WHERE sent_at IS NULL');
      await now();
      await deliverWaiting(deps);
      const [first, second] = hooks;
      assert.equal(first?.headers['webhook-id'], second?.headers['webhook-id']);
      assert.notEqual(first?.body, second?.body);
      await db.sql('UPDATE kiff.notice_deliveries SET attempts = 13 WHERE sent_at IS NULL');
      await now();
      await deliverWaiting(deps);
      assert.deepEqual(alerts, ['notice-undeliverable']);
      const [delivery] = await deliveries();
      assert.deepEqual([delivery?.problem, delivery?.given_up], ['not-taken', true]);
      await now();
      assert.equal(await deliverWaiting(deps), 0);
    });

    it('no redirect is followed', async () => {
      await contact('user_grace', { webhook: { url: hookUrl, secret: SECRET } });
      await migrate();
      status = 307;
      await deliverWaiting(deps);
      assert.deepEqual(
        hooks.map(({ url }) => url),
        ['/hook'],
      );
      assert.equal((await deliveries())[0]?.problem, 'not-taken');
    });

    it('nothing is sent into our own network', async () => {
      const outside = { ...deps, allowLoopback: false };
      await contact('user_grace', { webhook: { url: hookUrl.replace('http:', 'https:'), secret: SECRET } });
      await contact('user_ada', { webhook: { url: 'https://localhost/hook', secret: SECRET } });
      await migrate();
      await deliverWaiting(outside);
      assert.deepEqual(
        (await deliveries()).map(({ problem }) => problem),
        ['refused-destination', 'refused-destination'],
      );
      assert.deepEqual(hooks, []);
    });

    it('of two notifiers one sends', async () => {
      await contact('user_grace', { webhook: { url: hookUrl, secret: SECRET } });
      await migrate();
      const two = [startDelivering(deps), startDelivering(deps)];
      while (hooks.length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
      await Promise.all(two.map((one) => one.stop()));
      assert.equal(hooks.length, 1);
    });
  });

  describe('the logins', () => {
    it('kiff_notify sends and links, and neither reads evidence nor casts', async () => {
      const notify = await db.connect(db.urls.kiff_notify);
      for (const forbidden of [
        'SELECT FROM kiff.commands',
        'SELECT FROM kiff.custody_contacts',
        'SELECT FROM kiff.veto_tokens',
        'SELECT FROM kiff.tenants',
        `SELECT kiff.cast_veto('\\x00')`,
        `INSERT INTO kiff.commands (kind, payload) VALUES ('custody.veto', '{}')`,
      ]) {
        await assert.rejects(notify.query(forbidden), DENIED, forbidden);
      }
    });

    it('kiff_veto casts, and neither lists links nor asks for anything else', async () => {
      const client = await db.connect(db.urls.kiff_veto);
      for (const forbidden of [
        'SELECT FROM kiff.veto_tokens',
        'SELECT FROM kiff.custody_migrations',
        `SELECT kiff.issue_veto_token(1, '\\x00')`,
        `SELECT * FROM kiff.take_deliveries(1)`,
        `INSERT INTO kiff.commands (kind, payload) VALUES ('custody.veto', '{}')`,
        `INSERT INTO kiff.commands (kind, payload) VALUES ('custody.approve', '{}')`,
      ]) {
        await assert.rejects(client.query(forbidden), DENIED, forbidden);
      }
    });
  });
});
