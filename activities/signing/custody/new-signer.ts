/**
 * Whether a key may become a log's signer: the static checks (faults C10, B21), made when a migration begins and again before the old
 * key signs. What the key is, KMS says; whose it is already, this journal and the directory say.
 */
import type { KMSClient } from '@aws-sdk/client-kms';
import type { Pool } from 'pg';
import { fromHex, type Hex } from '../../../protocol/hex.ts';
import { custodyKeyAlias, keyAddress } from '../../kms/keys.ts';
import { requireKeyPolicy, type KeyRoles } from '../../kms/policy.ts';
import { inspectTenantKey, requireSignAllowed, type KeyRefusal } from '../../kms/tenant-key.ts';
import type { AgreedChain } from '../../chain/endpoints.ts';
import { reachable } from '../../chain/registry.ts';
import { CLOUD, TENANT_KMS } from '../signer-key.ts';
import type { CustodyJournal } from './journal.ts';
import type { Migration } from './migration.ts';

/** Why a new signer is not taken. Fixed words: they are what the tenant reads. */
type SignerRefusal =
  | KeyRefusal
  | 'signer-unnamed'
  | 'signer-is-contract'
  | 'signer-zero'
  | 'signer-is-current'
  | 'signer-was-used'
  | 'signer-is-another-logs'
  | 'signer-is-relayer';

export interface NewSignerDependencies {
  /** The product database, with the signing login. */
  pool: Pool;
  custodyJournal: CustodyJournal;
  kms: KMSClient;
  chain: AgreedChain;
  roles: KeyRoles;
  /** Of our KMS client; a tenant's key must be there too. */
  region: string;
}

/** `keyRef` is null of a tenant's own signer: we never can call it. */
export type NewSigner = { ok: true; newSigner: Hex; keyRef: string | null } | { ok: false; reason: SignerRefusal };

/**
 * Looks at the key that a migration names, and at who has it already.
 * @throws failures of KMS for a key of our own; kms-unavailable
 */
export async function judgeNewSigner(deps: NewSignerDependencies, migration: Migration): Promise<NewSigner> {
  const found = await lookAt(deps, migration);
  if ('refused' in found) return { ok: false, reason: found.refused };
  const reason = await takenBy(deps, migration, found.address);
  return reason === null ? { ok: true, newSigner: found.address, keyRef: found.keyRef } : { ok: false, reason };
}

async function lookAt(
  { kms, chain, roles, region }: NewSignerDependencies,
  { custody, keyArn, ownSigner, epochTo, log }: Migration,
): Promise<{ address: Hex; keyRef: string | null } | { refused: SignerRefusal }> {
  if (custody === CLOUD) {
    const keyRef = custodyKeyAlias(log.tenantId, log.ordinal, epochTo);
    await requireKeyPolicy(kms, keyRef, 'tenant', roles);
    await requireSignAllowed(kms, keyRef);
    return { address: await keyAddress(kms, keyRef), keyRef };
  }
  if (custody !== TENANT_KMS) {
    if (ownSigner === null) return { refused: 'signer-unnamed' };
    return (await isContract(chain, ownSigner))
      ? { refused: 'signer-is-contract' }
      : { address: ownSigner, keyRef: null };
  }
  if (keyArn === null) return { refused: 'key-arn-malformed' };
  const seen = await inspectTenantKey(kms, keyArn, log.origin, { signerArn: roles.signer, region });
  return 'refused' in seen ? seen : { address: seen.address, keyRef: keyArn };
}

/** EIP-7702: code of this form is a key's own account that delegates, and the key signs as before. */
const DELEGATION = /^0xef0100[0-9a-f]{40}$/;

/**
 * A contract signs by ERC-1271 and no statement of it recovers to its address: what its answer means can change with every block, and
 * so its seals could not be verified without a chain (fault B20).
 */
async function isContract(chain: AgreedChain, address: Hex): Promise<boolean> {
  const { number } = await chain.newest('latest');
  const code = await chain.read((endpoint) => reachable(() => endpoint.getCode({ address, blockNumber: number })));
  return code !== undefined && code !== '0x' && !DELEGATION.test(code);
}

async function takenBy(
  { pool, custodyJournal }: NewSignerDependencies,
  { id, log, key }: Migration,
  address: Hex,
): Promise<SignerRefusal | null> {
  if (/^0x0{40}$/.test(address)) return 'signer-zero';
  if (address === key.signer) return 'signer-is-current';
  // A signer of before could bring what it once withheld; one that is about to be another log's is two logs' in the end.
  const known = await custodyJournal.usedBy(address, log.logId);
  if (known.length > 0) return known.includes(log.logId) ? 'signer-was-used' : 'signer-is-another-logs';
  const { rows } = await pool.query<{ taken: string | null }>('SELECT kiff.signer_taken($1, $2) AS taken', [
    id,
    Buffer.from(fromHex(address, 20)),
  ]);
  const taken = rows[0]?.taken ?? null;
  if (taken === 'relayer') return 'signer-is-relayer';
  return taken === null ? null : 'signer-is-another-logs';
}
