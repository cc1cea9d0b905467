/**
 * The key administrator's part in a custody migration: a fresh key of ours is made and taken away again, an old one is disabled and
 * in the end deleted. It believes no workflow: each time it asks the database whether it may (sql/product/023-custody-saga.sql),
 * and looks whether the key is the one that is meant.
 */
import {
  DisableKeyCommand,
  DisabledException,
  GetPublicKeyCommand,
  KeyState,
  KMSInvalidStateException,
} from '@aws-sdk/client-kms';
import type { KeyMetadata, KMSClient } from '@aws-sdk/client-kms';
import type { Pool } from 'pg';
import { toHex, type Hex } from '../../protocol/hex.ts';
import { failure, type Alert } from '../failures.ts';
import { custodyKeyAlias, keyAddress, tenantKeyAlias, translated } from '../kms/keys.ts';
import { keyPolicy, type KeyRoles } from '../kms/policy.ts';
import { deleteAlias, describeKey, ensureKey, scheduleDeletion } from './keys.ts';

export interface CustodyKeyDependencies {
  kms: KMSClient;
  roles: KeyRoles;
  /** The product database, with the key administrator's login: it asks two questions there. */
  pool: Pool;
  alert: Alert;
}

export interface MigrationOf {
  tenantId: string;
  migrationId: string;
}

/** What KMS says of a key that signs no more. Our own statement: nobody outside AWS can check it. */
export interface Disabled {
  keyArn: string;
  keyState: string;
  /** The error with which KMS refused to use the key. */
  refusedWith: string;
}

export type CustodyKeyActivities = ReturnType<typeof createCustodyKeyActivities>;

export function createCustodyKeyActivities({ kms, roles, pool, alert }: CustodyKeyDependencies) {
  /** Nobody but an attacker or a bug asks for this: a person has to know. */
  function refused(tenantId: string): Error {
    alert('key-in-use', { tenantId });
    return failure('key-in-use');
  }

  async function freshKey({ tenantId, migrationId }: MigrationOf) {
    const { rows } = await pool.query<{
      tenant: string;
      log_ordinal: number;
      epoch: number;
      new_signer: Buffer | null;
      wanted: boolean;
      unused: boolean;
    }>('SELECT * FROM kiff.fresh_custody_key($1)', [migrationId]);
    const row = rows[0];
    if (row === undefined || row.tenant !== tenantId) throw refused(tenantId);
    return { ...row, alias: custodyKeyAlias(tenantId, row.log_ordinal, row.epoch) };
  }

  async function replacedKey({ tenantId, migrationId }: MigrationOf) {
    const { rows } = await pool.query<{
      tenant: string;
      log_ordinal: number;
      key_ref: string | null;
      signer: Buffer;
      deletable: boolean;
      deletion_days: number;
    }>('SELECT * FROM kiff.replaced_custody_key($1)', [migrationId]);
    const row = rows[0];
    if (row === undefined || row.tenant !== tenantId) throw refused(tenantId);
    return { ...row, signer: toHex(row.signer), alias: row.key_ref ?? tenantKeyAlias(tenantId, row.log_ordinal) };
  }

  /** A key shows its public half only while it is enabled: then it must be the expected one. */
  async function requireKey(tenantId: string, key: KeyMetadata, alias: string, expected: Hex): Promise<void> {
    if (key.KeyState === KeyState.Enabled && (await keyAddress(kms, alias)) !== expected) throw refused(tenantId);
  }

  return {
    /** Makes the fresh key of a migration to our own custody, unless it is there. @returns its alias */
    async makeCustodyKey(migration: MigrationOf): Promise<{ keyRef: string }> {
      const { alias, wanted } = await freshKey(migration);
      if (!wanted) throw failure('custody-stopped');
      await ensureKey(kms, alias, 'ECC_SECG_P256K1', keyPolicy('tenant', roles));
      return { keyRef: alias };
    },

    /**
     * Takes the fresh key of a migration that was given up away again: KMS deletes it in 30 days.
     * @throws failure key-in-use while a handover to it is alive, or it is the log's signer
     */
    async dropCustodyKey(migration: MigrationOf): Promise<void> {
      const { alias, unused, new_signer } = await freshKey(migration);
      const key = await describeKey(kms, alias);
      if (key === null) return;
      if (!unused) throw refused(migration.tenantId);
      if (new_signer !== null) await requireKey(migration.tenantId, key, alias, toHex(new_signer));
      await scheduleDeletion(kms, key);
      await deleteAlias(kms, alias);
    },

    /**
     * Disables the key of ours that a final acceptance has replaced, and shows that KMS uses it no more.
     * @throws failure key-in-use unless the database says that it was replaced; kms-unavailable while KMS still uses it
     */
    async disableOldKey(migration: MigrationOf): Promise<Disabled> {
      const { alias, signer } = await replacedKey(migration);
      const key = await describeKey(kms, alias);
      if (key === null) throw failure('kms-refused');
      await requireKey(migration.tenantId, key, alias, signer);
      if (key.KeyState === KeyState.Enabled) {
        await translated(() => kms.send(new DisableKeyCommand({ KeyId: key.Arn })));
      }
      const refusedWith = await refusal(kms, alias);
      // AWS is eventually consistent: the next try sees it.
      if (refusedWith === null) throw failure('kms-unavailable');
      const now = await describeKey(kms, alias);
      return { keyArn: key.Arn ?? '', keyState: now?.KeyState ?? 'gone', refusedWith };
    },

    /**
     * Has KMS delete a replaced key of ours, once its time of observation is over.
     * @throws failure key-in-use unless the database says that it was replaced; key-observed while it may not be deleted
     */
    async deleteOldKey(migration: MigrationOf): Promise<{ keyArn: string; deletedAt: string | null }> {
      const { alias, signer, deletable, deletion_days: days } = await replacedKey(migration);
      if (!deletable) throw failure('key-observed');
      const key = await describeKey(kms, alias);
      if (key === null) return { keyArn: '', deletedAt: null };
      await requireKey(migration.tenantId, key, alias, signer);
      const deletedAt = await scheduleDeletion(kms, key, days);
      return { keyArn: key.Arn ?? '', deletedAt: deletedAt?.toISOString() ?? null };
    },
  };
}

/** The name of the error with which KMS refuses to use a key; null when it does not. Other errors are thrown as ours. */
async function refusal(kms: KMSClient, alias: string): Promise<string | null> {
  try {
    await kms.send(new GetPublicKeyCommand({ KeyId: alias }));
    return null;
  } catch (error) {
    if (error instanceof DisabledException || error instanceof KMSInvalidStateException) return error.name;
    return translated(() => Promise.reject(error as Error));
  }
}
