import { z } from 'zod';
import { authorizeByIdentity } from '../authorize.ts';
import { KmsError } from '../errors.ts';
import { publicKeyDer } from '../keys.ts';
import { keyArn } from '../store.ts';
import { action, authorizedKey, keyIdInput, requireEnabled } from './action.ts';
import { algorithmsOf, keyMetadata } from './metadata.ts';
import { page, pageInput } from './page.ts';

const byKeyId = z.strictObject({ KeyId: keyIdInput });

export const DescribeKey = action(byKeyId, (input, call) => {
  const key = authorizedKey(call, input.KeyId, 'DescribeKey', { aliases: true, crossAccount: true });
  return { KeyMetadata: keyMetadata(key) };
});

export const GetPublicKey = action(byKeyId, (input, call) => {
  const key = authorizedKey(call, input.KeyId, 'GetPublicKey', { aliases: true, crossAccount: true });
  const der = publicKeyDer(key.spec, Buffer.from(key.secret, 'hex'));
  if (der === null) {
    throw new KmsError('UnsupportedOperationException', `${keyArn(key)} is a symmetric KMS key and has no public key.`);
  }
  requireEnabled(key);
  return {
    KeyId: keyArn(key),
    KeySpec: key.spec,
    ...(key.spec === 'ECC_NIST_EDWARDS25519' ? {} : { CustomerMasterKeySpec: key.spec }),
    KeyUsage: key.usage,
    PublicKey: Buffer.from(der).toString('base64'),
    ...algorithmsOf(key),
  };
});

export const ListKeys = action(z.strictObject(pageInput(1000)), (input, { caller, region, store }) => {
  authorizeByIdentity(caller, 'kms:ListKeys');
  const own = [...store.keys.values()].filter((key) => key.accountId === caller.accountId && key.region === region);
  const { items, end } = page(own, (key) => key.keyId, input, 100);
  return { Keys: items.map((key) => ({ KeyId: key.keyId, KeyArn: keyArn(key) })), ...end };
});
