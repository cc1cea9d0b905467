/**
 * C3: custody passes on the whole stack, asked for with `kiff custody` and approved over HTTP, while every process of the signing plane is
 * killed at every boundary between two steps, and the APIs at some. The tenant's own signer is `kiff signer`, killed with them.
 *
 * Past 10 KB because the passes go over one log, from one kind of custody to the next.
 */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LOCAL_PARTY } from '../../dev/clerk.ts';
import type { ProcessName } from '../../dev/processes.ts';
import { packageRoot } from '../../dev/root.ts';
import type { LocalTenant } from '../../dev/tenant.ts';
import type { Hex } from '../../protocol/hex.ts';
import { toHex } from '../../protocol/hex.ts';
import { logId } from '../../protocol/logid.ts';
import { readLogState } from '../../activities/chain/registry.ts';
import { SIGNER } from '../cli/signer-agent.ts';
import { makeHome, type Home } from '../cli/signer-process.ts';
import { localPeople, localTenantKey, type LocalAdmin, type LocalPeople } from '../custody/local-people.ts';
import { auditRecord, get, post, until, untilLevel } from './client.ts';
import { localStack, type Answer, type LocalStack } from './local-stack.ts';
import { assertUnbroken, storedSeals } from './unbroken.ts';

const KILLED: readonly ProcessName[] = ['sealing', 'signing', 'anchoring', 'keyadmin'];
/** Killed as well, at every third boundary: a migration goes on without them. */
const APIS: readonly ProcessName[] = ['api', 'custody'];

/** Milliseconds. */
const PATIENCE = 120_000;

