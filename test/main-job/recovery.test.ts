/**
 * `kiff recover`, the program, on the whole stack: rows F47, F48 and F35, and the end of a log that cannot be sealed any more. What each of its
 * parts does in every case is tried in test/activities/recovery.test.ts and ending.test.ts; here they meet real processes.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { withClient } from '../../dev/databases.ts';
import { downloadPolicy } from '../../dev/demo.ts';
import { environmentOf, PROCESSES, type ProcessName } from '../../dev/processes.ts';
import type { LocalTenant } from '../../dev/tenant.ts';
import type { Hex } from '../../protocol/hex.ts';
import { parseEnd } from '../../protocol/index.ts';
import { JOURNAL, PRODUCT } from '../../sql/prepare.ts';
import { endId } from '../../workflows/ids.ts';
import { copyDatabase } from '../backup.ts';
import { auditRecord, get, post, until, untilLevel } from './client.ts';
import { localStack, type Answer, type LocalStack } from './local-stack.ts';
import { assertUnbroken, storedSeals } from './unbroken.ts';

/** What is printed of one log. */
const partOf = (printed: string, { origin }: LocalTenant): string =>
  printed.split('\n\n').find((part) => part.startsWith(`${origin}\n`) || part.startsWith(`${origin} `)) ?? '';

