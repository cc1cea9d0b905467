/** Which key signs for a log, by the journal's word: its genesis key, or the one of its last succession. */
import type { Hex } from '../../protocol/hex.ts';
import { tenantKeyAlias } from '../kms/keys.ts';
import type { Journal, JournalLog, Succession } from './journal.ts';

/** Whose key it is: our own KMS's, a tenant's KMS's that we call, or the tenant's alone. */
export const CLOUD = 1;
export const TENANT_KMS = 2;
export const TENANT_AGENT = 3;

export interface SignerKey {
  /** 0: the genesis key's. */
  epoch: number;
  signer: Hex;
  /** 1 cloud, 2 tenant-kms, 3 tenant-agent. */
  custody: number;
  /** Alias or ARN; null for a key that we never call. */
  keyRef: string | null;
  /** How this epoch began; null of the genesis key. */
  began: Succession | null;
}

/** The keys of a log's epochs, in order: at index 0 the genesis key's, last the one that signs now. */
export async function keysOf(
  journal: Pick<Journal, 'successions'>,
  log: Pick<JournalLog, 'logId' | 'genesisSigner' | 'tenantId' | 'ordinal'>,
): Promise<[SignerKey, ...SignerKey[]]> {
  const genesis: SignerKey = {
    epoch: 0,
    signer: log.genesisSigner,
    custody: CLOUD,
    keyRef: tenantKeyAlias(log.tenantId, log.ordinal),
    began: null,
  };
  const later = (await journal.successions(log.logId)).map((began): SignerKey => {
    const { epoch, signer, custody, keyRef } = began;
    return { epoch, signer, custody, keyRef, began };
  });
  return [genesis, ...later];
}

/** The key that signs now. */
export async function currentKey(
  journal: Pick<Journal, 'successions'>,
  log: Parameters<typeof keysOf>[1],
): Promise<SignerKey> {
  const keys = await keysOf(journal, log);
  return keys.at(-1) ?? keys[0];
}
