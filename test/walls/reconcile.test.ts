import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { KMSClient, PutKeyPolicyCommand } from '@aws-sdk/client-kms';
import { environmentOf } from '../../dev/processes.ts';
import { ACCESS_KEYS } from '../../dev/kms-roles.ts';
import { packageRoot } from '../../dev/root.ts';
import type { LocalTenant } from '../../dev/tenant.ts';
import { keyPolicy } from '../../activities/kms/policy.ts';
import { JOURNAL, PRODUCT } from '../../sql/prepare.ts';
import { localStack, type LocalStack } from '../main-job/local-stack.ts';

describe('the reconciler', function () {
  this.timeout(120_000);
  let local: LocalStack;
  let tenant: LocalTenant;

  before(async () => {
    local = await localStack();
    tenant = await local.tenant();
  });

  const on = (database: string): string => {
    const url = new URL(local.stack.around.superuserUrl);
    url.pathname = `/${database}`;
    return url.href;
  };

  /** Runs the job as a deployment would. */
  function reconcile(env: Record<string, string> = {}): Promise<{ code: number; lines: string[]; stderr: string }> {
    const { DATABASE_URL: _, ...admin } = environmentOf('keyadmin', local.stack.around);
    const given = { ...admin, PRODUCT_SUPERUSER_URL: on(PRODUCT), JOURNAL_SUPERUSER_URL: on(JOURNAL), ...env };
    const entry = join(packageRoot, 'dist', 'workers', 'reconcile', 'main.js');
    return new Promise((resolve) => {
      execFile(process.execPath, [entry], { env: given }, (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code), lines: stdout.trimEnd().split('\n'), stderr }),
      );
    });
  }

  it('finds nothing on a deployment that is as it was made', async () => {
    const { code, lines } = await reconcile();
    assert.deepEqual(lines.slice(0, -1), []);
    assert.equal(code, 0);
  });

  it('names each grant, role setting and key policy that was changed', async () => {
    const { around } = local.stack;
    const KeyId = await local.keyId(tenant);
    const policy = keyPolicy('tenant', around.kms.roles) as { Statement: object[] };
    const breakGlass = new KMSClient({
      endpoint: around.kms.url,
      region: around.kms.region,
      credentials: { accessKeyId: ACCESS_KEYS.breakGlass, secretAccessKey: around.secrets.kms.breakGlass },
    });
    const put = (Statement: object[]) =>
      breakGlass.send(
        new PutKeyPolicyCommand({
          KeyId,
          PolicyName: 'default',
          Policy: JSON.stringify({ ...policy, Statement }),
          BypassPolicyLockoutSafetyCheck: true,
        }),
      );
    try {
      await local.sql(`GRANT SELECT ON kiff_t_${tenant.id}.bodies TO kiff_sealing`);
      await local.sql(`ALTER ROLE kiff_api SET statement_timeout = 0`);
      await put(policy.Statement.slice(1));
      const { code, lines } = await reconcile();
      assert.equal(code, 1);
      assert.deepEqual(lines.toSorted(), [
        `4 differences`,
        `alias/kiff/${tenant.id}: its policy is not the template`,
        `product: + role kiff_api: set statement_timeout=0`,
        `product: - role kiff_api: set statement_timeout=5s`,
        `tenant ${tenant.id}: + table kiff_t_{{tenant}}.bodies: grant SELECT to kiff_sealing`,
      ]);
    } finally {
      await local.sql(`REVOKE SELECT ON kiff_t_${tenant.id}.bodies FROM kiff_sealing`);
      await local.sql(`ALTER ROLE kiff_api SET statement_timeout = '5s'`);
      await put(policy.Statement);
      breakGlass.destroy();
    }
    assert.equal((await reconcile()).code, 0, 'control: put right again');
  });

  it('names an archive of a log that never ended', async () => {
    await local.sql('CREATE SCHEMA kiff_ended_nobody_1');
    try {
      const { code, lines } = await reconcile();
      assert.equal(code, 1);
      assert.deepEqual(lines.toSorted(), ['1 differences', 'archive kiff_ended_nobody_1: + a log that never ended']);
    } finally {
      await local.sql('DROP SCHEMA kiff_ended_nobody_1');
    }
  });

  it('says so when it cannot look', async () => {
    const { code, stderr } = await reconcile({ PRODUCT_SUPERUSER_URL: 'nonsense' });
    assert.equal(code, 2);
    assert.match(stderr, /PRODUCT_SUPERUSER_URL/);
  });
});
