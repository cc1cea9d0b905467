/**
 * Rows F35, F47 and F48 with a real older copy in the database's place, and the way on from a head that is ahead of the clock: what
 * `kiff recover` finds, what it refuses, and what goes on afterwards.
 */
import assert from 'node:assert/strict';
import { takeBackup } from '../backup.ts';
import type { TestTenant } from '../product-database.ts';
import { createPlane, failsAs, type Plane } from './plane.ts';
import { recoveryPlane, type RecoveryPlane } from './recovery-plane.ts';

describe('recovery', function () {
  this.timeout(120_000);
  let plane: Plane;
  let operator: RecoveryPlane;

  before(async () => {
    plane = await createPlane();
    operator = await recoveryPlane(plane);
  });
  after(async () => {
    await operator.close();
    await plane.stop();
  });

  async function seal(tenant: TestTenant): Promise<number> {
    const throughSeq = await plane.collect(tenant);
    await plane.log.hashSeals({ tenantId: tenant.id, throughSeq });
    const seqs = await plane.log.unsignedSeals({ tenantId: tenant.id, throughSeq });
    await plane.signing.signSeals({ tenantId: tenant.id, seqs });
    await plane.anchorAll();
    return throughSeq;
  }
  const differencesOf = async (tenant: TestTenant, incarnation?: string) =>
    (await operator.recovery(incarnation).compare(tenant.origin)).logs[0]!.differences.map(({ reason }) => reason);

  it('a restored product database: closed until declared, and what lost records stays frozen (F35, F48)', async () => {
    const [lost, kept] = [await plane.tenant(), await plane.tenant()];
    await plane.post(lost, 2);
    await seal(lost);
    await plane.post(kept, 2);
    await seal(kept);
    const backup = await takeBackup(plane.database);
    await plane.post(lost, 3);
    const seq = await seal(lost);
    await backup.restore();

    // The old configuration was forgotten, then changed: either way nothing is read, sealed or signed.
    for (const configured of [plane.database.incarnation, 'restored']) {
      plane.configure(configured);
      const closed = failsAs('incarnation-differs');
      await assert.rejects(plane.log.listTenants({ after: '', limit: 10 }), closed);
      await assert.rejects(plane.signing.signSeals({ tenantId: lost.id, seqs: [seq] }), closed);
    }
    const { open } = await operator.recovery('restored').compare();
    assert.equal(open.product, false);
    assert.deepEqual(await differencesOf(lost, 'restored'), ['database-behind']);
    assert.deepEqual(await differencesOf(kept, 'restored'), []);

    const frozen = await operator.recovery('restored').declare();
    assert.deepEqual(
      frozen.map(({ log }) => log.tenantId),
      [lost.id],
    );
    assert.equal(await plane.frozen(lost), 'database-behind');
    await assert.rejects(
      plane.log.hashSeals({ tenantId: lost.id, throughSeq: await plane.collect(lost) }),
      failsAs('log-frozen'),
    );
    await plane.post(kept, 1);
    assert.equal(await plane.level(kept, await seal(kept)), 'final', 'who lost nothing goes on');

    // Somebody takes the freeze away by hand: the signer refuses to fork all the same, and says why.
    await plane.unfreeze(lost);
    await plane.log.hashSeals({ tenantId: lost.id, throughSeq: seq });
    await assert.rejects(plane.signing.signSeals({ tenantId: lost.id, seqs: [seq] }), failsAs('database-behind'));
    await assert.rejects(operator.recovery('restored').resume(lost.origin), /still differs/);
  });

  it('a lost journal: nothing is signed until it is rebuilt and declared (F47)', async () => {
    const configured = 'journal-lost';
    await operator.recovery(configured).declare();
    plane.configure(configured);
    const empty = await takeBackup(plane.database, 'journal');
    const tenant = await plane.tenant();
    await plane.post(tenant, 2);
    const anchored = await seal(tenant);
    await plane.post(tenant, 1);
    const throughSeq = await plane.collect(tenant);
    await plane.log.hashSeals({ tenantId: tenant.id, throughSeq });
    const seqs = await plane.log.unsignedSeals({ tenantId: tenant.id, throughSeq });
    await plane.signing.signSeals({ tenantId: tenant.id, seqs }); // signed, and not on chain yet
    await empty.restore();

    plane.configure('rebuilt');
    const sign = (seq: number) => plane.signing.signSeals({ tenantId: tenant.id, seqs: [seq] });
    await assert.rejects(sign(throughSeq), failsAs('incarnation-differs'));
    const recovery = operator.recovery('rebuilt');
    assert.deepEqual(await differencesOf(tenant, 'rebuilt'), ['chain-ahead']);
    await assert.rejects(recovery.declare(), /rebuild it first/);
    const rebuilt = (await recovery.rebuild()).find(({ tenantId }) => tenantId === tenant.id)!;
    assert.deepEqual([rebuilt.fromChain, rebuilt.fromSignatures], [anchored, throughSeq - anchored]);
    await assert.rejects(sign(throughSeq), failsAs('incarnation-differs'), 'rebuilt is not declared');
    await recovery.declare();
    assert.deepEqual(await differencesOf(tenant, 'rebuilt'), []);
    await plane.post(tenant, 1);
    assert.equal(await plane.level(tenant, await seal(tenant)), 'final');
  });

  it('a head far ahead of the clock: wait, or end the log (F46)', async () => {
    const incarnation = 'rebuilt';
    const tenant = await plane.tenant();
    await plane.post(tenant, 1);
    await seal(tenant);
    await plane.database.sql(
      `UPDATE kiff_t_${tenant.id}.log_head SET last_received_at = clock_timestamp() + interval '1 year'`,
    );
    await assert.rejects(plane.post(tenant, 1), { code: 'KF002' });
    const { logs } = await operator.recovery(incarnation).compare(tenant.origin);
    assert.deepEqual(
      logs[0]!.differences.map(({ reason }) => reason),
      ['clock-ahead'],
    );
    assert.ok(logs[0]!.clockAhead > 31_000_000);
    await operator.freeze(tenant, 'clock-ahead');
    const ended = await operator.recovery(incarnation).end(tenant.origin, null);
    assert.equal(ended.statement.reason, 'clock-ahead');
    await plane.post(tenant, 1);
  });
});
