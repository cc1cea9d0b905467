/**
 * The roles of the KMS stand-in, as their IAM policies would have them; what they may do with a key, the key says. Four are ours, in one
 * account; the fifth is a tenant's, in another one, and makes keys there as tenants do (docs/custody-tenant-kms.md).
 */
import type { KeyRoles } from '../activities/kms/policy.ts';
import type { Principals } from './kms/principal.ts';
import type { Secrets } from './secrets.ts';

const ACCOUNT = '000000000001';
/** Whose keys are not ours. */
export const TENANT_ACCOUNT = '000000000002';
const arn = (role: string, account = ACCOUNT): string => `arn:aws:iam::${account}:role/${role}`;

export const LOCAL_ROLES: KeyRoles = {
  signer: arn('kiff-signer'),
  relayer: arn('kiff-relayer'),
  admin: arn('kiff-key-admin'),
  breakGlass: arn('kiff-break-glass'),
};

/** Access key ids, one per role. */
export const ACCESS_KEYS = {
  signer: 'AKIAKIFFSIGNER000000',
  relayer: 'AKIAKIFFRELAYER00000',
  admin: 'AKIAKIFFKEYADMIN0000',
  breakGlass: 'AKIAKIFFBREAKGLASS00',
  tenant: 'AKIATENANTSADMIN0000',
} as const;

const ARNS: Record<keyof typeof ACCESS_KEYS, string> = { ...LOCAL_ROLES, tenant: arn('key-owner', TENANT_ACCOUNT) };

/**
 * Only what IAM itself decides: keys and aliases are made by the administrator, and what the signer does with keys of other accounts
 * their policies and its own must both allow. Everything else is the key policy's.
 */
const ALLOW: Partial<Record<keyof typeof ACCESS_KEYS, string[]>> = {
  signer: ['kms:Sign', 'kms:DescribeKey', 'kms:GetPublicKey'],
  tenant: ['kms:*'],
  admin: [
    'kms:CreateKey',
    'kms:CreateAlias',
    'kms:UpdateAlias',
    'kms:DeleteAlias',
    'kms:ListAliases',
    'kms:TagResource',
  ],
};

export function localPrincipals(secrets: Secrets['kms']): Principals {
  const roles = Object.keys(ACCESS_KEYS) as (keyof typeof ACCESS_KEYS)[];
  return Object.fromEntries(
    roles.map((role) => [
      ACCESS_KEYS[role],
      { arn: ARNS[role], secretAccessKey: secrets[role], ...(ALLOW[role] ? { allow: ALLOW[role] } : {}) },
    ]),
  );
}
