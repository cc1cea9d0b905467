import {
  CreateAliasCommand,
  CreateGrantCommand,
  CreateKeyCommand,
  DescribeKeyCommand,
  DisableKeyCommand,
  EnableKeyCommand,
  GetKeyPolicyCommand,
  GetPublicKeyCommand,
  ListAliasesCommand,
  ListKeysCommand,
  PutKeyPolicyCommand,
  ScheduleKeyDeletionCommand,
  SignCommand,
} from '@aws-sdk/client-kms';
import type { KMSClient } from '@aws-sdk/client-kms';
import assert from 'node:assert/strict';
import { createKey, iamPolicy, principals, refused, startHarness } from './harness.ts';
import type { Harness, TestKey } from './harness.ts';

const adminArn = principals.AKIAADMIN.arn;
const signerArn = principals.AKIASIGNER.arn;

/** The shape of design section 3, wall 4: only the signer signs, the admin administers without touching policy or grants. */
function walledPolicy(): string {
  return JSON.stringify({
    Version: '2012-10-17',
    Statement: [
      {
        Sid: 'OnlyTheSignerSigns',
        Effect: 'Deny',
        Principal: '*',
        Action: 'kms:Sign',
        Resource: '*',
        Condition: { ArnNotEquals: { 'aws:PrincipalArn': signerArn } },
      },
      {
        Sid: 'Sign',
        Effect: 'Allow',
        Principal: { AWS: signerArn },
        Action: 'kms:Sign',
        Resource: '*',
        Condition: { StringEquals: { 'kms:SigningAlgorithm': 'ECDSA_SHA_256', 'kms:MessageType': 'DIGEST' } },
      },
      {
        Sid: 'Look',
        Effect: 'Allow',
        Principal: { AWS: signerArn },
        Action: ['kms:GetPublicKey', 'kms:DescribeKey', 'kms:GetKeyPolicy'],
        Resource: '*',
      },
      {
        Sid: 'Administer',
        Effect: 'Allow',
        Principal: { AWS: adminArn },
        Action: ['kms:DescribeKey', 'kms:EnableKey', 'kms:DisableKey', 'kms:ScheduleKeyDeletion', 'kms:CreateAlias'],
        Resource: '*',
      },
    ],
  });
}

const create = (client: KMSClient, Policy: string, bypass?: boolean) =>
  client.send(
    new CreateKeyCommand({
      KeySpec: 'ECC_SECG_P256K1',
      KeyUsage: 'SIGN_VERIFY',
      Policy,
      ...(bypass === undefined ? {} : { BypassPolicyLockoutSafetyCheck: bypass }),
    }),
  );

const createAlias = (client: KMSClient, name: string, TargetKeyId: string) =>
  client.send(new CreateAliasCommand({ AliasName: `alias/${name}`, TargetKeyId }));