describe('custody under kills', function () {
  this.timeout(900_000);
  let local: LocalStack;
  let tenant: LocalTenant;
  let people: LocalPeople;
  let admins: readonly [LocalAdmin, LocalAdmin];
  /** Where the tenant's own signer runs, from the moment that the tenant has it. */
  let home: Home | undefined;
  let signing: ChildProcess | undefined;

  before(async () => {
    local = await localStack();
    tenant = await local.tenant();
    people = localPeople(local.stack, tenant);
    admins = [await people.admin(), await people.admin()];
  });
  after(async () => {
    await killSigner();
    home?.remove();
  });

  /** As the tenant does by docs/custody-tenant-agent.md: an API key of its scope, a policy typed in, and the program. */
  async function ownSigner(admin: LocalAdmin): Promise<Hex> {
    const { apiUrl, around } = local.stack;
    const answer = await fetch(`${apiUrl}/v1/keys`, {
      method: 'POST',
      headers: { authorization: `Bearer ${people.token(admin)}`, 'content-type': 'application/json' },
      body: JSON.stringify({ label: 'our signer', scopes: ['signer'] }),
    });
    const text = await answer.text();
    assert.equal(answer.status, 201, text);
    const { chainId, contract, periodSeconds } = around;
    const policy = {
      format: 'kiff.signer-policy/1',
      origin: tenant.origin,
      logId: logId(tenant.genesisSigner, tenant.origin),
      registry: { chainId, contract, periodSeconds },
      signer: SIGNER,
      handOverTo: [],
    };
    home = makeHome({ url: apiUrl, policy }, (JSON.parse(text) as { key: string }).key);
    startSigner();
    return SIGNER;
  }

  function startSigner(): void {
    signing = home?.spawn(['--rpc', local.stack.around.rpcUrl]);
    signing?.stdout?.resume();
    signing?.stderr?.resume();
  }

  async function killSigner(): Promise<void> {
    if (signing === undefined || signing.exitCode !== null || signing.signalCode !== null) return;
    const ended = once(signing, 'exit');
    signing.kill('SIGKILL');
    await ended;
  }

  const file = (name: string): string => join(local.stack.around.state, name);

  /** `kiff custody` as an admin runs it: with a command that prints session tokens. */
  function kiffCustody(by: LocalAdmin, ...args: string[]): Promise<Answer> {
    const { apiUrl, around } = local.stack;
    writeFileSync(file('dev.json'), JSON.stringify({ apiUrl, clerkParty: LOCAL_PARTY }));
    const kiff = `'${process.execPath}' '${join(packageRoot, 'dist/cli/kiff.js')}'`;
    return local.kiff(['custody', ...args], {
      PATH: process.env['PATH'] ?? '',
      KIFF_CUSTODY_URL: people.url,
      KIFF_SESSION_COMMAND: `${kiff} dev-token --state '${around.state}' --tenant ${tenant.id} --user ${by.user}`,
    });
  }

  /**
   * Kills everything whenever a step was done, has failed or was undone, until the migration has ended: the next step, or the undo of an
   * earlier one, is under way then.
   * @param last the newest boundary that is left alone
   * @returns the boundaries, in order
   */
  async function killAtBoundaries(migration: string, last = '0'): Promise<string[]> {
    const seen: string[] = [];
    for (let boundary = 0; ; boundary++) {
      const rows = await until(
        'the next step',
        async () => {
          const steps = await local.sql<{ id: string; step: string; state: string }>(
            `SELECT id, step, state FROM kiff.custody_steps WHERE migration = $1 AND id > $2 AND state IN ('done', 'failed', 'undone') ORDER BY id`,
            [migration, last],
          );
          if (steps.length > 0) return steps;
          const ended = await local.sql('SELECT FROM kiff.custody_migrations WHERE id = $1 AND ended_at IS NOT NULL', [
            migration,
          ]);
          return ended.length > 0 ? [] : undefined;
        },
        PATIENCE,
      );
      if (rows.length === 0) return seen;
      last = rows.at(-1)!.id;
      seen.push(...rows.map(({ step, state }) => `${step} ${state}`));
      const killed = boundary % 3 === 0 ? [...KILLED, ...APIS] : KILLED;
      await Promise.all([...killed.map((name) => local.kill(name)), killSigner()]);
      await Promise.all(killed.map((name) => local.revive(name)));
      startSigner();
    }
  }

  /** Posts the record again, under its id, as long as nobody answers. @returns its id */
  async function posted(): Promise<string> {
    const record = auditRecord();
    const { id } = await until(`${record.id} to be accepted`, () =>
      post(local.stack.apiUrl, tenant, record).catch((error: unknown) => {
        if (error instanceof TypeError) return undefined; // fetch found nobody
        throw error;
      }),
    );
    return id;
  }

  async function receiptOf(record: string): Promise<string> {
    await untilLevel(local.stack.apiUrl, tenant, record, 'final', PATIENCE);
    const { status, text } = await get(local.stack.apiUrl, tenant, `/v1/records/${encodeURIComponent(record)}/receipt`);
    assert.equal(status, 200, text);
    return text;
  }

  /** As whoever has a receipt or a certificate, the policy and a node would. */
  async function assertVerifies(document: string): Promise<void> {
    const { text: policy } = await get(local.stack.apiUrl, tenant, '/.well-known/kiff-policy.json');
    writeFileSync(file('custody-policy.json'), policy);
    writeFileSync(file('custody-document.json'), document);
    const { code, stdout, stderr } = await local.kiff([
      'verify',
      file('custody-document.json'),
      '--policy',
      file('custody-policy.json'),
      '--rpc',
      local.stack.around.rpcUrl,
    ]);
    assert.equal(code, 0, stdout + stderr);
  }

  /** Chain, directory, journal and log agree on who signs; nothing is held, nothing is missing. */
  async function assertWhole(signer: Hex, epoch: number): Promise<void> {
    const state = await readLogState(
      local.chain,
      local.stack.around.contract,
      logId(tenant.genesisSigner, tenant.origin),
    );
    assert.deepEqual([state.signer, state.epoch], [signer, epoch]);
    const [row] = await local.sql<{ signer: Buffer; epoch: number; held: boolean }>(
      'SELECT coalesce(current_signer, genesis_signer) AS signer, epoch, held_since IS NOT NULL AS held FROM kiff.logs WHERE tenant = $1',
      [tenant.id],
    );
    assert.deepEqual({ ...row, signer: toHex(row!.signer) }, { signer, epoch, held: false });
    await assertUnbroken(local, tenant);
    const seals = await storedSeals(local, tenant);
    assert.ok(seals.filter(({ level }) => level === 'final').length >= 2);
  }

  it('C3: vetoed before the acceptance it ends wholly old, and everything is killed inside each undo', async () => {
    const before = await receiptOf(await posted());
    const migration = await people.start(admins[0], { custody: 'cloud' });
    for (const admin of admins) await people.approve(admin, migration);
    const proposing = await until(
      'the proposal',
      async () => {
        const [row] = await local.sql<{ id: string }>(
          `SELECT id FROM kiff.custody_steps WHERE migration = $1 AND step = 'propose' AND state = 'begun'`,
          [migration],
        );
        return row?.id;
      },
      PATIENCE,
    );
    const killing = killAtBoundaries(migration, proposing);
    await people.veto(admins[1], migration);
    const boundaries = await killing;
    assert.ok(
      boundaries.some((boundary) => boundary.endsWith(' failed')),
      boundaries.join(', '),
    );
    assert.deepEqual(boundaries.slice(-2), ['hand-over undone', 'identify undone']);
    const seen = await people.see(admins[0], migration);
    assert.deepEqual([seen.state, seen.reason, seen.certificate], ['undone', 'vetoed', null]);
    const after = await receiptOf(await posted());
    await assertWhole(tenant.genesisSigner, 0);
    for (const receipt of [before, after]) await assertVerifies(receipt);
  });

  it('C3: it ends wholly new, to the tenant’s KMS, back to ours and to the tenant’s own signer, and no record or seal is lost', async () => {
    const { arn } = await localTenantKey(local.stack, tenant);
    const before = await receiptOf(await posted());
    const records: string[] = [];
    for (const [epoch, ask] of [
      [1, () => ['--to', 'tenant-kms', '--key', arn]],
      [2, () => ['--to', 'cloud']],
      [3, async () => ['--to', 'tenant-agent', '--signer', await ownSigner(admins[0])]],
    ] as const) {
      const began = performance.now();
      const watching = kiffCustody(admins[0], 'start', ...(await ask()), '--watch');
      const tooEarly = watching.then(({ stdout, stderr }) =>
        assert.fail(`kiff custody ended first: ${stdout}${stderr}`),
      );
      const migration = await Promise.race([people.current(admins[0]), tooEarly]);
      tooEarly.catch(() => undefined);
      const killing = killAtBoundaries(migration);
      for (const admin of admins) await people.approve(admin, migration);
      records.push(await posted());
      const boundaries = await killing;
      const { code, stdout, stderr } = await watching;
      assert.equal(code, 0, stdout + stderr);
      assert.match(stdout, /✓ certificate/);
      console.log(
        `        epoch ${epoch}: ${boundaries.length} boundaries in ${((performance.now() - began) / 1000).toFixed(0)} s`,
      );
      assert.ok(boundaries.length >= (epoch === 2 ? 13 : 14), boundaries.join(', '));
      records.push(await posted());
      const across = await receiptOf(records.at(-1)!);
      const { handovers } = JSON.parse(across) as { handovers: unknown[] };
      assert.equal(handovers.length, epoch, 'the receipt tells of every succession before its seal');
      await assertVerifies(across);
      const seen = await people.see(admins[1], migration);
      assert.deepEqual([seen.state, seen.reason], ['completed', null]);
      await assertWhole(seen.newSigner!, epoch);
      await assertVerifies(JSON.stringify(seen.certificate));
    }
    for (const receipt of [before, ...(await Promise.all(records.map(receiptOf)))]) await assertVerifies(receipt);
  });
});
