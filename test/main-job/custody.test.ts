/** C3: custody passes on the whole stack while every process of the signing plane is killed at every boundary between two steps. */
import assert from 'node:assert/strict';
import type { ProcessName } from '../../dev/processes.ts';
import type { LocalTenant } from '../../dev/tenant.ts';
import type { Hex } from '../../protocol/hex.ts';
import { toHex } from '../../protocol/hex.ts';
import { logId } from '../../protocol/logid.ts';
import { readLogState } from '../../activities/chain/registry.ts';
import { localPeople, localTenantKey } from '../custody/local-people.ts';
import type { People } from '../custody/people.ts';
import { auditRecord, get, post, untilLevel } from './client.ts';
import { localStack, type LocalStack } from './local-stack.ts';
import { assertUnbroken, storedSeals } from './unbroken.ts';

const KILLED: readonly ProcessName[] = ['sealing', 'signing', 'anchoring', 'keyadmin'];

describe('custody under kills', function () {
  this.timeout(420_000);
  let local: LocalStack;
  let tenant: LocalTenant;
  let people: People;

  before(async () => {
    local = await localStack();
    tenant = await local.tenant();
    people = await localPeople(local, tenant);
  });
  after(() => people?.stop());

  const onChain = () =>
    readLogState(local.chain, local.stack.around.contract, logId(tenant.genesisSigner, tenant.origin));

  /** Kills everything whenever a step was done or undone, until the migration's command is answered. @returns how often */
  async function killAtBoundaries(migration: string): Promise<string[]> {
    const seen: string[] = [];
    let last = '0';
    for (;;) {
      const rows = await local.sql<{ id: string; step: string; state: string }>(
        `SELECT id, step, state FROM kiff.custody_steps WHERE migration = $1 AND id > $2 AND state IN ('done', 'undone') ORDER BY id`,
        [migration, last],
      );
      if (rows.length > 0) {
        last = rows.at(-1)!.id;
        seen.push(...rows.map(({ step, state }) => `${step} ${state}`));
        await Promise.all(KILLED.map((name) => local.kill(name)));
        await Promise.all(KILLED.map((name) => local.revive(name)));
      }
      const answer = await people.standing(migration);
      if (answer !== undefined && answer.state !== 'started') return seen;
    }
  }

  /** Chain, directory, journal and log agree on who signs; nothing is held, nothing is missing. */
  async function assertWhole(signer: Hex, epoch: number, records: readonly string[]): Promise<void> {
    for (const id of records) await untilLevel(local.stack.apiUrl, tenant, id, 'final', 120_000);
    const state = await onChain();
    assert.deepEqual([state.signer, state.epoch], [signer, epoch]);
    const [row] = await local.sql<{ signer: Buffer; epoch: number; held: boolean }>(
      'SELECT coalesce(current_signer, genesis_signer) AS signer, epoch, held_since IS NOT NULL AS held FROM kiff.logs WHERE tenant = $1',
      [tenant.id],
    );
    assert.deepEqual({ ...row, signer: toHex(row!.signer) }, { signer, epoch, held: false });
    await assertUnbroken(local, tenant);
    const seals = await storedSeals(local, tenant);
    assert.ok(seals.filter(({ level }) => level === 'final').length >= 2);
    for (const id of records) {
      const { status } = await get(local.stack.apiUrl, tenant, `/v1/records/${encodeURIComponent(id)}/receipt`);
      assert.equal(status, 200, 'each has its receipt');
    }
  }

  const signerOf = async (migration: string): Promise<Hex> => {
    const [row] = await local.sql<{ new_signer: Buffer }>(
      'SELECT new_signer FROM kiff.custody_migrations WHERE id = $1',
      [migration],
    );
    return toHex(row!.new_signer);
  };

  it('C3: it ends wholly new, to the tenant’s KMS and back to ours, and no record or seal is lost', async () => {
    const admins = [await people.admin(), await people.admin()] as const;
    const { arn } = await localTenantKey(local, tenant);
    const records: string[] = [];
    for (const [epoch, ask] of [
      [1, { custody: 2, keyArn: arn }],
      [2, { custody: 1 }],
    ] as const) {
      const began = performance.now();
      const migration = await people.start(admins[0], ask);
      const killing = killAtBoundaries(migration);
      for (const admin of admins) await people.approve(admin, migration);
      records.push((await post(local.stack.apiUrl, tenant, auditRecord())).id);
      const boundaries = await killing;
      assert.deepEqual(await people.answer(migration), { state: 'done', reason: null });
      console.log(
        `        epoch ${epoch}: ${boundaries.length} boundaries in ${((performance.now() - began) / 1000).toFixed(0)} s`,
      );
      records.push((await post(local.stack.apiUrl, tenant, auditRecord())).id);
      assert.ok(boundaries.length >= (epoch === 1 ? 14 : 13), boundaries.join(', '));
      await assertWhole(await signerOf(migration), epoch, records);
    }
  });
});
