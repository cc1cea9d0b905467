/** Faults that end with the main job: rows F1, F2, F12, F18, F19 and F36 of the fault table. Real kills, real answers. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ScheduleOverlapPolicy } from '@temporalio/client';
import type { LocalTenant } from '../../dev/tenant.ts';
import { recoverSigner } from '../../protocol/signature.ts';
import { sealDigest } from '../../protocol/seal.ts';
import { toHex } from '../../protocol/hex.ts';
import { logId } from '../../protocol/logid.ts';
import { SCHEDULE_ID, SEALING_QUEUE } from '../../workflows/ids.ts';
import type { seal } from '../../workflows/seal.ts';
import { auditRecord, post, until, untilLevel } from './client.ts';
import { localStack, PERIOD_SECONDS, type LocalStack } from './local-stack.ts';
import { assertUnbroken, storedSeals } from './unbroken.ts';

/** Half of the order of secp256k1: no s above it is canonical. */
const HALF_N = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0n;

describe('a seal under faults', function () {
  this.timeout(120_000);
  let local: LocalStack;

  before(async () => {
    local = await localStack();
  });

  afterEach(async () => {
    await local.kms.clearFaults();
  });

  const seals = (tenant: LocalTenant) => storedSeals(local, tenant);

  it('F1: the signer is killed before KMS signed; another takes over, one seal', async () => {
    const tenant = await local.tenant();
    const key = await local.keyId(tenant);
    await local.kms.inject({ fault: 'delay', ms: 60_000, action: 'Sign', keyId: key, times: 1 });
    const record = await post(local.stack.apiUrl, tenant, auditRecord());
    // The fault is used up when the request has come in; the signature is made only after the delay.
    await until('the signer to ask KMS', async () => ((await local.kms.faults()).length === 0 ? true : undefined));
    const other = await local.another('signing');
    try {
      await local.kill('signing');
      await untilLevel(local.stack.apiUrl, tenant, record.id, 'final');
      await assertUnbroken(local, tenant);
    } finally {
      await local.revive('signing');
      await other.stop();
    }
  });

  it('F2: the signer is killed after KMS signed and before the result is kept; the same digest is signed again, one seal', async () => {
    const tenant = await local.tenant();
    const key = await local.keyId(tenant);
    // Signed, and the answer never arrives: whatever the signer does next, it knows nothing of that signature.
    await local.kms.inject({ fault: 'lose-answer', action: 'Sign', keyId: key });
    const record = await post(local.stack.apiUrl, tenant, auditRecord());
    await until('KMS to have signed', async () =>
      (await local.kms.count({ action: 'Sign', keyId: key })) > 0 ? true : undefined,
    );
    await local.kill('signing');
    await local.kms.clearFaults();
    await local.revive('signing');
    await untilLevel(local.stack.apiUrl, tenant, record.id, 'final');
    assert.ok((await local.kms.count({ action: 'Sign', keyId: key })) > 1, 'it was signed again');
    await assertUnbroken(local, tenant);
  });

  it('F12: the schedule fires twice and a backfill overlaps; one seal per period', async () => {
    const tenant = await local.tenant();
    const record = await post(local.stack.apiUrl, tenant, auditRecord());
    await untilLevel(local.stack.apiUrl, tenant, record.id, 'final');
    const schedule = local.temporal.schedule.getHandle(SCHEDULE_ID);
    const end = new Date();
    const start = new Date(end.getTime() - 6 * PERIOD_SECONDS * 1000);
    await schedule.backfill([
      { start, end, overlap: ScheduleOverlapPolicy.ALLOW_ALL },
      { start, end, overlap: ScheduleOverlapPolicy.ALLOW_ALL },
    ]);
    await schedule.trigger(ScheduleOverlapPolicy.ALLOW_ALL);
    const next = await post(local.stack.apiUrl, tenant, auditRecord());
    await untilLevel(local.stack.apiUrl, tenant, next.id, 'final');
    await assertUnbroken(local, tenant);
    const periods = (await seals(tenant)).map((seal) => seal.period);
    assert.equal(new Set(periods).size, periods.length);
  });

  it('F18: KMS answers with high s; what is stored and submitted is low', async () => {
    const tenant = await local.tenant();
    await local.kms.inject({ fault: 's-value', s: 'high', keyId: await local.keyId(tenant) });
    const record = await post(local.stack.apiUrl, tenant, auditRecord());
    await untilLevel(local.stack.apiUrl, tenant, record.id, 'final');
    const { registry } = local.stack;
    for (const seal of await seals(tenant)) {
      if (seal.signature === null) continue;
      assert.ok(BigInt(toHex(seal.signature.subarray(32, 64))) <= HALF_N);
      const digest = sealDigest(
        { chainId: local.stack.around.chainId, contract: registry.address },
        {
          logId: logId(tenant.genesisSigner, tenant.origin),
          seq: seal.seq,
          period: Number(seal.period),
          treeSize: Number(seal.tree_size),
          root: toHex(seal.root),
          prev: toHex(seal.prev),
        },
      );
      assert.equal(recoverSigner(digest, toHex(seal.signature)), tenant.genesisSigner);
    }
  });

  it("F19: KMS answers with another key's signature; it never leaves the signer, and an alert says so", async () => {
    const tenant = await local.tenant();
    await local.kms.inject({ fault: 'other-key', keyId: await local.keyId(tenant) });
    const record = await post(local.stack.apiUrl, tenant, auditRecord());
    const log = join(local.stack.around.state, 'logs', 'signing.log');
    await until('the alert', async () =>
      readFileSync(log, 'utf8').includes(`"alert":"foreign-signature","tenantId":"${tenant.id}"`) ? true : undefined,
    );
    assert.ok((await seals(tenant)).every((seal) => seal.signature === null));
    assert.deepEqual(await local.sealedEvents(tenant), []);
    // Once KMS answers as it should, everything is made up.
    await local.kms.clearFaults();
    await untilLevel(local.stack.apiUrl, tenant, record.id, 'final');
    await assertUnbroken(local, tenant);
  });

  it('F36: two sealing and two signing workers at once; one seal, no quarrel', async () => {
    const others = await Promise.all([local.another('sealing'), local.another('signing')]);
    try {
      const tenants = await local.tenants(3);
      const records = await Promise.all(tenants.map((tenant) => post(local.stack.apiUrl, tenant, auditRecord())));
      await Promise.all(
        tenants.map((tenant, index) => untilLevel(local.stack.apiUrl, tenant, records[index]!.id, 'final')),
      );
      for (const tenant of tenants) await assertUnbroken(local, tenant);

      // The same seal by three workflows at once, as after a reset or from a second cluster: no id keeps them apart.
      const [tenant] = tenants as [LocalTenant];
      const { length } = await local.sealedEvents(tenant);
      const record = await post(local.stack.apiUrl, tenant, auditRecord());
      const period = Math.floor(Date.parse(record.receivedAt) / 1000 / PERIOD_SECONDS) * PERIOD_SECONDS;
      const args: Parameters<typeof seal> = [
        { tenantId: tenant.id, period, periodSeconds: PERIOD_SECONDS, delaySeconds: 0 },
      ];
      const rivals = await Promise.all(
        ['one', 'two'].map((rival) =>
          local.temporal.workflow.start<typeof seal>('seal', {
            workflowId: `${rival}/${tenant.id}`,
            taskQueue: SEALING_QUEUE,
            args,
          }),
        ),
      );
      await untilLevel(local.stack.apiUrl, tenant, record.id, 'final');
      // The anchoring worker tells the workflow of the seal's own id; these would look again after minutes.
      await Promise.all(rivals.map((rival) => rival.signal('levelChanged')));
      const [one, two] = await Promise.all(rivals.map((rival) => rival.result()));
      assert.deepEqual([one?.level, one?.seq], ['final', two?.seq], 'both followed the one seal');
      assert.ok((await local.sealedEvents(tenant)).length > length);
      await assertUnbroken(local, tenant);
    } finally {
      await Promise.all(others.map((other) => other.stop()));
    }
  });
});
