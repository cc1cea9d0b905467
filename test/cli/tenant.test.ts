/** `kiff tenant` as an operator runs it: a process with one credential. Creating is tried in test/workflows/onboarding.test.ts. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { packageRoot } from '../../dev/root.ts';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';

describe('kiff tenant', function () {
  this.timeout(30_000);
  let db: ProductDatabase;
  let tenant: TestTenant;

  before(async () => {
    db = await createProductDatabase();
    tenant = await db.createTenant({ id: 'acme0' + Date.now().toString(36) });
  });
  after(() => db.drop());

  async function kiff(args: string[], url: string | null = db.urls.kiff_operator) {
    const child = spawn(process.execPath, [join(packageRoot, 'dist/cli/kiff.js'), 'tenant', ...args], {
      env: url === null ? {} : { OPERATOR_DATABASE_URL: url },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let out = '';
    let err = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
    const [code] = (await once(child, 'close')) as [number];
    return { code, out, err };
  }

  it('lists and shows, for people and for programs', async () => {
    const list = await kiff(['list']);
    assert.equal(list.code, 0, list.err);
    assert.match(list.out, new RegExp(`^TENANT .*\n${tenant.id} +active +0 / 0 / 0\n$`));
    const hooks = await db.connect(db.urls.kiff_webhooks);
    const { rows } = await hooks.query(`SELECT kiff.organisation_created('msg_1', 'org_1') AS id`);
    const { id } = rows[0] as { id: string };
    assert.match((await kiff(['list'])).out, new RegExp(`\n${id} +awaited +since \\d{4}-\\d\\d-\\d\\dT[\\d:]{8}Z\n$`));
    const listedToo = JSON.parse((await kiff(['list', '--json'])).out) as { id: string; status: string }[];
    assert.deepEqual(listedToo.map(({ id: each, status }) => [each, status]).at(-1), [id, 'awaited']);
    const shown = await kiff(['show', tenant.id]);
    for (const fact of [tenant.origin, tenant.logId, tenant.genesisSigner, 'not yet'])
      assert.ok(shown.out.includes(fact));
    const [listed] = JSON.parse((await kiff(['list', '--json'])).out) as { id: string; log: { origin: string } }[];
    assert.deepEqual([listed?.id, listed?.log.origin], [tenant.id, tenant.origin]);
    assert.deepEqual(JSON.parse((await kiff(['show', tenant.id, '--json'])).out), listed);
  });

  it('shows whether everybody may read a log', async () => {
    const shown = async () => [
      /published +(.+)/.exec((await kiff(['show', tenant.id])).out)?.[1],
      (JSON.parse((await kiff(['show', tenant.id, '--json'])).out) as { logPublic: boolean }).logPublic,
    ];
    assert.deepEqual(await shown(), ['for who holds a key of it', false]);
    const own = await db.connect(tenant.url);
    await own.query(`SELECT kiff.set_log_public(true, 'user_1')`);
    assert.deepEqual(await shown(), ['for everybody', true]);
  });

  it('pauses and resumes', async () => {
    const status = async (): Promise<unknown> =>
      (JSON.parse((await kiff(['show', tenant.id, '--json'])).out) as { status: string }).status;
    assert.deepEqual(await kiff(['pause', tenant.id]), { code: 0, out: `${tenant.id} is paused\n`, err: '' });
    assert.equal(await status(), 'paused');
    assert.deepEqual(await kiff(['resume', tenant.id]), { code: 0, out: `${tenant.id} is active\n`, err: '' });
    assert.equal(await status(), 'active');
  });

  it('sets limits of a tenant, or of one of its keys, or none', async () => {
    const set = (...more: string[]) => kiff(['limits', tenant.id, ...more]);
    const said = await set('--requests', '20', '--records', 'none');
    assert.deepEqual(said, {
      code: 0,
      out: `${tenant.id}: 20 requests and any number of records a second\n`,
      err: '',
    });
    const ofKey = await set('--key', tenant.keyId, '--requests', 'none', '--records', '700');
    assert.equal(ofKey.out, `${tenant.keyId} of ${tenant.id}: any number of requests and 700 records a second\n`);
    const found = await db.sql(
      `SELECT t.requests_per_second AS t1, t.records_per_second AS t2, k.requests_per_second AS k1, k.records_per_second AS k2
         FROM kiff.tenants t JOIN kiff.api_keys k ON k.tenant = t.id WHERE t.id = $1`,
      [tenant.id],
    );
    assert.deepEqual(found, [{ t1: 20, t2: null, k1: null, k2: 700 }]);
    assert.ok((await kiff(['show', tenant.id])).out.includes('20 requests and any number of records a second'));
    assert.equal((await set('--requests', '2147483647', '--records', '1')).code, 0, 'the most and the least');
  });

  it('says what is wrong, with exit code 2 for its arguments and 1 for what is refused', async () => {
    for (const [args, code, message] of [
      [[], 2, 'say what to do'],
      [['destroy', tenant.id], 2, 'there is no action destroy'],
      [['list', tenant.id], 2, 'list takes no tenant'],
      [['pause'], 2, 'pause takes one tenant'],
      [['create', 'abc', '--wait', 'long'], 2, '--wait takes seconds'],
      [['limits', tenant.id, '--requests', '5'], 2, 'limits takes --records'],
      [['limits', tenant.id, '--requests', '0', '--records', '5'], 2, 'limits takes --requests'],
      [['limits', tenant.id, '--requests', '2147483648', '--records', '5'], 2, 'limits takes --requests'],
      [['pause', tenant.id, '--requests', '5'], 2, '--key are of limits'],
      [['limits', 'nobody', '--requests', '5', '--records', '5'], 1, 'there is no tenant nobody'],
      [['limits', tenant.id, '--requests', '5', '--records', '5', '--key', 'k0'], 1, 'has no key k0'],
      [['show', 'nobody'], 1, 'there is no tenant nobody'],
      [['pause', 'nobody'], 1, 'neither active nor paused'],
      [['create', 'No-Id'], 1, 'a tenant id is'],
    ] as const) {
      const said = await kiff([...args]);
      assert.deepEqual([said.code, said.out], [code, ''], args.join(' '));
      assert.ok(said.err.includes(message), said.err);
    }
    // Nobody takes commands here: the row stands, and the operator is told so.
    const patience = await kiff(['create', 'waiting', '--wait', '1']);
    assert.deepEqual([patience.code, /still going on/.test(patience.err)], [1, true]);
    assert.match((await kiff(['list'], null)).err, /OPERATOR_DATABASE_URL must be/);
    const away = await kiff(['list'], 'postgres://kiff_operator:x@127.0.0.1:1/kiff');
    assert.deepEqual([away.code, /ECONNREFUSED/.test(away.err)], [1, true]);
  });

  it('has no more rights than its login: another one is told so by the database', async () => {
    const said = await kiff(['list'], db.urls.kiff_api);
    assert.deepEqual([said.code, said.out], [1, '']);
    assert.match(said.err, /permission denied/);
  });
});
