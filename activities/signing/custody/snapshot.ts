/** The old key before anything is done to it: `GetPublicKey` fails once a key is disabled, and a certificate names what it was. */
import { DescribeKeyCommand, GetKeyPolicyCommand, type KMSClient } from '@aws-sdk/client-kms';
import { sha256 } from '@noble/hashes/sha2.js';
import { toHex, utf8, type Hex } from '../../../protocol/hex.ts';
import { failure } from '../../failures.ts';
import { publicKeyOf, translated } from '../../kms/keys.ts';
import { CLOUD, TENANT_AGENT, type SignerKey } from '../signer-key.ts';

export interface KeySnapshot {
  signer: Hex;
  /** Null, and so the key, of a tenant's own signer: its address is all that we know of it. */
  keyRef: string | null;
  /** SubjectPublicKeyInfo (RFC 5280), DER. */
  publicKey: Hex | null;
  /** SHA-256 of the key policy's text as KMS stores it; null of a tenant's key, whose policy is not ours to read. */
  policyHash: Hex | null;
}

/** @throws failure signer-absent for a KMS key whose name we do not know; those of KMS */
export async function snapshotOf(kms: KMSClient, { signer, keyRef, custody, epoch }: SignerKey): Promise<KeySnapshot> {
  if (custody === TENANT_AGENT) return { signer, keyRef: null, publicKey: null, policyHash: null };
  if (keyRef === null) throw failure('signer-absent', { epoch });
  const publicKey = toHex(await publicKeyOf(kms, keyRef));
  if (custody !== CLOUD) return { signer, keyRef, publicKey, policyHash: null };
  // GetKeyPolicy takes no alias.
  const { KeyMetadata } = await translated(() => kms.send(new DescribeKeyCommand({ KeyId: keyRef })));
  const { Policy } = await translated(() =>
    kms.send(new GetKeyPolicyCommand({ KeyId: KeyMetadata?.Arn, PolicyName: 'default' })),
  );
  if (Policy === undefined) throw failure('kms-unavailable');
  return { signer, keyRef, publicKey, policyHash: toHex(sha256(utf8(Policy))) };
}
