/** The four roles of the KMS stand-in, as their IAM policies would have them; what they may do with a key, the key says. */
import type { KeyRoles } from '../activities/kms/policy.ts';
import type { Principals } from './kms/principal.ts';
import type { Secrets } from './secrets.ts';

const ACCOUNT = '000000000001';
const arn = (role: string): string => `arn:aws:iam::${ACCOUNT}:role/${role}`;

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
} as const;

/** Only what IAM itself decides: keys and aliases are made by the administrator, everything else is the key policy's. */
const ALLOW: Partial<Record<keyof typeof ACCESS_KEYS, string[]>> = {
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
      { arn: LOCAL_ROLES[role], secretAccessKey: secrets[role], ...(ALLOW[role] ? { allow: ALLOW[role] } : {}) },
    ]),
  );
}
