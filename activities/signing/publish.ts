/** What the signing worker knows and a verifier's policy needs: the operator's checkpoint key. */
import type { KMSClient } from '@aws-sdk/client-kms';
import type { Pool } from 'pg';
import { fromHex } from '../../protocol/hex.ts';
import { ed25519PublicKey, OPERATOR_ALIAS } from '../kms/keys.ts';

/** Publishes the operator's Ed25519 public key for `/.well-known/kiff-policy.json`. Repeatable. */
export async function publishCheckpointKey(pool: Pool, kms: KMSClient): Promise<void> {
  const key = await ed25519PublicKey(kms, OPERATOR_ALIAS);
  await pool.query('SELECT kiff.publish_checkpoint_key($1)', [Buffer.from(fromHex(key, 32))]);
}
