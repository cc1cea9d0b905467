/** `kiff custody` as a process, against a real custody API and database. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { packageRoot } from '../../dev/root.ts';
import { startCustodyApi, type CustodyApi } from '../api/custody-api.ts';
import { sessionToken } from '../api/session-tokens.ts';
import { SagaRows } from '../custody/rows.ts';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';

describe('kiff custody', function () {
  this.timeout(60_000);
  let db: ProductDatabase;
  let api: CustodyApi;
  let tenant: TestTenant;
  let token: string;

  before(async () => {
    db = await createProductDatabase();
    api = await startCustodyApi(db);
    tenant = await db.createTenant();
    token = sessionToken({ organisation: await db.createOrganisation(tenant) });
  });
  after(async () => {
    await api.stop();
    await db.drop();
  });

  function kiff(args: string[], env: Record<string, string> = { KIFF_SESSION_TOKEN: token }) {
    const options = { env: { PATH: process.env['PATH'] ?? '', KIFF_CUSTODY_URL: api.url, ...env } };
    return new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
      const entry = join(packageRoot, 'dist/cli/kiff.js');
      const child = execFile(process.execPath, [entry, 'custody', ...args], options, (_error, stdout, stderr) =>
        resolve({ code: child.exitCode ?? -1, stdout, stderr }),
      );
    });
  }

  it('says who holds the key, with a token or with a command that prints one', async () => {
    const { code, stdout } = await kiff(['status']);
    assert.equal(code, 0);
    for (const fact of [tenant.origin, tenant.genesisSigner, 'held by      cloud', 'none is under way']) {
      assert.ok(stdout.includes(fact), fact);
    }
    const fresh = { KIFF_SESSION_TOKEN: 'a.b.c', KIFF_SESSION_COMMAND: `echo ${token}` };
    const json = await kiff(['status', '--json'], fresh);
    assert.equal((JSON.parse(json.stdout) as { logId: string }).logId, tenant.logId);
  });

  it('starts a migration, prints the page to approve at, follows it to its end, and says how it ended', async () => {
    const rows = await SagaRows.of(db, tenant);
    const started = await kiff(['start', '--to', 'cloud']);
    const [id = ''] = started.stdout.split(' ');
    assert.ok(started.stdout.includes(`${api.url}/migrations/${id}`), started.stderr);
    await rows.open(id);
    await rows.step(id, 'identify', 'done');
    await rows.step(id, 'authorise', 'waiting');
    const watching = kiff(['watch', id]);
    const refused = await kiff(['start', '--to', 'cloud']);
    assert.deepEqual([refused.code, refused.stderr.includes('is under way')], [1, true]);
    const stopping = kiff(['veto', id]);
    let veto: { ref: string } | undefined;
    while (veto === undefined) {
      [veto] = await db.sql<{ ref: string }>(
        `SELECT payload ->> 'ref' AS ref FROM kiff.commands WHERE kind = 'custody.veto' AND tenant = $1`,
        [tenant.id],
      );
    }
    await rows.giveUp(id, 'vetoed');
    await rows.finish(veto.ref, 'done');
    assert.equal((await stopping).code, 0);
    await rows.end(id, 'undone', 'vetoed');
    const { code, stdout } = await watching;
    assert.equal(code, 1);
    assert.match(stdout, /✓ identify {10}done/);
    assert.match(stdout, /It was undone \(vetoed\)/);
  });

  it('names what is wrong with arguments and environment', async () => {
    for (const args of [
      [],
      ['move'],
      ['watch'],
      ['status', 'x'],
      ['start'],
      ['watch', '../../x'],
      ['status', '--no'],
    ]) {
      assert.equal((await kiff(args)).code, 2, args.join(' '));
    }
    const without = await kiff(['status'], {});
    assert.deepEqual([without.code, without.stderr.includes('KIFF_SESSION_TOKEN')], [2, true]);
    const away = await kiff(['status'], { KIFF_SESSION_TOKEN: token, KIFF_CUSTODY_URL: 'http://127.0.0.1:1' });
    assert.deepEqual([away.code, away.stderr], [1, 'kiff custody: the custody API cannot be reached\n']);
  });
});
