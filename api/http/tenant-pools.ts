/**
 * One small connection pool per tenant, each with the tenant's own login: the wall between tenants is the database's,
 * whatever this process gets wrong (design section 3, wall 2).
 */
import type { Pool } from 'pg';
import type { DatabaseLogin } from '../../sql/login.ts';
import { createPool, isUnavailable } from './database.ts';
import { Problem, unavailable } from './problems.ts';

export interface TenantPoolsOptions {
  /** The product database; login and password in it are replaced by the tenant's. */
  databaseUrl: string;
  /** The login of a tenant that this process uses, with its derived password. */
  login: (tenant: string, version: number) => DatabaseLogin;
  /** What the server sees as the connections' application. */
  name: string;
  /** As for any connection of this process (database.ts). */
  incarnation: string;
  /** Two batches in flight and some reads. */
  connectionsPerTenant?: number;
  /** Times connectionsPerTenant: what this process may take of the server's connections. */
  maxPools?: number;
}

/** Whose pool: a higher login version is another password, hence another pool. */
export interface TenantLogin {
  tenant: string;
  loginVersion: number;
}

export interface TenantPools {
  /**
   * Runs `work` with the tenant's pool. The pool stays open at least as long.
   * @throws Problem overloaded when every pool is in use by another tenant, unavailable when the database is away or busy
   *   (whether a write was committed is unknown then); whatever else `work` throws
   */
  use<T>(whose: TenantLogin, work: (pool: Pool) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

interface Entry {
  pool: Pool;
  users: number;
}

export function createTenantPools(options: TenantPoolsOptions): TenantPools {
  const { databaseUrl, login, name, incarnation, connectionsPerTenant = 4, maxPools = 20 } = options;
  // In order of last use. Connections of an idle pool close by themselves; then only this entry is left of it.
  const entries = new Map<string, Entry>();
  const closing = new Set<Promise<void>>();

  function end({ pool }: Entry): void {
    const ended = pool.end().finally(() => closing.delete(ended));
    closing.add(ended);
  }

  function evictOne(): void {
    for (const [key, entry] of entries) {
      if (entry.users > 0) continue;
      entries.delete(key);
      end(entry);
      return;
    }
    throw new Problem('overloaded', 'Every database connection is in use; try again.', { retryAfter: 1 });
  }

  function open({ tenant, loginVersion }: TenantLogin): Entry {
    if (entries.size >= maxPools) evictOne();
    const url = new URL(databaseUrl);
    const { user, password } = login(tenant, loginVersion);
    url.username = user;
    url.password = password;
    return { pool: createPool({ url: url.href, max: connectionsPerTenant, name, incarnation }), users: 0 };
  }

  return {
    async use(whose, work) {
      const key = `${whose.tenant}:${whose.loginVersion}`;
      const entry = entries.get(key) ?? open(whose);
      entries.delete(key);
      entries.set(key, entry);
      entry.users++;
      try {
        return await work(entry.pool);
      } catch (error) {
        throw isUnavailable(error) ? unavailable(error) : error;
      } finally {
        entry.users--;
      }
    },
    async close() {
      for (const entry of entries.values()) end(entry);
      entries.clear();
      await Promise.all(closing);
    },
  };
}
