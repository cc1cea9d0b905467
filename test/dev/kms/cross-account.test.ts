import {
  DescribeKeyCommand,
  DisableKeyCommand,
  GetKeyPolicyCommand,
  ListKeysCommand,
  PutKeyPolicyCommand,
  SignCommand,
} from '@aws-sdk/client-kms';
import type { KMSClient } from '@aws-sdk/client-kms';
import assert from 'node:assert/strict';
import { createKey, iamPolicy, principals, refused, startHarness, tenantAccount } from './harness.ts';
import type { Harness, TestKey } from './harness.ts';

const sign = (client: KMSClient, KeyId: string) =>
  client.send(
    new SignCommand({ KeyId, Message: new Uint8Array(32), MessageType: 'DIGEST', SigningAlgorithm: 'ECDSA_SHA_256' }),
  );

describe('dev/kms across accounts', () => {
  let harness: Harness;
  let owner: KMSClient;
  let signer: KMSClient;
  before(async () => {
    harness = await startHarness();
    [owner, signer] = [harness.as('owner'), harness.as('signer')];
  });
  after(() => harness.stop());

  const signerArn = principals.AKIASIGNER.arn;
  const visitorArn = principals.AKIAVISITOR.arn;
  const root = `arn:aws:iam::${tenantAccount}:root`;
  let tenant: KMSClient;
  let key: TestKey;
  before(async () => {
    tenant = harness.as('tenant');
    const cloudSigner = {
      Effect: 'Allow',
      Principal: { AWS: signerArn },
      Action: ['kms:Sign', 'kms:DescribeKey', 'kms:GetKeyPolicy'],
      Resource: '*',
    };
    key = await createKey(tenant, { Policy: iamPolicy([cloudSigner], root) });
  });

  it('a key belongs to its creator’s account, and only ARNs reach it from outside', async () => {
    assert.match(key.arn, new RegExp(`:${tenantAccount}:key/`));
    await refused(owner.send(new DescribeKeyCommand({ KeyId: key.id })), 'NotFoundException');
    const { Keys } = await owner.send(new ListKeysCommand({}));
    assert.ok(Keys?.every(({ KeyArn }) => KeyArn !== key.arn));
  });

  it('needs the key policy and the caller’s own IAM, both', async () => {
    // The policy names the signer, but the signer's account gives it nothing.
    await refused(sign(signer, key.arn), 'AccessDeniedException', /no identity-based policy/);
    // The owner has all of IAM, but the policy does not know it.
    await refused(sign(owner, key.arn), 'AccessDeniedException', /does not exist in this Region/);
    const ours = await createKey(owner, {
      Policy: iamPolicy([{ Effect: 'Allow', Principal: { AWS: visitorArn }, Action: 'kms:Sign', Resource: '*' }]),
    });
    assert.equal((await sign(harness.as('visitor'), ours.arn)).KeyId, ours.arn);
    await refused(sign(harness.as('poorvisitor'), ours.arn), 'AccessDeniedException');
    await owner.send(new PutKeyPolicyCommand({ KeyId: ours.id, Policy: iamPolicy() }));
    await refused(sign(harness.as('visitor'), ours.arn), 'AccessDeniedException', /does not exist in this Region/);
  });

  it('an account named in the policy hands it on by its IAM', async () => {
    const delegated = {
      Effect: 'Allow',
      Principal: { AWS: tenantAccount },
      Action: 'kms:DescribeKey',
      Resource: '*',
    };
    const ours = await createKey(owner, { Policy: iamPolicy([delegated]) });
    await harness.as('visitor').send(new DescribeKeyCommand({ KeyId: ours.arn }));
    await refused(harness.as('poorvisitor').send(new DescribeKeyCommand({ KeyId: ours.arn })), 'AccessDeniedException');
  });

  it('says the same of a key that is missing as of one that is forbidden', async () => {
    const missing = key.arn.replace(/[^/]+$/, '7e4c9b1e-0f8f-4d7e-9a8a-2b1f0a7c3d11');
    await refused(
      owner.send(new DescribeKeyCommand({ KeyId: missing })),
      'AccessDeniedException',
      /does not exist in this Region/,
    );
    await refused(
      owner.send(new DescribeKeyCommand({ KeyId: key.arn })),
      'AccessDeniedException',
      /does not exist in this Region/,
    );
  });

  it('administration and GetKeyPolicy never cross, whatever the policy says', async () => {
    const open = { Effect: 'Allow', Principal: { AWS: visitorArn }, Action: 'kms:*', Resource: '*' };
    const ours = await createKey(owner, { Policy: iamPolicy([open]) });
    await harness.as('visitor').send(new DescribeKeyCommand({ KeyId: ours.arn }));
    await refused(harness.as('visitor').send(new GetKeyPolicyCommand({ KeyId: ours.arn })), 'AccessDeniedException');
    await refused(tenant.send(new DisableKeyCommand({ KeyId: ours.arn })), 'AccessDeniedException');
  });
});
