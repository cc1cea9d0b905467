/**
 * Which logs are public: one list of all of them, asked for every few seconds at most, so that who asks for logs that are not
 * there, or not public, costs nothing.
 */
import type { Pool } from 'pg';
import { createShortMemory } from '../access/short-memory.ts';
import { toHex, type Hex } from '../../protocol/hex.ts';
import type { SuccessionEntry } from '../../protocol/policy.ts';
import { isUnavailable } from '../http/database.ts';
import { unavailable } from '../http/problems.ts';

interface PublicLog {
  tenant: string;
  origin: string;
  genesisSigner: Hex;
  /** Final ones, oldest first. */
  succession: readonly SuccessionEntry[];
}

/** How long the list is believed. A log that is withdrawn is closed at once: the database asks for itself. */
const MEMORY = { milliseconds: 4_000, entries: 1 };

export interface PublicLogs {
  /** In a fixed order. @throws Problem unavailable */
  list(): Promise<readonly PublicLog[]>;
  /** Whether a tenant's logs are public. @throws Problem unavailable */
  has(tenant: string): Promise<boolean>;
}

/** @param directory the product database with the login kiff_api */
export function createPublicLogs(directory: Pick<Pool, 'query'>, now: () => number): PublicLogs {
  const memory = createShortMemory<{ logs: PublicLog[]; tenants: Set<string> }>({ ...MEMORY, now });

  async function read(): Promise<{ logs: PublicLog[]; tenants: Set<string> }> {
    const query = directory.query<{
      tenant: string;
      origin: string;
      genesis_signer: Buffer;
      succession: SuccessionEntry[];
    }>('SELECT tenant, origin, genesis_signer, succession FROM kiff.public_logs()');
    const { rows } = await query.catch((error: unknown) => {
      throw isUnavailable(error) ? unavailable(error) : error;
    });
    const logs = rows.map(({ tenant, origin, genesis_signer, succession }) => ({
      tenant,
      origin,
      genesisSigner: toHex(genesis_signer),
      // Members in the order of the format, as a caller's own log has them: jsonb keeps none.
      succession: succession.map(({ epoch, signer, afterSeq }) => ({ epoch, signer, afterSeq })),
    }));
    return { logs, tenants: new Set(logs.map(({ tenant }) => tenant)) };
  }

  const known = async () => (await memory.recall('all', read)) ?? { logs: [], tenants: new Set<string>() };
  return {
    list: async () => (await known()).logs,
    has: async (tenant) => (await known()).tenants.has(tenant),
  };
}