describe('kiff recover', function () {
  this.timeout(120_000);
  let local: LocalStack;
  let apiUrl: string;

  before(async () => {
    local = await localStack();
    ({ apiUrl } = local.stack);
  });

  const recover = (...args: string[]): Promise<Answer> =>
    local.kiff(['recover', ...args], environmentOf('recovery', local.stack.around));

  async function recovers(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await recover(...args);
    assert.equal(code, 0, `kiff recover ${args.join(' ')}: ${stdout}${stderr}`);
    return stdout;
  }

  async function refuses(why: RegExp, ...args: string[]): Promise<void> {
    const { code, stdout, stderr } = await recover(...args);
    assert.deepEqual([code, stdout], [1, ''], stderr);
    assert.match(stderr, why);
  }

  const logOf = (name: ProcessName): string =>
    readFileSync(join(local.stack.around.state, 'logs', `${name}.log`), 'utf8');

  const alertsOf = (name: ProcessName, alert: string): number => logOf(name).split(`"alert":"${alert}"`).length - 1;

  const untilAlert = (name: ProcessName, alert: string) =>
    until(`${name} to alert`, async () => (alertsOf(name, alert) > 0 ? true : undefined));

  const statusOf = async (tenant: LocalTenant): Promise<number> => (await get(apiUrl, tenant, '/v1/seals')).status;

  /** Why a record is not taken. */
  async function problemOf(tenant: LocalTenant): Promise<string> {
    const error = await post(apiUrl, tenant, auditRecord()).then(
      () => 'it was taken',
      (refusal: Error) => refusal.message,
    );
    return /: 503 .*"type":"[^"]*\/([a-z-]+)"/.exec(error)?.[1] ?? error;
  }

  async function final(tenant: LocalTenant): Promise<string> {
    const { id } = await post(apiUrl, tenant, auditRecord());
    await untilLevel(apiUrl, tenant, id, 'final');
    return id;
  }

  const urlOf = (database: string): string => {
    const url = new URL(local.stack.around.superuserUrl);
    url.pathname = `/${database}`;
    return url.href;
  };

  /** How many seals of a log the product database has a signature of. */
  const signedSeals = async (tenant: LocalTenant): Promise<number> =>
    (await storedSeals(local, tenant)).filter(({ signature }) => signature !== null).length;

  it('F47: the journal is lost: nothing is signed until it is compared, rebuilt and declared; then sealing goes on', async () => {
    const tenant = await local.tenant();
    await final(tenant);
    const { KIFF_INCARNATION: incarnation } = local.stack.around.env;
    await local.terminate('signing');
    const signed = await signedSeals(tenant);
    await withClient(urlOf('postgres'), (server) => server.query(`DROP DATABASE ${JOURNAL} WITH (FORCE)`));
    await local.migrate();
    await local.revive('signing');

    const waiting = await post(apiUrl, tenant, auditRecord());
    await untilAlert('signing', 'incarnation-differs');
    const { code, stdout } = await recover();
    assert.equal(code, 1);
    const doors = `product database: open as ${incarnation}\nsigning journal:  CLOSED as ${incarnation}\n`;
    assert.ok(stdout.startsWith(doors), stdout);
    const told = partOf(stdout, tenant);
    assert.match(told, /seals: product database \d+, journal 0, chain \d+ \(final \d+\); 2 records/);
    assert.match(told, /DIFFERS: chain-ahead \(journal 0, chain [1-9]\d*, signed [1-9]\d*\)/);
    assert.match(told, /may: rebuild the journal: kiff recover --rebuild/);
    await refuses(/rebuild it first \(--rebuild\)/, '--declare');

    const rebuilt = await recovers('--rebuild');
    const [, fromChain, fromSignatures] =
      new RegExp(`${tenant.id}, log 1: (\\d+) statements from the chain, (\\d+) from signatures`).exec(rebuilt) ?? [];
    assert.equal(Number(fromChain) + Number(fromSignatures), signed, rebuilt);
    const alerts = alertsOf('signing', 'incarnation-differs');
    await until('the signer to be asked again', async () =>
      alertsOf('signing', 'incarnation-differs') > alerts ? true : undefined,
    );
    assert.equal(await signedSeals(tenant), signed, 'rebuilt is not declared');

    await recovers('--declare');
    await untilLevel(apiUrl, tenant, waiting.id, 'final');
    await assertUnbroken(local, tenant);
    assert.match(await recovers('--log', tenant.origin), /nothing differs/);
  });

  describe('after an old backup of the product database was restored', () => {
    let lost: LocalTenant;
    let kept: LocalTenant;
    let before: string;

    it('F48: every process that is running stays away from it, and so do those that are started under another name', async () => {
      [lost, kept] = (await local.tenants(2)) as [LocalTenant, LocalTenant];
      [before] = await Promise.all([final(lost), final(kept)]);
      const backup = await copyDatabase(urlOf(PRODUCT));
      await final(lost);

      await backup.restore();
      await local.migrate();
      await until('the API to be closed', async () => ((await statusOf(lost)) === 503 ? true : undefined));
      await untilAlert('sealing', 'incarnation-differs');
      await local.reconfigure('restored');
      await local.revive('api');
      for (const tenant of [lost, kept]) assert.equal(await problemOf(tenant), 'recovering');
      await assert.rejects(local.revive('signing'), /is not the one that this process is configured for/);
    });

    it('F35: it is compared: what lost records is frozen, and the others go on', async () => {
      const { code, stdout } = await recover();
      assert.equal(code, 1);
      assert.ok(
        stdout.startsWith('product database: CLOSED as restored\nsigning journal:  CLOSED as restored\n'),
        stdout,
      );
      assert.match(partOf(stdout, lost), /DIFFERS: database-behind \(seq \d+, chain \d+\)/);
      assert.match(partOf(stdout, lost), /may: restore a newer backup of the product database, and compare again/);
      assert.match(partOf(stdout, kept), /nothing differs/);
      assert.equal(await problemOf(kept), 'recovering', 'comparing opens nothing');

      assert.match(await recovers('--declare'), new RegExp(`^frozen: ${lost.origin}, database-behind`, 'm'));
      await Promise.all(PROCESSES.filter((name) => !local.stack.processes.has(name)).map((name) => local.revive(name)));
      await until('the API to be open', async () => ((await statusOf(kept)) === 200 ? true : undefined));
      const signed = await local.sealedEvents(lost);
      assert.equal(await problemOf(lost), 'log-frozen');
      await final(kept);
      await assertUnbroken(local, kept);
      assert.deepEqual(await local.sealedEvents(lost), signed, 'nothing of it was sealed');
      await refuses(/still differs/, '--resume', lost.origin);
    });

    it('the frozen log ends; the next one begins with an entry that names it, and goes on', async () => {
      const { code, stdout } = await recover();
      assert.equal(code, 1);
      assert.ok(partOf(stdout, lost).startsWith(`${lost.origin}  FROZEN: database-behind\n`));
      assert.ok(partOf(stdout, lost).endsWith(`may: end the log: kiff recover --end ${lost.origin}`), stdout);

      const ended = await recovers('--end', lost.origin);
      const statement = parseEnd(ended.slice(ended.indexOf('kiff.end/1')));
      assert.deepEqual(
        [statement.origin, statement.reason, statement.successor],
        [lost.origin, 'database-behind', `${lost.origin}/2`],
      );
      assert.match(ended, new RegExp(`^${lost.origin} ended after seal ${statement.last.seq} \\(database-behind\\)`));
      const events = await local.sealedEvents(lost);
      assert.deepEqual(
        [events.length, events.at(-1)?.sealHash],
        [statement.last.seq, statement.last.sealHash],
        'the last good seal is the last that stands on chain',
      );
      const workflow = await local.temporal.workflow.getHandle(endId(lost.id, 1)).describe();
      assert.equal(workflow.status.name, 'COMPLETED');
      await refuses(/has ended already/, '--end', lost.origin);

      const { body } = await get(apiUrl, lost, '/v1/logs');
      const { logs } = body as { logs: { log: number; origin: string; genesisSigner: Hex; end: string | null }[] };
      assert.deepEqual(
        logs.map(({ log, origin, end }) => [log, origin, end === null]),
        [
          [2, `${lost.origin}/2`, true],
          [1, lost.origin, false],
        ],
      );
      assert.deepEqual(parseEnd(logs[1]!.end!), statement);
      const first = await get(apiUrl, lost, `/v1/records/kiff.log-ended.${statement.logId.slice(2)}`);
      const { leafIndex, record } = first.body as { leafIndex: number; record: { data: Record<string, unknown> } };
      assert.deepEqual([leafIndex, record.data['origin']], [0, lost.origin]);
      assert.deepEqual(parseEnd(record.data['statement'] as string), statement);

      const after = await final(lost);
      await assertUnbroken(local, { ...lost, origin: logs[0]!.origin, genesisSigner: logs[0]!.genesisSigner });
      assert.deepEqual(await local.sealedEvents(lost), events, 'nothing is sealed in the ended log');
      assert.match(await recovers('--log', `${lost.origin}/2`), /nothing differs/);

      // What somebody outside can see of it: both receipts hold, and nothing joins them.
      const path = (name: string): string => join(local.stack.around.state, name);
      await downloadPolicy(apiUrl, lost, path('policy.json'));
      writeFileSync(path('end.txt'), logs[1]!.end!);
      for (const [name, id] of [
        ['old.json', before],
        ['new.json', after],
      ] as const) {
        writeFileSync(path(name), (await get(apiUrl, lost, `/v1/records/${id}/receipt`)).text);
      }
      const trust = ['--policy', path('policy.json'), '--rpc', local.stack.around.rpcUrl];
      const receipts = ['--receipt', path('old.json'), '--receipt', path('new.json')];
      const shown = await local.kiff(['verify', '--end', path('end.txt'), ...receipts, ...trust]);
      assert.equal(shown.code, 0, shown.stdout);
      assert.match(shown.stdout, /DISCONTINUITY between the receipts: .* begins anew and does not continue it/);
    });
  });
});
