/** The walls that stand from the first day, each tried from the wrong side with real credentials. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import {
  CreateKeyCommand,
  DisableKeyCommand,
  KMSClient,
  PutKeyPolicyCommand,
  ScheduleKeyDeletionCommand,
  SignCommand,
} from '@aws-sdk/client-kms';
import pg from 'pg';
import { OPERATOR_ALIAS, RELAYER_ALIAS, tenantKeyAlias } from '../../activities/kms/keys.ts';
import { PROCESSES, environmentOf, type ProcessName } from '../../dev/processes.ts';
import type { LocalTenant } from '../../dev/tenant.ts';
import { auditRecord, get, post, until, untilLevel } from './client.ts';
import { localStack, type LocalStack } from './local-stack.ts';

/** A digest for a key to sign. */
const sign = (alias: string): SignCommand =>
  new SignCommand({
    KeyId: alias,
    Message: new Uint8Array(32),
    MessageType: 'DIGEST',
    SigningAlgorithm: 'ECDSA_SHA_256',
  });

/** Runs a statement with a process's own login and expects that it is refused. */
async function refusedBy(
  { stack }: LocalStack,
  name: ProcessName,
  statement: string,
  variable = 'DATABASE_URL',
): Promise<void> {
  const connectionString = environmentOf(name, stack.around)[variable]!;
  const client = new pg.Client({ connectionString });
  await client.connect();
  try {
    await assert.rejects(client.query(statement), { code: '42501' }, statement);
  } finally {
    await client.end();
  }
}