describe('dev/kms authorization', () => {
  let harness: Harness;
  let owner: KMSClient;
  let admin: KMSClient;
  let signer: KMSClient;
  before(async () => {
    harness = await startHarness();
    [owner, admin, signer] = [harness.as('owner'), harness.as('admin'), harness.as('signer')];
  });
  after(() => harness.stop());

  const digest = { Message: new Uint8Array(32), MessageType: 'DIGEST', SigningAlgorithm: 'ECDSA_SHA_256' } as const;
  const sign = (client: KMSClient, KeyId: string, more: object = {}) =>
    client.send(new SignCommand({ KeyId, ...digest, ...more }));

  describe('the walled key', () => {
    let key: TestKey;
    before(async () => {
      key = await createKey(admin, { Policy: walledPolicy(), BypassPolicyLockoutSafetyCheck: true });
    });

    it('the signer signs, looks, and does nothing else', async () => {
      assert.equal((await sign(signer, key.id)).KeyId, key.arn);
      assert.equal((await sign(harness.as('session'), key.id)).KeyId, key.arn);
      await signer.send(new GetPublicKeyCommand({ KeyId: key.id }));
      await signer.send(new DescribeKeyCommand({ KeyId: key.id }));
      await signer.send(new GetKeyPolicyCommand({ KeyId: key.id }));
      const calls = [
        signer.send(new DisableKeyCommand({ KeyId: key.id })),
        signer.send(new ScheduleKeyDeletionCommand({ KeyId: key.id })),
        signer.send(new PutKeyPolicyCommand({ KeyId: key.id, Policy: iamPolicy() })),
        signer.send(new CreateGrantCommand({ KeyId: key.id, GranteePrincipal: adminArn, Operations: ['Sign'] })),
      ];
      const denied = /because no resource-based policy allows/;
      await Promise.all(calls.map((call) => refused(call, 'AccessDeniedException', denied)));
      await refused(
        signer.send(new CreateKeyCommand({})),
        'AccessDeniedException',
        /because no identity-based policy allows/,
      );
    });

    it('the signer signs only digests, only by the one algorithm', async () => {
      await refused(sign(signer, key.id, { MessageType: 'RAW' }), 'AccessDeniedException', /kms:Sign/);
      await refused(sign(signer, key.id, { SigningAlgorithm: 'ECDSA_SHA_384' }), 'AccessDeniedException', /kms:Sign/);
    });

    it('the admin administers, and can neither sign, nor change the policy, nor grant', async () => {
      await admin.send(new DisableKeyCommand({ KeyId: key.id }));
      await admin.send(new EnableKeyCommand({ KeyId: key.id }));
      await refused(sign(admin, key.id), 'AccessDeniedException', /with an explicit deny in a resource-based policy/);
      await refused(
        admin.send(new PutKeyPolicyCommand({ KeyId: key.id, Policy: iamPolicy() })),
        'AccessDeniedException',
      );
      const grant = { KeyId: key.id, GranteePrincipal: adminArn, Operations: ['Sign' as const] };
      await refused(admin.send(new CreateGrantCommand(grant)), 'AccessDeniedException');
    });

    it('IAM permissions do not help where the key policy does not delegate', async () => {
      await refused(sign(owner, key.id), 'AccessDeniedException', /explicit deny/);
      await refused(
        owner.send(new DescribeKeyCommand({ KeyId: key.id })),
        'AccessDeniedException',
        /no resource-based policy/,
      );
    });
  });

  it('the account root in a policy leaves it to IAM, and a deny stands over both', async () => {
    const key = await createKey(owner, {
      Policy: iamPolicy([{ Effect: 'Deny', Principal: '*', Action: 'kms:GetPublicKey', Resource: '*' }]),
    });
    assert.equal((await sign(owner, key.id)).KeyId, key.arn);
    await refused(owner.send(new GetPublicKeyCommand({ KeyId: key.id })), 'AccessDeniedException', /explicit deny/);
    await refused(sign(signer, key.id), 'AccessDeniedException', /no identity-based policy allows the kms:Sign/);
    await owner.send(new PutKeyPolicyCommand({ KeyId: key.id, Policy: iamPolicy() }));
    await owner.send(new GetPublicKeyCommand({ KeyId: key.id }));
    const grant = { KeyId: key.id, GranteePrincipal: adminArn, Operations: ['Sign' as const] };
    await refused(owner.send(new CreateGrantCommand(grant)), 'UnsupportedOperationException', /not modelled/);
  });

  it('a policy is given back with its meaning, not its white space', async () => {
    const key = await createKey(owner, { Policy: iamPolicy() });
    const { Policy, PolicyName } = await owner.send(new GetKeyPolicyCommand({ KeyId: key.id }));
    assert.ok(Policy !== undefined);
    assert.equal(PolicyName, 'default');
    assert.notEqual(Policy, iamPolicy());
    assert.deepEqual(JSON.parse(Policy), JSON.parse(iamPolicy()));
    await refused(owner.send(new GetKeyPolicyCommand({ KeyId: key.id, PolicyName: 'mine' })), 'NotFoundException');
  });

  describe('lockout check', () => {
    const lockout = /will not allow you to update the key policy in the future/;

    it('refuses a policy that its creator could not change, unless bypassed', async () => {
      await refused(create(admin, walledPolicy()), 'MalformedPolicyDocumentException', lockout);
      await refused(create(admin, walledPolicy(), false), 'MalformedPolicyDocumentException', lockout);
      // The root would get in, but this caller's IAM does not have PutKeyPolicy.
      await refused(create(admin, iamPolicy()), 'MalformedPolicyDocumentException', lockout);
      await create(admin, walledPolicy(), true);
      await create(owner, iamPolicy());
    });

    it('holds for PutKeyPolicy too; a refused policy changes nothing', async () => {
      const key = await createKey(owner, { Policy: iamPolicy() });
      const put = (bypass: boolean) =>
        owner.send(
          new PutKeyPolicyCommand({ KeyId: key.id, Policy: walledPolicy(), BypassPolicyLockoutSafetyCheck: bypass }),
        );
      await refused(put(false), 'MalformedPolicyDocumentException', lockout);
      await owner.send(new DescribeKeyCommand({ KeyId: key.id }));
      await put(true);
      await refused(owner.send(new DescribeKeyCommand({ KeyId: key.id })), 'AccessDeniedException');
      await refused(put(true), 'AccessDeniedException');
    });

    it('a policy can forbid the bypass by its condition key', async () => {
      const noBypass = {
        Effect: 'Deny',
        Principal: '*',
        Action: 'kms:PutKeyPolicy',
        Resource: '*',
        Condition: { Bool: { 'kms:BypassPolicyLockoutSafetyCheck': 'true' } },
      };
      const key = await createKey(owner, { Policy: iamPolicy([noBypass]) });
      const put = (bypass: boolean) =>
        owner.send(
          new PutKeyPolicyCommand({ KeyId: key.id, Policy: iamPolicy(), BypassPolicyLockoutSafetyCheck: bypass }),
        );
      await refused(put(true), 'AccessDeniedException', /explicit deny/);
      await put(false);
    });
  });

  describe('what IAM alone decides', () => {
    it('lists, creation and tags on creation', async () => {
      await admin.send(new ListAliasesCommand({}));
      await refused(admin.send(new ListKeysCommand({})), 'AccessDeniedException', /no identity-based policy/);
      await refused(signer.send(new ListAliasesCommand({})), 'AccessDeniedException', /no identity-based policy/);
    });

    it('an alias needs IAM for itself and the key policy for its key', async () => {
      const key = await createKey(owner);
      await refused(
        createAlias(signer, 'a', key.id),
        'AccessDeniedException',
        /alias\/a because no identity-based policy/,
      );
      const walled = await createKey(admin, { Policy: walledPolicy(), BypassPolicyLockoutSafetyCheck: true });
      await createAlias(admin, 'walled', walled.id);
      await refused(createAlias(owner, 'b', walled.id), 'AccessDeniedException', /no resource-based policy/);
    });
  });
});
