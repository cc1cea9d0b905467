/** Activities of the key administrator: it makes keys and never signs with one (the key policies forbid it). */
import type { KMSClient } from '@aws-sdk/client-kms';
import type { Hex } from '../../protocol/hex.ts';
import { failure, type Alert } from '../failures.ts';
import { keyAddress, OPERATOR_ALIAS, RELAYER_ALIAS, tenantKeyAlias } from '../kms/keys.ts';
import { keyPolicy, type KeyRoles } from '../kms/policy.ts';
import { tenantSchema } from '../../sql/login.ts';
import { deleteAlias, describeKey, ensureKey, scheduleDeletion } from './keys.ts';

interface DeploymentKeys {
  kms: KMSClient;
  roles: KeyRoles;
}

export interface KeyAdminDependencies extends DeploymentKeys {
  /** Whether the tenant's onboarding was given up, by the database's word: a workflow's is not enough to take a key away. */
  onboardingAbandoned: (tenantId: string) => Promise<boolean>;
  alert: Alert;
}

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
      const key = await describeKey(kms, alias);
      if (key === null) return;
      if (!(await onboardingAbandoned(tenantId))) {
        alert('tenant-in-use', { tenantId });
        throw failure('tenant-in-use');
      }
      await scheduleDeletion(kms, key);
      await deleteAlias(kms, alias);
    },
  };
}

/** Makes the deployment's own keys unless they are there: the relayer's, and the operator's checkpoint key. */
export async function ensureDeploymentKeys({ kms, roles }: DeploymentKeys): Promise<void> {
  await ensureKey(kms, RELAYER_ALIAS, 'ECC_SECG_P256K1', keyPolicy('relayer', roles));
  await ensureKey(kms, OPERATOR_ALIAS, 'ECC_NIST_EDWARDS25519', keyPolicy('operator', roles));
}
