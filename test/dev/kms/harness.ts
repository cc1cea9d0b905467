import { CreateKeyCommand, KMSClient } from '@aws-sdk/client-kms';
import type { CreateKeyCommandInput } from '@aws-sdk/client-kms';
import assert from 'node:assert/strict';
import { createPublicKey, verify } from 'node:crypto';
import { connectControl } from '../../../dev/kms/control.ts';
import type { KmsControl } from '../../../dev/kms/control.ts';
import { startKms } from '../../../dev/kms/server.ts';
import type { Kms, KmsOptions } from '../../../dev/kms/server.ts';

process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] = 'true';

export const region = 'eu-central-1';
export const account = '111122223333';
export const tenantAccount = '444455556666';
export const controlToken = 'control-token-for-tests';

const role = (name: string, of = account): string => `arn:aws:iam::${of}:role/${name}`;

/** Who plays: `owner` is the account's all-powerful IAM user; `stranger` is known and may do nothing; `visitor` lives in another account. */
export const principals = {
  AKIAOWNER: { secretAccessKey: 'owner-secret', arn: `arn:aws:iam::${account}:user/owner`, allow: ['kms:*'] },
  AKIAADMIN: {
    secretAccessKey: 'admin-secret',
    arn: role('kiff-admin'),
    allow: [
      'kms:CreateKey',
      'kms:TagResource',
      'kms:ListAliases',
      'kms:CreateAlias',
      'kms:UpdateAlias',
      'kms:DeleteAlias',
    ],
  },
  AKIASIGNER: { secretAccessKey: 'signer-secret', arn: role('kiff-signer') },
  AKIASESSION: {
    secretAccessKey: 'session-secret',
    sessionToken: 'session-token',
    arn: `arn:aws:sts::${account}:assumed-role/kiff-signer/worker-1`,
  },
  AKIASTRANGER: { secretAccessKey: 'stranger-secret', arn: role('stranger') },
  AKIAVISITOR: {
    secretAccessKey: 'visitor-secret',
    arn: role('visitor', tenantAccount),
    allow: ['kms:Sign', 'kms:DescribeKey', 'kms:GetPublicKey', 'kms:GetKeyPolicy'],
  },
  AKIAPOORVISITOR: { secretAccessKey: 'poor-secret', arn: role('poor-visitor', tenantAccount) },
  AKIATENANT: { secretAccessKey: 'tenant-secret', arn: `arn:aws:iam::${tenantAccount}:root` },
} satisfies KmsOptions['principals'];

export type Who = 'owner' | 'admin' | 'signer' | 'session' | 'stranger' | 'visitor' | 'poorvisitor' | 'tenant';

export interface Harness {
  readonly kms: Kms;
  readonly control: KmsControl;
  /** A client of the real SDK, one attempt per call unless `config` says otherwise. */
  as(who: Who, config?: object): KMSClient;
  stop(): Promise<void>;
}

export async function startHarness(options: Partial<KmsOptions> = {}): Promise<Harness> {
  const kms = await startKms({ principals, controlToken, ...options });
  const clients: KMSClient[] = [];
  return {
    kms,
    control: connectControl({ url: kms.url, token: controlToken }),
    as: (who, config = {}) => {
      const accessKeyId = `AKIA${who.toUpperCase()}` as keyof typeof principals;
      const credentials = { accessKeyId, ...principals[accessKeyId] };
      const client = new KMSClient({ endpoint: kms.url, region, credentials, maxAttempts: 1, ...config });
      clients.push(client);
      return client;
    },
    stop: async () => {
      for (const client of clients) client.destroy();
      await kms.stop();
    },
  };
}

/** Asserts that a call fails with this error, this HTTP status and, if given, a message like this. */
export async function refused(call: Promise<unknown>, name: string, message = /^/, status = 400): Promise<void> {
  await assert.rejects(call, (error: Error & { $metadata?: { httpStatusCode?: number } }) => {
    assert.equal(error.name, name, `${error.name}: ${error.message}`);
    assert.match(error.message, message);
    assert.equal(error.$metadata?.httpStatusCode, status);
    return true;
  });
}

export interface TestKey {
  readonly id: string;
  readonly arn: string;
}

export async function createKey(client: KMSClient, input: CreateKeyCommandInput = {}): Promise<TestKey> {
  const { KeyMetadata } = await client.send(
    new CreateKeyCommand({ KeySpec: 'ECC_SECG_P256K1', KeyUsage: 'SIGN_VERIFY', ...input }),
  );
  assert.ok(KeyMetadata?.KeyId !== undefined && KeyMetadata.Arn !== undefined);
  return { id: KeyMetadata.KeyId, arn: KeyMetadata.Arn };
}

/** Checks a signature with OpenSSL, which shares nothing with what made it. `message` is hashed with SHA-256 by OpenSSL. */
export function opensslVerifies(
  spki: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
  hash: 'sha256' | null,
): boolean {
  const key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
  return verify(hash, message, key, signature);
}

/** A key policy that leaves everything to the account's IAM, and what else is given. */
export const iamPolicy = (more: object[] = [], root = `arn:aws:iam::${account}:root`): string =>
  JSON.stringify({
    Version: '2012-10-17',
    Statement: [{ Effect: 'Allow', Principal: { AWS: root }, Action: 'kms:*', Resource: '*' }, ...more],
  });
