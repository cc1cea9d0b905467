/** Which log a tenant writes to, and the deployment's constants. None of it ever changes, so it is read once. */
import type { Pool } from 'pg';
import type { Registry } from '../../protocol/eip712.ts';
import { toHex, type Hex } from '../../protocol/hex.ts';
import { Problem } from '../http/problems.ts';

export interface LogIdentity {
  tenant: string;
  origin: string;
  genesisSigner: Hex;
  logId: Hex;
  /** P, in seconds. */
  periodSeconds: number;
}

const CACHE_ENTRIES = 10_000;

/** The process is configured for another chain or contract than the database: every receipt would be wrong. */
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

/** @returns a function that reads a tenant's log with the tenant's own login, once */
export function createLogIdentities(registry: Registry) {
  const known = new Map<string, LogIdentity>();

  /** @throws Problem tenant-not-ready when there is no log yet; WrongDeployment; pg errors */
  return async function logIdentity(pool: Pick<Pool, 'query'>, tenant: string): Promise<LogIdentity> {
    const cached = known.get(tenant);
    if (cached !== undefined) return cached;
    await checkDeployment(pool, registry);
    const { rows } = await pool.query<{
      origin: string;
      genesis_signer: Buffer;
      log_id: Buffer;
      period_seconds: number;
    }>(
      `SELECT l.origin, l.genesis_signer, l.log_id, d.period_seconds
         FROM kiff.logs l CROSS JOIN kiff.deployment d WHERE l.tenant = $1`,
      [tenant],
    );
    const row = rows[0];
    if (row === undefined) throw new Problem('tenant-not-ready', 'This tenant has no log yet.', { retryAfter: 5 });
    const identity = {
      tenant,
      origin: row.origin,
      genesisSigner: toHex(row.genesis_signer),
      logId: toHex(row.log_id),
      periodSeconds: row.period_seconds,
    };
    if (known.size >= CACHE_ENTRIES) known.clear();
    known.set(tenant, identity);
    return identity;
  };
}

export type LogIdentities = ReturnType<typeof createLogIdentities>;
