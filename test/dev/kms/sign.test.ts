import { p256 } from '@noble/curves/nist.js';
import { secp256k1 } from '@noble/curves/secp256k1.js';
import { GetPublicKeyCommand, SignCommand } from '@aws-sdk/client-kms';
import type { KMSClient, SignCommandInput } from '@aws-sdk/client-kms';
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createKey, opensslVerifies, refused, startHarness } from './harness.ts';
import type { Harness, TestKey } from './harness.ts';

describe('dev/kms Sign', () => {
  let harness: Harness;
  let owner: KMSClient;
  const keys: Record<string, TestKey> = {};

  const message = Buffer.from('a message');
  const digest = createHash('sha256').update(message).digest();

  before(async () => {
    harness = await startHarness();
    owner = harness.as('owner');
    for (const KeySpec of ['ECC_SECG_P256K1', 'ECC_NIST_P256', 'ECC_NIST_EDWARDS25519'] as const) {
      keys[KeySpec] = await createKey(owner, { KeySpec });
    }
  });
  after(() => harness.stop());

  async function sign(spec: string, input: Partial<SignCommandInput> = {}): Promise<Uint8Array> {
    const answer = await owner.send(
      new SignCommand({
        KeyId: keys[spec]?.id,
        Message: digest,
        MessageType: 'DIGEST',
        SigningAlgorithm: 'ECDSA_SHA_256',
        ...input,
      }),
    );
    assert.equal(answer.KeyId, keys[spec]?.arn);
    assert.ok(answer.Signature !== undefined);
    return answer.Signature;
  }
  async function publicKey(spec: string): Promise<Uint8Array> {
    const { PublicKey } = await owner.send(new GetPublicKeyCommand({ KeyId: keys[spec]?.id }));
    assert.ok(PublicKey !== undefined);
    return PublicKey;
  }

  for (const [spec, curve] of [
    ['ECC_SECG_P256K1', secp256k1],
    ['ECC_NIST_P256', p256],
  ] as const) {
    it(`${spec}: signs the digest as given, and hashes RAW once`, async () => {
      const spki = await publicKey(spec);
      // OpenSSL hashes the message itself: so the digest that was signed is the message's SHA-256, not the SHA-256 of that.
      assert.ok(opensslVerifies(spki, message, await sign(spec), 'sha256'));
      assert.ok(opensslVerifies(spki, message, await sign(spec, { Message: message, MessageType: 'RAW' }), 'sha256'));
      assert.ok(
        opensslVerifies(spki, message, await sign(spec, { Message: message, MessageType: undefined }), 'sha256'),
      );
      assert.ok(!opensslVerifies(spki, message, await sign(spec, { MessageType: 'RAW' }), 'sha256'), 'hashed twice');
      assert.ok(!opensslVerifies(spki, Buffer.from('another'), await sign(spec), 'sha256'));
    });

    it(`${spec}: has high s about half the time, and never the same bytes twice`, async () => {
      const n = 200;
      const signatures = await Promise.all(Array.from({ length: n }, () => sign(spec)));
      assert.equal(new Set(signatures.map((bytes) => Buffer.from(bytes).toString('hex'))).size, n);
      const high = signatures.filter((bytes) => curve.Signature.fromBytes(bytes, 'der').hasHighS()).length;
      // Fair coins fall outside 60..140 of 200 about once in 10^8 runs.
      assert.ok(high > 60 && high < 140, `${high} of ${n} had high s`);
    });
  }

  it('Ed25519: 64 bytes over the message itself', async () => {
    const signature = await sign('ECC_NIST_EDWARDS25519', {
      Message: message,
      MessageType: 'RAW',
      SigningAlgorithm: 'ED25519_SHA_512',
    });
    assert.equal(signature.length, 64);
    const spki = await publicKey('ECC_NIST_EDWARDS25519');
    assert.ok(opensslVerifies(spki, message, signature, null));
    assert.ok(!opensslVerifies(spki, Buffer.from('another'), signature, null));
  });

  const bad: [string, string, Partial<SignCommandInput>, string, RegExp][] = [
    [
      'a digest of 31 bytes',
      'ECC_SECG_P256K1',
      { Message: digest.subarray(1) },
      'ValidationException',
      /invalid length/,
    ],
    ['a digest of 33 bytes', 'ECC_SECG_P256K1', { Message: Buffer.alloc(33) }, 'ValidationException', /invalid length/],
    [
      'an empty message',
      'ECC_SECG_P256K1',
      { Message: new Uint8Array(), MessageType: 'RAW' },
      'ValidationException',
      /1 to 4096/,
    ],
    [
      'a message past 4 KiB',
      'ECC_SECG_P256K1',
      { Message: Buffer.alloc(4097), MessageType: 'RAW' },
      'ValidationException',
      /1 to 4096/,
    ],
    [
      'another hash',
      'ECC_SECG_P256K1',
      { SigningAlgorithm: 'ECDSA_SHA_384' },
      'InvalidKeyUsageException',
      /incompatible/,
    ],
    ['ECDSA with an Edwards key', 'ECC_NIST_EDWARDS25519', {}, 'InvalidKeyUsageException', /incompatible/],
    [
      'Ed25519 with an ECDSA key',
      'ECC_NIST_P256',
      { SigningAlgorithm: 'ED25519_SHA_512' },
      'InvalidKeyUsageException',
      /incompatible/,
    ],
    [
      'an Ed25519 digest',
      'ECC_NIST_EDWARDS25519',
      { SigningAlgorithm: 'ED25519_SHA_512' },
      'ValidationException',
      /requires MessageType RAW/,
    ],
    [
      'Ed25519ph, which is not modelled',
      'ECC_NIST_EDWARDS25519',
      { SigningAlgorithm: 'ED25519_PH_SHA_512' },
      'UnsupportedOperationException',
      /not modelled/,
    ],
    [
      'an unknown algorithm',
      'ECC_SECG_P256K1',
      { SigningAlgorithm: 'ROT13' as 'SM2DSA' },
      'ValidationException',
      /SigningAlgorithm/,
    ],
    ['ML-DSA’s message type', 'ECC_SECG_P256K1', { MessageType: 'EXTERNAL_MU' }, 'ValidationException', /EXTERNAL_MU/],
  ];
  for (const [what, spec, input, name, text] of bad) {
    it(`refuses ${what}`, () => refused(sign(spec, input), name, text));
  }

  it('DryRun answers DryRunOperationException when the call would succeed, and the real error when not', async () => {
    await refused(sign('ECC_SECG_P256K1', { DryRun: true }), 'DryRunOperationException', /would have succeeded/);
    await refused(sign('ECC_SECG_P256K1', { DryRun: true, Message: Buffer.alloc(31) }), 'ValidationException');
    const stranger = harness.as('stranger');
    const input = { KeyId: keys['ECC_SECG_P256K1']?.id, Message: digest, MessageType: 'DIGEST', DryRun: true } as const;
    await refused(
      stranger.send(new SignCommand({ ...input, SigningAlgorithm: 'ECDSA_SHA_256' })),
      'AccessDeniedException',
    );
  });
});
