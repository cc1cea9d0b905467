/** Activities of the key administrator: it makes keys and never signs with one (the key policies forbid it). */
import {
  AlreadyExistsException,
  CreateAliasCommand,
  CreateKeyCommand,
  DescribeKeyCommand,
  NotFoundException,
  type KeySpec,
  type KMSClient,
} from '@aws-sdk/client-kms';
import type { Hex } from '../../protocol/hex.ts';
import { keyAddress, OPERATOR_ALIAS, RELAYER_ALIAS, tenantKeyAlias, translated } from '../kms/keys.ts';
import { keyPolicy, type KeyRoles } from '../kms/policy.ts';
import { tenantSchema } from '../../sql/login.ts';

export interface KeyAdminDependencies {
  kms: KMSClient;
  roles: KeyRoles;
}

export type KeyAdminActivities = ReturnType<typeof createKeyAdminActivities>;

export function createKeyAdminActivities({ kms, roles }: KeyAdminDependencies) {
  return {
    /** Makes the tenant's signing key unless it is there. @returns its address: the log's genesis signer */
    async createTenantKey({ tenantId }: { tenantId: string }): Promise<{ genesisSigner: Hex }> {
      tenantSchema(tenantId);
      const alias = tenantKeyAlias(tenantId);
      await ensureKey(kms, alias, 'ECC_SECG_P256K1', keyPolicy('tenant', roles));
      return { genesisSigner: await keyAddress(kms, alias) };
    },
  };
}

/** Makes the deployment's own keys unless they are there: the relayer's, and the operator's checkpoint key. */
export async function ensureDeploymentKeys({ kms, roles }: KeyAdminDependencies): Promise<void> {
  await ensureKey(kms, RELAYER_ALIAS, 'ECC_SECG_P256K1', keyPolicy('relayer', roles));
  await ensureKey(kms, OPERATOR_ALIAS, 'ECC_NIST_EDWARDS25519', keyPolicy('operator', roles));
}

/**
 * The alias is what makes a key ours: a key whose creator died before it had an alias is used by nobody, and the next
 * try makes another. The lockout check is bypassed on purpose: nobody but break-glass may change the policy afterwards.
 */
async function ensureKey(kms: KMSClient, alias: string, spec: KeySpec, policy: object): Promise<void> {
  if (await aliasExists(kms, alias)) return;
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

async function aliasExists(kms: KMSClient, alias: string): Promise<boolean> {
  try {
    await kms.send(new DescribeKeyCommand({ KeyId: alias }));
    return true;
  } catch (error) {
    if (error instanceof NotFoundException) return false;
    return translated(() => Promise.reject(error as Error));
  }
}
