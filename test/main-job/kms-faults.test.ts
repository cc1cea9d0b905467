/** KMS on bad days: rows F14 to F17 of the fault table, on the whole stack. Ingest never notices, and no tenant pays for another. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  CancelKeyDeletionCommand,
  DisableKeyCommand,
  EnableKeyCommand,
  GetKeyPolicyCommand,
  KMSClient,
  PutKeyPolicyCommand,
  ScheduleKeyDeletionCommand,
} from '@aws-sdk/client-kms';
import { ACCESS_KEYS } from '../../dev/kms-roles.ts';
import { withAdminKms } from '../../dev/kms-client.ts';
import type { LocalTenant } from '../../dev/tenant.ts';
import { auditRecord, get, post, until, untilLevel } from './client.ts';
import { localStack, type LocalStack } from './local-stack.ts';
import { assertUnbroken, storedSeals } from './unbroken.ts';

describe('KMS on a bad day', function () {
  this.timeout(150_000);
  let local: LocalStack;

  let tenants: LocalTenant[];

  before(async () => {
    local = await localStack();
    tenants = await local.tenants(6);
  });
  afterEach(() => local.kms.clearFaults());

  const send = (tenant: LocalTenant) => post(local.stack.apiUrl, tenant, auditRecord());
  const final = (tenant: LocalTenant, { id }: { id: string }) => untilLevel(local.stack.apiUrl, tenant, id, 'final');

  /** Replaces what a key's policy says, as somebody with the break-glass role; answers how it was. */
  async function putPolicy(keyId: string, change: (policy: string) => string): Promise<string> {
    const { url, region } = local.stack.around.kms;
    const secretAccessKey = local.stack.around.secrets.kms.breakGlass;
    const client = new KMSClient({
      endpoint: url,
      region,
      credentials: { accessKeyId: ACCESS_KEYS.breakGlass, secretAccessKey },
    });
    try {
      const { Policy = '' } = await client.send(new GetKeyPolicyCommand({ KeyId: keyId, PolicyName: 'default' }));
      await client.send(
        new PutKeyPolicyCommand({
          KeyId: keyId,
          PolicyName: 'default',
          Policy: change(Policy),
          BypassPolicyLockoutSafetyCheck: true,
        }),
      );
      return Policy;
    } finally {
      client.destroy();
    }
  }

  const alertsAbout = (tenant: LocalTenant): string[] =>
    [
      ...readFileSync(join(local.stack.around.state, 'logs', 'signing.log'), 'utf8').matchAll(
        /"alert":"([a-z-]+)","tenantId":"(\w+)"/g,
      ),
    ]
      .filter(([, , id]) => id === tenant.id)
      .map(([, alert = '']) => alert);

  /** How often KMS has said no to anything that was asked of a key. */
  const tries = async (keyId: string): Promise<number> =>
    (await local.kms.calls())
      .filter((call) => call.keyId === keyId && call.outcome !== 'ok')
      .reduce((sum, { count }) => sum + count, 0);
  const unsigned = async (tenant: LocalTenant): Promise<number> =>
    (await storedSeals(local, tenant)).filter((seal) => seal.signature === null).length;
  const signingOf = async (tenant: LocalTenant): Promise<unknown> =>
    ((await get(local.stack.apiUrl, tenant, '/v1/seals?limit=1')).body as { signing: unknown }).signing;

  it('F15, F16, F17: errors and time-outs of one key hold up no other; refusals are shown and told once; all is made up in order', async () => {
    const [failing, hanging, disabled, doomed, denied, healthy] = tenants as [
      LocalTenant,
      LocalTenant,
      LocalTenant,
      LocalTenant,
      LocalTenant,
      LocalTenant,
    ];
    const blocked: [LocalTenant, string][] = [
      [disabled, 'kms-refused'],
      [doomed, 'kms-refused'],
      [denied, 'kms-denied'],
    ];
    const keys = new Map(
      await Promise.all(tenants.map(async (tenant) => [tenant, await local.keyId(tenant)] as const)),
    );
    const key = (tenant: LocalTenant): string => keys.get(tenant)!;

    await local.kms.inject(
      { fault: 'server-error', action: 'Sign', keyId: key(failing) },
      { fault: 'delay', ms: 60_000, action: 'Sign', keyId: key(hanging) },
    );
    await withAdminKms(local.stack.around.kms, async (admin) => {
      await admin.send(new DisableKeyCommand({ KeyId: key(disabled) }));
      await admin.send(new ScheduleKeyDeletionCommand({ KeyId: key(doomed), PendingWindowInDays: 7 }));
    });
    // A key's policy is compared with the template before the first seal: what drifts later is what KMS finds.
    const first = await send(denied);
    await untilLevel(local.stack.apiUrl, denied, first.id, 'sealed');
    const signerArn = local.stack.around.kms.roles.signer;
    const policy = await putPolicy(key(denied), (text) => text.replaceAll(signerArn, `${signerArn}-of-yesterday`));
    await local.kms.resetCalls();

    const records = await Promise.all(tenants.map(send));
    await final(healthy, records[5]!);
    for (const [tenant, reason] of blocked) {
      await until(`${tenant.id} to be blocked`, async () => {
        const signing = (await signingOf(tenant)) as { blocked: string } | null;
        return signing?.blocked === reason ? true : undefined;
      });
      await until('the operator to see it', async () => {
        const query = `TenantId = '${tenant.id}' AND \`Level\` = 'signing-blocked'`;
        const { count } = await local.temporal.workflow.count(query);
        return count > 0 ? true : undefined;
      });
      await until('several periods to have tried', async () =>
        (await unsigned(tenant)) >= 3 && (await tries(key(tenant))) >= 3 ? true : undefined,
      );
      const seals = (await storedSeals(local, tenant)).length;
      assert.ok((await tries(key(tenant))) <= 3 * seals, 'no storm');
      assert.deepEqual(alertsAbout(tenant), [reason], 'told once, however often it was tried');
    }
    for (const tenant of [failing, hanging]) {
      assert.ok((await unsigned(tenant)) >= 2, `${tenant.id} waits`);
      assert.equal(await signingOf(tenant), null, 'what passes by itself is not called blocked');
    }
    const later = await Promise.all(tenants.map(send));

    await local.kms.clearFaults();
    await withAdminKms(local.stack.around.kms, async (admin) => {
      await admin.send(new EnableKeyCommand({ KeyId: key(disabled) }));
      await admin.send(new CancelKeyDeletionCommand({ KeyId: key(doomed) }));
      await admin.send(new EnableKeyCommand({ KeyId: key(doomed) }));
    });
    await putPolicy(key(denied), () => policy);
    await Promise.all(tenants.map((tenant, index) => final(tenant, later[index]!)));
    for (const tenant of tenants) {
      await assertUnbroken(local, tenant);
      assert.equal(await signingOf(tenant), null);
    }
  });

  it('F14: KMS throttles a hundred times; all logs are sealed late, none is lost, and their retries are spread', async () => {
    await local.kms.inject({ fault: 'throttle', action: 'Sign', times: 100 });
    const records = await Promise.all(tenants.map(send));
    const ids = tenants.map(({ id }) => `'${id}'`).join(',');
    const query = `WorkflowType = 'seal' AND ExecutionStatus = 'Running' AND \`TenantId\` IN (${ids})`;
    const waits = new Map<string, number>();
    await until(
      'KMS to have throttled a hundred times',
      async () => {
        for await (const { workflowId } of local.temporal.workflow.list({ query })) {
          const { raw } = await local.temporal.workflow.getHandle(workflowId).describe();
          for (const { activityType, attempt, lastFailure } of raw.pendingActivities ?? []) {
            const info = lastFailure?.applicationFailureInfo;
            if (activityType?.name !== 'signSeals' || info?.nextRetryDelay == null) continue;
            assert.equal(info.type, 'kms-unavailable');
            const { seconds, nanos } = info.nextRetryDelay;
            waits.set(`${workflowId} ${attempt}`, Number(seconds) * 1_000 + (nanos ?? 0) / 1e6);
          }
        }
        return (await local.kms.faults()).length === 0 ? true : undefined;
      },
      90_000,
    );
    assert.ok(new Set(waits.values()).size > 1, 'the waits differ');
    for (const wait of waits.values()) assert.ok(wait >= 500, `${wait} ms is no back-off`);
    await Promise.all(tenants.map((tenant, index) => final(tenant, records[index]!)));
    for (const tenant of tenants) {
      await assertUnbroken(local, tenant);
      assert.deepEqual(
        alertsAbout(tenant).filter((alert) => alert === 'kms-unavailable'),
        [],
        'nobody is woken for it',
      );
    }
  });
});
