/** A tenant's logs: the one that it writes to, and those that have ended; and the deployment's constants. */
import type { Pool } from 'pg';
import type { Registry } from '../../protocol/eip712.ts';
import { toHex, type Hex } from '../../protocol/hex.ts';
import { logSchema } from '../../sql/login.ts';
import { checkDeployment } from '../http/deployment.ts';
import { Problem } from '../http/problems.ts';

export interface LogIdentity {
  tenant: string;
  /** 1 for the tenant's first log. */
  ordinal: number;
  /** Where its records are. */
  schema: string;
  /** The operator's signed statement that it has ended; null of the current log. */
  end: string | null;
  origin: string;
  genesisSigner: Hex;
  logId: Hex;
  /** P, in seconds. */
  periodSeconds: number;
}

const CACHE_ENTRIES = 10_000;

interface LogRow {
  ordinal: number;
  origin: string;
  genesis_signer: Buffer;
  log_id: Buffer;
  statement: string | null;
  period_seconds: number;
}

/** A tenant's logs, read with the tenant's own login. */
export function createLogIdentities(registry: Registry) {
  const known = new Map<string, LogIdentity>();

  /** @throws Problem tenant-not-ready when there is no log yet; WrongDeployment; pg errors */
  async function all(pool: Pick<Pool, 'query'>, tenant: string): Promise<[LogIdentity, ...LogIdentity[]]> {
    await checkDeployment(pool, registry);
    const { rows } = await pool.query<LogRow>(
      `SELECT l.*, d.period_seconds FROM kiff.deployment d CROSS JOIN (
         SELECT ordinal, origin, genesis_signer, log_id, NULL AS statement FROM kiff.logs WHERE tenant = $1
         UNION ALL
         SELECT ordinal, origin, genesis_signer, log_id, statement FROM kiff.ended_logs WHERE tenant = $1) l
        ORDER BY l.ordinal DESC`,
      [tenant],
    );
    const [current, ...ended] = rows.map((row) => ({
      tenant,
      ordinal: row.ordinal,
      schema: logSchema(tenant, row.statement === null ? null : row.ordinal),
      end: row.statement,
      origin: row.origin,
      genesisSigner: toHex(row.genesis_signer),
      logId: toHex(row.log_id),
      periodSeconds: row.period_seconds,
    }));
    if (current === undefined || current.end !== null) {
      throw new Problem('tenant-not-ready', 'This tenant has no log yet.', { retryAfter: 5 });
    }
    return [current, ...ended];
  }

  return {
    /** The current log and those that ended before it, the newest first. */
    all,

    /**
     * The log that a key writes to: what is promised names it. Read once for each log, since who it is never changes.
     * @param ordinal the tenant's current log, as the key was looked up with
     */
    async current(pool: Pick<Pool, 'query'>, tenant: string, ordinal: number | null): Promise<LogIdentity> {
      const cached = known.get(tenant);
      if (cached !== undefined && cached.ordinal === ordinal) return cached;
      const [log] = await all(pool, tenant);
      // A log has ended since the key was looked up: whose places would be promised?
      if (log.ordinal !== ordinal) {
        throw new Problem('tenant-not-ready', 'A new log begins for this tenant; try again.', { retryAfter: 5 });
      }
      if (known.size >= CACHE_ENTRIES) known.clear();
      known.set(tenant, log);
      return log;
    },

    /** One of the tenant's logs; the current one when `ordinal` is not given. @throws Problem not-found */
    async one(pool: Pick<Pool, 'query'>, tenant: string, ordinal: number | undefined): Promise<LogIdentity> {
      const logs = await all(pool, tenant);
      const log = ordinal === undefined ? logs[0] : logs.find((candidate) => candidate.ordinal === ordinal);
      if (log === undefined) throw new Problem('not-found', 'This tenant has no log with that number.');
      return log;
    },
  };
}

export type LogIdentities = ReturnType<typeof createLogIdentities>;
