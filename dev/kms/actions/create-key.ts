import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { authorizeByIdentity, canStillPutKeyPolicy } from '../authorize.ts';
import { malformedPolicy, notModelled, validation } from '../errors.ts';
import { generateSecret, keySpecs, keyUsageNames } from '../keys.ts';
import type { KeySpec, KeyUsage } from '../keys.ts';
import { accountRootArn } from '../principal.ts';
import { keyArn } from '../store.ts';
import type { KmsKey } from '../store.ts';
import { action } from './action.ts';
import { storedPolicy } from './key-policy.ts';
import { keyMetadata } from './metadata.ts';
import { mergeTags, tagsInput } from './tags.ts';

/** What AWS attaches when CreateKey names no policy: everything is left to the account's IAM. */
function defaultPolicy(accountId: string): string {
  return JSON.stringify({
    Version: '2012-10-17',
    Id: 'key-default-1',
    Statement: [
      {
        Sid: 'Enable IAM User Permissions',
        Effect: 'Allow',
        Principal: { AWS: accountRootArn(accountId) },
        Action: 'kms:*',
        Resource: '*',
      },
    ],
  });
}

function chooseKind(specName: string, usageName: KeyUsage | undefined): { spec: KeySpec; usage: KeyUsage } {
  if (!Object.hasOwn(keySpecs, specName)) throw notModelled(`KeySpec ${specName}`);
  const spec = specName as KeySpec;
  if (usageName === undefined && spec !== 'SYMMETRIC_DEFAULT') {
    throw validation('You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.');
  }
  const usage = usageName ?? 'ENCRYPT_DECRYPT';
  const usages: readonly KeyUsage[] = keySpecs[spec].usages;
  if (!usages.includes(usage)) throw validation(`KeyUsage ${usage} is not compatible with KeySpec ${spec}`);
  return { spec, usage };
}

const createKeyInput = z.strictObject({
  KeySpec: z.string().default('SYMMETRIC_DEFAULT'),
  KeyUsage: z.enum(keyUsageNames).optional(),
  Description: z.string().max(8192).default(''),
  Policy: z.string().min(1).optional(),
  BypassPolicyLockoutSafetyCheck: z.boolean().default(false),
  Tags: tagsInput.default([]),
  Origin: z.literal('AWS_KMS').optional(),
  MultiRegion: z.literal(false).optional(),
});

export const CreateKey = action(createKeyInput, (input, { caller, region, now, store }) => {
  authorizeByIdentity(caller, 'kms:CreateKey');
  if (input.Tags.length > 0) authorizeByIdentity(caller, 'kms:TagResource');
  const { spec, usage } = chooseKind(input.KeySpec, input.KeyUsage);
  const key: KmsKey = {
    keyId: randomUUID(),
    accountId: caller.accountId,
    region,
    createdAt: now,
    spec,
    usage,
    description: input.Description,
    state: 'Enabled',
    deletionAt: null,
    policy: storedPolicy(input.Policy ?? defaultPolicy(caller.accountId)),
    tags: mergeTags({}, input.Tags),
    secret: Buffer.from(generateSecret(spec)).toString('hex'),
  };
  // The default policy passes unasked; at AWS, too, a caller who may only CreateKey can create with it.
  const check = input.Policy !== undefined && !input.BypassPolicyLockoutSafetyCheck;
  if (check && !canStillPutKeyPolicy(caller, key)) {
    throw malformedPolicy('The new key policy will not allow you to update the key policy in the future.');
  }
  store.keys.set(keyArn(key), key);
  store.save();
  return { KeyMetadata: keyMetadata(key) };
});
