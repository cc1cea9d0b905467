/** What the anchoring worker knows of the contract and a verifier's policy needs: its code, and where its events begin. */
import type { Pool } from 'pg';
import { keccak256, type PublicClient } from 'viem';
import { fromHex, type Hex } from '../../protocol/hex.ts';
import { reachable } from '../chain/registry.ts';

/**
 * Publishes the contract's code hash and first block for `/.well-known/kiff-policy.json`. Repeatable.
 * @throws Error when there is no contract at the address; a pg error with SQLSTATE KF012 when there was another before
 */
export async function publishRegistry(
  pool: Pool,
  chain: PublicClient,
  contract: Hex,
  fromBlock: number,
): Promise<void> {
  const code = await reachable(() => chain.getCode({ address: contract }));
  if (code === undefined) throw new Error(`there is no contract at ${contract}`);
  const hash = Buffer.from(fromHex(keccak256(code), 32));
  await pool.query('SELECT kiff.publish_registry($1, $2)', [hash, fromBlock]);
}
