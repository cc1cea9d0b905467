/** Whether this process and its database are of one deployment. */
import type { Pool } from 'pg';
import type { Registry } from '../../protocol/eip712.ts';
import { toHex } from '../../protocol/hex.ts';

/** The process is configured for another chain or contract than the database: everything signed or shown would be wrong. */
class WrongDeployment extends Error {
  override readonly name = 'WrongDeployment';
  readonly code = 'wrong-deployment';
}

/**
 * @throws WrongDeployment; pg errors
 * @param queryable any login: the deployment is everybody's to read
 */
export async function checkDeployment(queryable: Pick<Pool, 'query'>, registry: Registry): Promise<void> {
  const { rows } = await queryable.query<{ chain_id: number; contract: Buffer }>(
    'SELECT chain_id, contract FROM kiff.deployment',
  );
  const row = rows[0];
  if (row === undefined) throw new WrongDeployment('the database has no deployment yet');
  if (row.chain_id !== registry.chainId || toHex(row.contract) !== registry.contract) {
    throw new WrongDeployment('CHAIN_ID and CONTRACT are not those of the database');
  }
}
