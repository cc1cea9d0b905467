import { keySpecs } from '../keys.ts';
import { keyArn } from '../store.ts';
import type { KmsKey } from '../store.ts';

/** Times travel as seconds with fractions (AWS JSON 1.1 timestamps). */
export const seconds = (milliseconds: number): number => milliseconds / 1000;

/** What a key can be used with: KMS names the algorithms of its usage, and of no other. */
export function algorithmsOf(key: KmsKey): object {
  switch (key.usage) {
    case 'SIGN_VERIFY':
      return { SigningAlgorithms: keySpecs[key.spec].signingAlgorithms };
    case 'ENCRYPT_DECRYPT':
      return { EncryptionAlgorithms: ['SYMMETRIC_DEFAULT'] };
    case 'KEY_AGREEMENT':
      return { KeyAgreementAlgorithms: ['ECDH'] };
  }
}

/** The `KeyMetadata` of CreateKey and DescribeKey. */
export function keyMetadata(key: KmsKey): object {
  return {
    AWSAccountId: key.accountId,
    KeyId: key.keyId,
    Arn: keyArn(key),
    CreationDate: seconds(key.createdAt),
    Enabled: key.state === 'Enabled',
    Description: key.description,
    KeyUsage: key.usage,
    KeyState: key.state,
    ...(key.deletionAt === null ? {} : { DeletionDate: seconds(key.deletionAt) }),
    Origin: 'AWS_KMS',
    KeyManager: 'CUSTOMER',
    KeySpec: key.spec,
    // The deprecated twin of KeySpec, whose list ends before the Edwards curve.
    ...(key.spec === 'ECC_NIST_EDWARDS25519' ? {} : { CustomerMasterKeySpec: key.spec }),
    ...algorithmsOf(key),
    MultiRegion: false,
  };
}
