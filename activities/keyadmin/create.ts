/** Activities of the key administrator: it makes keys and never signs with one (the key policies forbid it). */
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
import type { Hex } from '../../protocol/hex.ts';
import { failure, type Alert } from '../failures.ts';
import { keyAddress, OPERATOR_ALIAS, RELAYER_ALIAS, tenantKeyAlias, translated } from '../kms/keys.ts';
import { keyPolicy, type KeyRoles } from '../kms/policy.ts';
import { tenantSchema } from '../../sql/login.ts';

interface DeploymentKeys {
  kms: KMSClient;
  roles: KeyRoles;
}

export interface KeyAdminDependencies extends DeploymentKeys {
  /** Whether the tenant's onboarding was given up, by the database's word: a workflow's is not enough to take a key away. */
  onboardingAbandoned: (tenantId: string) => Promise<boolean>;
  alert: Alert;
}

/** Of a key that is taken away, until KMS deletes it: the longest that KMS grants. Until then it can be had back. */
const PENDING_DAYS = 30;

export type KeyAdminActivities = ReturnType<typeof createKeyAdminActivities>;

export function createKeyAdminActivities({ kms, roles, onboardingAbandoned, alert }: KeyAdminDependencies) {
  return {
    /**
     * Makes the signing key of a tenant's log unless it is there.
     * @param ordinal which of the tenant's logs; the first unless given
     * @returns its address: the log's genesis signer
     */
    async createTenantKey({
      tenantId,
      ordinal = 1,
    }: {
      tenantId: string;
      ordinal?: number;
    }): Promise<{ genesisSigner: Hex }> {
      tenantSchema(tenantId);
      const alias = tenantKeyAlias(tenantId, ordinal);
      await ensureKey(kms, alias, 'ECC_SECG_P256K1', keyPolicy('tenant', roles));
      return { genesisSigner: await keyAddress(kms, alias) };
    },

    /**
     * Takes away the key of a tenant whose onboarding was given up: it signs nothing from now on, its alias is free, and KMS
     * deletes it in 30 days.
     * @throws failure tenant-in-use unless the database says that the onboarding was given up
     */
    async retireTenantKey({ tenantId }: { tenantId: string }): Promise<void> {
      const alias = tenantKeyAlias(tenantId);
      const key = await describe(kms, alias);
      if (key === null) return;
      if (!(await onboardingAbandoned(tenantId))) {
        alert('tenant-in-use', { tenantId });
        throw failure('tenant-in-use');
      }
      if (key.KeyState !== KeyState.PendingDeletion) {
        await translated(() =>
          kms.send(new ScheduleKeyDeletionCommand({ KeyId: key.Arn, PendingWindowInDays: PENDING_DAYS })),
        );
      }
      // Last: by its alias the next try finds a key that is not taken away yet.
      await translated(() => kms.send(new DeleteAliasCommand({ AliasName: alias })));
    },
  };
}

/** Makes the deployment's own keys unless they are there: the relayer's, and the operator's checkpoint key. */
export async function ensureDeploymentKeys({ kms, roles }: DeploymentKeys): Promise<void> {
  await ensureKey(kms, RELAYER_ALIAS, 'ECC_SECG_P256K1', keyPolicy('relayer', roles));
  await ensureKey(kms, OPERATOR_ALIAS, 'ECC_NIST_EDWARDS25519', keyPolicy('operator', roles));
}

/**
 * The alias is what makes a key ours: a key whose creator died before it had an alias is used by nobody, and the next
 * try makes another. The lockout check is bypassed on purpose: nobody but break-glass may change the policy afterwards.
 */
async function ensureKey(kms: KMSClient, alias: string, spec: KeySpec, policy: object): Promise<void> {
  if ((await describe(kms, alias)) !== null) return;
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
async function describe(kms: KMSClient, alias: string): Promise<KeyMetadata | null> {
  try {
    const { KeyMetadata: key } = await kms.send(new DescribeKeyCommand({ KeyId: alias }));
    return key ?? null;
  } catch (error) {
    if (error instanceof NotFoundException) return null;
    return translated(() => Promise.reject(error as Error));
  }
}
