import {
  CreateKeyCommand,
  DescribeKeyCommand,
  DisableKeyCommand,
  GetKeyPolicyCommand,
  GetPublicKeyCommand,
  ListKeysCommand,
  SignCommand,
  CreateAliasCommand,
} from '@aws-sdk/client-kms';
import type { CreateKeyCommandInput, KMSClient } from '@aws-sdk/client-kms';
import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { account, createKey, refused, region, startHarness } from './harness.ts';
import type { Harness } from './harness.ts';

describe('dev/kms keys', () => {
  let harness: Harness;
  let owner: KMSClient;
  const clock = Date.UTC(2026, 10, 1);

  before(async () => {
    harness = await startHarness({ now: () => clock });
    owner = harness.as('owner', { systemClockOffset: clock - Date.now() });
  });
  after(() => harness.stop());

  const described = (KeyId: string) => owner.send(new DescribeKeyCommand({ KeyId }));
  const digest = new Uint8Array(32).fill(7);
  const sign = (id: string) =>
    owner.send(
      new SignCommand({ KeyId: id, Message: digest, MessageType: 'DIGEST', SigningAlgorithm: 'ECDSA_SHA_256' }),
    );

  describe('CreateKey', () => {
    it('answers the metadata that DescribeKey answers', async () => {
      const { KeyMetadata } = await owner.send(
        new CreateKeyCommand({ KeySpec: 'ECC_SECG_P256K1', KeyUsage: 'SIGN_VERIFY', Description: 'log of acme' }),
      );
      assert.ok(KeyMetadata?.KeyId !== undefined);
      assert.deepEqual(KeyMetadata, {
        AWSAccountId: account,
        KeyId: KeyMetadata.KeyId,
        Arn: `arn:aws:kms:${region}:${account}:key/${KeyMetadata.KeyId}`,
        CreationDate: new Date(clock),
        Enabled: true,
        Description: 'log of acme',
        KeyUsage: 'SIGN_VERIFY',
        KeyState: 'Enabled',
        Origin: 'AWS_KMS',
        KeyManager: 'CUSTOMER',
        KeySpec: 'ECC_SECG_P256K1',
        CustomerMasterKeySpec: 'ECC_SECG_P256K1',
        SigningAlgorithms: ['ECDSA_SHA_256'],
        MultiRegion: false,
      });
      const again = await described(KeyMetadata.KeyId);
      assert.deepEqual(again.KeyMetadata, KeyMetadata);
    });

    it('makes the kinds that nobody should sign with', async () => {
      const symmetric = await createKey(owner, { KeySpec: 'SYMMETRIC_DEFAULT', KeyUsage: 'ENCRYPT_DECRYPT' });
      const { KeyMetadata } = await owner.send(new DescribeKeyCommand({ KeyId: symmetric.arn }));
      assert.equal(KeyMetadata?.KeyUsage, 'ENCRYPT_DECRYPT');
      assert.deepEqual(KeyMetadata.EncryptionAlgorithms, ['SYMMETRIC_DEFAULT']);
      assert.equal(KeyMetadata.SigningAlgorithms, undefined);
      await refused(sign(symmetric.id), 'InvalidKeyUsageException', /key usage is ENCRYPT_DECRYPT/);
      await refused(owner.send(new GetPublicKeyCommand({ KeyId: symmetric.id })), 'UnsupportedOperationException');
      const agreement = await createKey(owner, { KeySpec: 'ECC_NIST_P256', KeyUsage: 'KEY_AGREEMENT' });
      await refused(sign(agreement.id), 'InvalidKeyUsageException', /key usage is KEY_AGREEMENT/);
    });

    const bad: [string, CreateKeyCommandInput, string][] = [
      ['a usage that does not fit', { KeySpec: 'ECC_SECG_P256K1', KeyUsage: 'ENCRYPT_DECRYPT' }, 'ValidationException'],
      ['an asymmetric key without usage', { KeySpec: 'ECC_SECG_P256K1' }, 'ValidationException'],
      [
        'a spec that is not modelled',
        { KeySpec: 'RSA_2048', KeyUsage: 'SIGN_VERIFY' },
        'UnsupportedOperationException',
      ],
      ['a member that is not modelled', { XksKeyId: 'x' }, 'ValidationException'],
      ['a policy that is no JSON', { Policy: '{' }, 'MalformedPolicyDocumentException'],
      ['a policy past 32 KiB', { Policy: `{"Id":"${'x'.repeat(33_000)}"}` }, 'LimitExceededException'],
      [
        'the same tag twice',
        {
          Tags: [
            { TagKey: 'a', TagValue: '1' },
            { TagKey: 'a', TagValue: '2' },
          ],
        },
        'TagException',
      ],
    ];
    for (const [what, input, name] of bad) {
      it(`refuses ${what}`, () => refused(owner.send(new CreateKeyCommand(input)), name));
    }
  });

  describe('GetPublicKey', () => {
    for (const [spec, curve] of [
      ['ECC_SECG_P256K1', 'secp256k1'],
      ['ECC_NIST_P256', 'prime256v1'],
      ['ECC_NIST_EDWARDS25519', undefined],
    ] as const) {
      it(`gives ${spec} as a DER SubjectPublicKeyInfo`, async () => {
        const key = await createKey(owner, { KeySpec: spec });
        const answer = await owner.send(new GetPublicKeyCommand({ KeyId: key.id }));
        assert.equal(answer.KeyId, key.arn);
        assert.equal(answer.KeySpec, spec);
        assert.equal(answer.KeyUsage, 'SIGN_VERIFY');
        assert.ok(answer.PublicKey !== undefined);
        const der = Buffer.from(answer.PublicKey);
        const parsed = createPublicKey({ key: der, format: 'der', type: 'spki' });
        assert.equal(parsed.asymmetricKeyDetails?.namedCurve, curve);
        assert.equal(parsed.asymmetricKeyType, curve === undefined ? 'ed25519' : 'ec');
        assert.deepEqual(parsed.export({ format: 'der', type: 'spki' }), der);
      });
    }
  });

  describe('naming a key', () => {
    it('takes id, ARN, alias and alias ARN', async () => {
      const key = await createKey(owner);
      await owner.send(new CreateAliasCommand({ AliasName: 'alias/named', TargetKeyId: key.arn }));
      for (const name of [key.id, key.arn, 'alias/named', `arn:aws:kms:${region}:${account}:alias/named`]) {
        assert.equal((await described(name)).KeyMetadata?.Arn, key.arn);
      }
      // Administration takes no alias.
      await refused(owner.send(new DisableKeyCommand({ KeyId: 'alias/named' })), 'NotFoundException', /Invalid keyId/);
      await refused(
        owner.send(new GetKeyPolicyCommand({ KeyId: 'alias/named' })),
        'NotFoundException',
        /Invalid keyId/,
      );
    });

    it('refuses what names nothing', async () => {
      await refused(described('7e4c9b1e-0f8f-4d7e-9a8a-2b1f0a7c3d11'), 'NotFoundException', /does not exist/);
      await refused(described('alias/nobody'), 'NotFoundException', /is not found/);
      await refused(described('not a key'), 'NotFoundException', /Invalid keyId/);
      await refused(described('arn:aws:kms:nonsense'), 'InvalidArnException');
    });

    it('keys live in their region', async () => {
      const key = await createKey(owner);
      const elsewhere = harness.as('owner', { region: 'us-east-1', systemClockOffset: clock - Date.now() });
      await refused(
        elsewhere.send(new DescribeKeyCommand({ KeyId: key.arn })),
        'NotFoundException',
        /Invalid arn eu-central-1/,
      );
      await refused(elsewhere.send(new DescribeKeyCommand({ KeyId: key.id })), 'NotFoundException');
      const there = await createKey(elsewhere);
      assert.match(there.arn, /^arn:aws:kms:us-east-1:/);
      const { Keys } = await elsewhere.send(new ListKeysCommand({}));
      assert.deepEqual(Keys, [{ KeyId: there.id, KeyArn: there.arn }]);
    });
  });

  it('ListKeys pages', async () => {
    await Promise.all([1, 2, 3].map(() => createKey(owner)));
    const { Keys: all, Truncated } = await owner.send(new ListKeysCommand({}));
    assert.equal(Truncated, false);
    const paged: unknown[] = [];
    let Marker: string | undefined;
    do {
      const answer = await owner.send(new ListKeysCommand({ Limit: 2, ...(Marker === undefined ? {} : { Marker }) }));
      assert.ok(answer.Keys !== undefined && answer.Keys.length <= 2);
      paged.push(...answer.Keys);
      Marker = answer.NextMarker;
      assert.equal(answer.Truncated, Marker !== undefined);
    } while (Marker !== undefined);
    assert.deepEqual(paged, all);
    await refused(owner.send(new ListKeysCommand({ Marker: '*' })), 'InvalidMarkerException');
  });
});