describe('walls', function () {
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
      custody: /^(DATABASE_URL|KIFF_INCARNATION|CUSTODY_ORIGIN|API_HOST|API_PORT)$/,
      sealing: /^(TEMPORAL_\w+|DATABASE_URL|KIFF_HOST|KIFF_INCARNATION|SEAL_SPREAD_SECONDS)$/,
      signing:
        /^(TEMPORAL_\w+|DATABASE_URL|JOURNAL_URL|KIFF_HOST|KIFF_INCARNATION|BASE_RPC_URLS|CHAIN_ID|CONTRACT|KMS_\w+_ARN|AWS_\w+)$/,
      anchoring:
        /^(TEMPORAL_\w+|DATABASE_URL|KIFF_INCARNATION|BASE_RPC_URLS|CHAIN_ID|CONTRACT|FROM_BLOCK|POLL_SECONDS|IDLE_SECONDS|AWS_\w+)$/,
      keyadmin: /^(TEMPORAL_\w+|DATABASE_URL|KIFF_INCARNATION|KMS_\w+_ARN|AWS_\w+)$/,
      migration: /^(TEMPORAL_\w+|KIFF_INCARNATION|DATABASE_URL|TENANT_LOGIN_SECRET|CUSTODY_LOGIN_SECRET)$/,
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
      const credentials = PROCESSES.flatMap((name) => {
        const environment = environmentOf(name, around);
        return ['DATABASE_URL', 'JOURNAL_URL', 'AWS_ACCESS_KEY_ID'].flatMap((variable) => environment[variable] ?? []);
      });
      assert.equal(new Set(credentials).size, credentials.length);
    });
  });

  describe('KMS', () => {
    type Role = keyof LocalStack['stack']['around']['kms']['keys'];
    const clients: KMSClient[] = [];
    const as = (role: Role): KMSClient => {
      const { url, region, keys } = local.stack.around.kms;
      const { id: accessKeyId, secret: secretAccessKey } = keys[role];
      const client = new KMSClient({
        endpoint: url,
        region,
        credentials: { accessKeyId, secretAccessKey },
        maxAttempts: 1,
      });
      clients.push(client);
      return client;
    };
    after(() => {
      for (const client of clients) client.destroy();
    });

    const denied = { name: 'AccessDeniedException' };

    it('control: the signer may sign with a tenant key', async () => {
      const { Signature } = await as('signer').send(sign(tenantKeyAlias(tenant.id)));
      assert.ok(Signature !== undefined && Signature.length > 60);
    });

    it('the administrator cannot sign with any key', async () => {
      for (const alias of [tenantKeyAlias(tenant.id), RELAYER_ALIAS])
        await assert.rejects(as('admin').send(sign(alias)), denied);
      await assert.rejects(
        as('admin').send(
          new SignCommand({
            KeyId: OPERATOR_ALIAS,
            Message: new Uint8Array(3),
            MessageType: 'RAW',
            SigningAlgorithm: 'ED25519_SHA_512',
          }),
        ),
        denied,
      );
    });

    it('the administrator cannot give itself the right to', async () => {
      const KeyId = await local.keyId(tenant);
      await assert.rejects(
        as('admin').send(new PutKeyPolicyCommand({ KeyId, PolicyName: 'default', Policy: '{}' })),
        denied,
      );
    });

    it('the relayer signs with its own key only, the signer not with the relayer key', async () => {
      await assert.rejects(as('relayer').send(sign(tenantKeyAlias(tenant.id))), denied);
      await assert.rejects(as('signer').send(sign(RELAYER_ALIAS)), denied);
      await as('relayer').send(sign(RELAYER_ALIAS));
    });

    it('the signer administers nothing, and signs digests with ECDSA only', async () => {
      const KeyId = await local.keyId(tenant);
      const signer = as('signer');
      await assert.rejects(signer.send(new DisableKeyCommand({ KeyId })), denied);
      await assert.rejects(signer.send(new ScheduleKeyDeletionCommand({ KeyId, PendingWindowInDays: 7 })), denied);
      await assert.rejects(
        signer.send(new CreateKeyCommand({ KeySpec: 'ECC_SECG_P256K1', KeyUsage: 'SIGN_VERIFY' })),
        denied,
      );
      await assert.rejects(
        signer.send(
          new SignCommand({ KeyId, Message: new Uint8Array(5), MessageType: 'RAW', SigningAlgorithm: 'ECDSA_SHA_256' }),
        ),
        denied,
      );
    });
  });

  describe('databases', () => {
    it('the journal is read and appended to, never changed', async () => {
      for (const table of ['logs', 'statements', 'signatures']) {
        await refusedBy(local, 'signing', `DELETE FROM journal.${table}`, 'JOURNAL_URL');
        await refusedBy(local, 'signing', `TRUNCATE journal.${table}`, 'JOURNAL_URL');
      }
      await refusedBy(local, 'signing', `UPDATE journal.statements SET root = prev`, 'JOURNAL_URL');
    });

    it('no other login gets into the journal database', async () => {
      const url = new URL(environmentOf('sealing', local.stack.around)['DATABASE_URL']!);
      url.pathname = new URL(environmentOf('signing', local.stack.around)['JOURNAL_URL']!).pathname;
      const client = new pg.Client({ connectionString: url.href });
      await assert.rejects(client.connect(), { code: '42501' });
    });

    it('each worker keeps to its own step', async () => {
      const schema = `kiff_t_${tenant.id}`;
      await refusedBy(local, 'api', `SELECT * FROM kiff.tenants`);
      await refusedBy(local, 'api', `SELECT * FROM kiff.api_keys`);
      await refusedBy(local, 'api', `SELECT * FROM ${schema}.records`);
      await refusedBy(local, 'sealing', `SELECT * FROM ${schema}.bodies`);
      await refusedBy(local, 'sealing', `INSERT INTO ${schema}.records (leaf_index) VALUES (0)`);
      await refusedBy(local, 'sealing', `UPDATE ${schema}.seals SET level = 'final'`);
      await refusedBy(local, 'sealing', `SELECT ${schema}.record_signature(1, '', '', 0, '', '', '')`);
      await refusedBy(local, 'signing', `SELECT * FROM ${schema}.records`);
      await refusedBy(local, 'signing', `SELECT ${schema}.collect(0)`);
      await refusedBy(local, 'signing', `SELECT ${schema}.record_root(1, '')`);
      await refusedBy(local, 'anchoring', `SELECT * FROM ${schema}.seals`);
      await refusedBy(local, 'anchoring', `UPDATE kiff.nonces SET state = 'open'`);
      for (const name of ['api', 'sealing', 'signing', 'anchoring'] as const) {
        await refusedBy(local, name, `SET ROLE kiff_owner`);
        await refusedBy(local, name, `CREATE TABLE kiff.mine ()`);
      }
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
      await local.sql(`ALTER TABLE kiff_t_${victim.id}.records DROP CONSTRAINT leaf_hash_of_entry`);
      await local.sql(`UPDATE kiff_t_${victim.id}.records SET entry = convert_to($1, 'UTF8') WHERE leaf_index = $2`, [
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
