/** Keys by their aliases, as the administrator makes and sees them. */
import {
  AlreadyExistsException,
  CreateAliasCommand,
  CreateKeyCommand,
  DeleteAliasCommand,
  DescribeKeyCommand,
  KeyState,
  NotFoundException,
  ScheduleKeyDeletionCommand,
  type KeyMetadata,
  type KeySpec,
  type KMSClient,
} from '@aws-sdk/client-kms';
import { translated } from '../kms/keys.ts';

/** Of a key that is taken away, until KMS deletes it: the longest that KMS grants. Until then it can be had back. */
const PENDING_DAYS = 30;

/**
 * The alias is what makes a key ours: a key whose creator died before it had an alias is used by nobody, and the next
 * try makes another. The lockout check is bypassed on purpose: nobody but break-glass may change the policy afterwards.
 */
export async function ensureKey(kms: KMSClient, alias: string, spec: KeySpec, policy: object): Promise<void> {
  if ((await describeKey(kms, alias)) !== null) return;
  const { KeyMetadata } = await translated(() =>
    kms.send(
      new CreateKeyCommand({
        KeySpec: spec,
        KeyUsage: 'SIGN_VERIFY',
        Policy: JSON.stringify(policy),
        BypassPolicyLockoutSafetyCheck: true,
        Description: `KIFF Cloud ${alias}`,
        Tags: [{ TagKey: 'kiff:alias', TagValue: alias }],
      }),
    ),
  );
  try {
    await kms.send(new CreateAliasCommand({ AliasName: alias, TargetKeyId: KeyMetadata?.KeyId }));
  } catch (error) {
    if (!(error instanceof AlreadyExistsException)) await translated(() => Promise.reject(error as Error));
  }
}

/** The key behind an alias, or null when there is none. */
export async function describeKey(kms: KMSClient, alias: string): Promise<KeyMetadata | null> {
  try {
    const { KeyMetadata: key } = await kms.send(new DescribeKeyCommand({ KeyId: alias }));
    return key ?? null;
  } catch (error) {
    if (error instanceof NotFoundException) return null;
    return translated(() => Promise.reject(error as Error));
  }
}

/** Has KMS delete a key in so many days, unless that is on its way. It signs nothing from now on. @returns when it will be gone */
export async function scheduleDeletion(kms: KMSClient, key: KeyMetadata, days = PENDING_DAYS): Promise<Date | null> {
  if (key.KeyState === KeyState.PendingDeletion) return key.DeletionDate ?? null;
  const { DeletionDate } = await translated(() =>
    kms.send(new ScheduleKeyDeletionCommand({ KeyId: key.Arn, PendingWindowInDays: days })),
  );
  return DeletionDate ?? null;
}

/** By its alias the next try finds a key that is not taken away yet: so this comes last. */
export async function deleteAlias(kms: KMSClient, alias: string): Promise<void> {
  await translated(() => kms.send(new DeleteAliasCommand({ AliasName: alias })));
}
