/**
 * The key policies (design section 3, wall 4), and whether a key still has its own. AWS refuses such a policy at
 * creation unless BypassPolicyLockoutSafetyCheck is set, since the creator can never change it again: that is the point.
 */
import { DescribeKeyCommand, GetKeyPolicyCommand, type KMSClient } from '@aws-sdk/client-kms';
import { failure } from '../failures.ts';
import { translated } from './keys.ts';

/** Who may do what with the keys of this deployment: ARNs of IAM roles. */
export interface KeyRoles {
  signer: string;
  relayer: string;
  admin: string;
  /** May replace a key's policy; used by people in an emergency, never by a process. */
  breakGlass: string;
}

type KeyKind = 'tenant' | 'operator' | 'relayer';

/** The policy of a key of one kind, as KMS stores it. */
export function keyPolicy(kind: KeyKind, roles: KeyRoles): object {
  const user = kind === 'relayer' ? roles.relayer : roles.signer;
  const condition =
    kind === 'operator'
      ? { 'kms:SigningAlgorithm': 'ED25519_SHA_512', 'kms:MessageType': 'RAW' }
      : { 'kms:SigningAlgorithm': 'ECDSA_SHA_256', 'kms:MessageType': 'DIGEST' };
  return {
    Version: '2012-10-17',
    Id: `kiff-${kind}-key`,
    Statement: [
      {
        Sid: 'NobodyElseSigns',
        Effect: 'Deny',
        Principal: '*',
        Action: 'kms:Sign',
        Resource: '*',
        Condition: { ArnNotEquals: { 'aws:PrincipalArn': user } },
      },
      {
        Sid: 'UserSigns',
        Effect: 'Allow',
        Principal: { AWS: user },
        Action: 'kms:Sign',
        Resource: '*',
        Condition: { StringEquals: condition },
      },
      {
        Sid: 'UserReads',
        Effect: 'Allow',
        Principal: { AWS: user },
        Action: ['kms:GetPublicKey', 'kms:DescribeKey', 'kms:GetKeyPolicy'],
        Resource: '*',
      },
      {
        Sid: 'AdminAdministers',
        Effect: 'Allow',
        Principal: { AWS: roles.admin },
        Action: [
          'kms:DescribeKey',
          'kms:GetPublicKey',
          'kms:GetKeyPolicy',
          'kms:EnableKey',
          'kms:DisableKey',
          'kms:ScheduleKeyDeletion',
          'kms:CancelKeyDeletion',
          'kms:TagResource',
          'kms:ListResourceTags',
          'kms:CreateAlias',
          'kms:UpdateAlias',
          'kms:DeleteAlias',
        ],
        Resource: '*',
      },
      {
        Sid: 'BreakGlass',
        Effect: 'Allow',
        Principal: { AWS: roles.breakGlass },
        Action: ['kms:PutKeyPolicy', 'kms:GetKeyPolicy'],
        Resource: '*',
      },
    ],
  };
}

/**
 * Compares a key's policy with its template, statement by statement; order of members and spaces do not count.
 * @throws failure policy-drift when they differ
 */
export async function requireKeyPolicy(kms: KMSClient, alias: string, kind: KeyKind, roles: KeyRoles): Promise<void> {
  // GetKeyPolicy takes no alias.
  const { KeyMetadata } = await translated(() => kms.send(new DescribeKeyCommand({ KeyId: alias })));
  const { Policy } = await translated(() =>
    kms.send(new GetKeyPolicyCommand({ KeyId: KeyMetadata?.Arn, PolicyName: 'default' })),
  );
  if (Policy === undefined || canonical(parse(Policy)) !== canonical(keyPolicy(kind, roles))) {
    throw failure('policy-drift');
  }
}

function parse(policy: string): unknown {
  try {
    return JSON.parse(policy);
  } catch {
    return undefined;
  }
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_name, member: unknown) =>
    member !== null && typeof member === 'object' && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : member,
  );
}
