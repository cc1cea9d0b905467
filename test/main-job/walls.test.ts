/** What each process is given, and what Temporal is told. What credentials may do is tried in test/walls/. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { PROCESSES, environmentOf, type ProcessName, type ProgramName } from '../../dev/processes.ts';
import type { LocalTenant } from '../../dev/tenant.ts';
import { auditRecord, get, post, until, untilLevel } from './client.ts';
import { localStack, type LocalStack } from './local-stack.ts';

describe('processes and histories', function () {
  this.timeout(120_000);
  let local: LocalStack;
  let tenant: LocalTenant;

  before(async () => {
    local = await localStack();
    tenant = await local.tenant();
  });

  describe('processes', () => {
    const own: Record<ProcessName, RegExp> = {
      api: /^(DATABASE_URL|KIFF_INCARNATION|TENANT_LOGIN_SECRET|PROMISE_KEY|API_HOST|API_PORT|CHAIN_ID|CONTRACT|CLERK_JWT_KEY|CLERK_AUTHORIZED_PARTIES)$/,
      custody:
        /^(DATABASE_URL|KIFF_INCARNATION|CUSTODY_(ORIGIN|LOGIN_SECRET)|CHAIN_ID|CONTRACT|CLERK_(JWT_KEY|AUTHORIZED_PARTIES)|PASSKEY_MIN_AGE_SECONDS|API_HOST|API_PORT)$/,
      webhooks: /^(DATABASE_URL|KIFF_INCARNATION|CLERK_WEBHOOK_SIGNING_SECRET|API_HOST|API_PORT)$/,
      sealing: /^(TEMPORAL_\w+|DATABASE_URL|KIFF_HOST|KIFF_INCARNATION|SEAL_SPREAD_SECONDS|CUSTODY_\w+_SECONDS)$/,
      signing:
        /^(TEMPORAL_\w+|DATABASE_URL|JOURNAL_URL|KIFF_HOST|KIFF_INCARNATION|BASE_RPC_URLS|CHAIN_ID|CONTRACT|FROM_BLOCK|KMS_\w+_ARN|AWS_\w+|CUSTODY_ORIGIN|CLERK_(JWT_KEY|AUTHORIZED_PARTIES)|PASSKEY_MIN_AGE_SECONDS)$/,
      anchoring:
        /^(TEMPORAL_\w+|DATABASE_URL|KIFF_INCARNATION|BASE_RPC_URLS|CHAIN_ID|CONTRACT|FROM_BLOCK|POLL_SECONDS|IDLE_SECONDS|AWS_\w+)$/,
      keyadmin: /^(TEMPORAL_\w+|DATABASE_URL|KIFF_INCARNATION|KMS_\w+_ARN|AWS_\w+)$/,
      migration: /^(TEMPORAL_\w+|KIFF_INCARNATION|DATABASE_URL|TENANT_LOGIN_SECRET|CUSTODY_LOGIN_SECRET)$/,
      notify: /^(DATABASE_URL|KIFF_INCARNATION|VETO_ORIGIN|CUSTODY_ORIGIN|MAIL_URL|MAIL_FROM|WEBHOOKS_TO_LOOPBACK)$/,
      veto: /^(DATABASE_URL|KIFF_INCARNATION|API_HOST|API_PORT)$/,
    };

    for (const name of PROCESSES) {
      it(`${name} has its own credentials in its environment and nothing else`, function () {
        if (process.platform !== 'linux') this.skip();
        const running = local.stack.processes.get(name);
        assert.ok(running);
        const environment = readFileSync(`/proc/${running.pid}/environ`, 'utf8')
          .split('\0')
          .filter((line) => line !== '');
        assert.ok(environment.length > 0);
        for (const line of environment) assert.match(line.slice(0, line.indexOf('=')), own[name]);
      });
    }

    it('no two of them share a database login or an access key', () => {
      const { around } = local.stack;
      const programs: readonly ProgramName[] = [...PROCESSES, 'recovery'];
      const credentials = programs.flatMap((name) => {
        const environment = environmentOf(name, around);
        return ['DATABASE_URL', 'JOURNAL_URL', 'AWS_ACCESS_KEY_ID'].flatMap((variable) => environment[variable] ?? []);
      });
      assert.equal(new Set(credentials).size, credentials.length);
    });
  });

  describe('Temporal', () => {
    it('holds no content of a tenant, in no history, failed ones included', async () => {
      const secret = `Ada-Lovelace-${process.pid}`;
      const record = auditRecord({ message: secret, data: { customer: secret }, actor_id: secret, entity_id: secret });
      const posted = await post(local.stack.apiUrl, tenant, record);
      await untilLevel(local.stack.apiUrl, tenant, posted.id, 'final');
      const stored = await get(local.stack.apiUrl, tenant, `/v1/records/${posted.id}`);
      assert.ok(stored.text.includes(secret), 'control: it is there, where it belongs');

      // A seal that fails for good: a superuser alters the stored record of a log of its own.
      const [victim] = await local.tenants(1);
      assert.ok(victim);
      const damaged = await post(local.stack.apiUrl, victim, auditRecord({ id: `${secret}:damaged`, message: secret }));
      const records = `kiff_t_${victim.id}.records`;
      await local.sql(
        `CREATE TABLE public.undamaged AS SELECT leaf_index, entry FROM ${records} WHERE leaf_index = $1`,
        [damaged.leafIndex],
      );
      await local.sql(`ALTER TABLE ${records} DROP CONSTRAINT leaf_hash_of_entry`);
      await local.sql(`UPDATE ${records} SET entry = convert_to($1, 'UTF8') WHERE leaf_index = $2`, [
        secret,
        damaged.leafIndex,
      ]);
      const failed = await until('the seal to fail', async () => {
        const query = `TenantId = '${victim.id}' AND ExecutionStatus = 'Failed'`;
        for await (const workflow of local.temporal.workflow.list({ query })) return workflow;
        return undefined;
      });
      const { events } = await local.temporal.workflow.getHandle(failed.workflowId, failed.runId).fetchHistory();
      const attributes = events?.at(-1)?.workflowExecutionFailedEventAttributes;
      assert.equal(attributes?.failure?.cause?.applicationFailureInfo?.type, 'record-altered');
      // Other tests find the deployment as it was made.
      await local.sql(
        `UPDATE ${records} r SET entry = u.entry FROM public.undamaged u WHERE u.leaf_index = r.leaf_index`,
      );
      await local.sql(`DROP TABLE public.undamaged`);
      await local.sql(
        `ALTER TABLE ${records} ADD CONSTRAINT leaf_hash_of_entry CHECK (leaf_hash = sha256('\\x00'::bytea || entry))`,
      );

      let histories = 0;
      for await (const { workflowId, runId } of local.temporal.workflow.list()) {
        const history = await local.temporal.workflow.getHandle(workflowId, runId).fetchHistory();
        for (const text of strings(history)) {
          assert.ok(!text.includes(secret), `${workflowId} holds the tenant's content`);
          assert.ok(!text.includes(tenant.apiKey) && !text.includes('postgres://'), `${workflowId} holds a secret`);
        }
        histories++;
      }
      assert.ok(histories > 3);
    });
  });
});

/** Every string and every decoded payload in a history. */
function* strings(value: unknown): Generator<string> {
  if (typeof value === 'string') yield value;
  else if (value instanceof Uint8Array) yield Buffer.from(value).toString('utf8');
  else if (Array.isArray(value)) for (const item of value) yield* strings(item);
  else if (value !== null && typeof value === 'object')
    for (const [name, member] of Object.entries(value)) {
      yield name;
      yield* strings(member);
    }
}
