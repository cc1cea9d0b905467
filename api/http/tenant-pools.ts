/**
 * One small connection pool per tenant, each with the tenant's own login: the wall between tenants is the database's,
 * whatever this process gets wrong (design section 3, wall 2).
 *
 * There are more tenants than connections. A tenant that asks nothing has none: its connections close when they have been
 * idle for a while, or as soon as another tenant needs their place. While every place is taken by somebody at work, a
 * tenant that has one waits for its own, and one that has none is told so at once. Nobody holds one place and waits for
 * another, so there is nothing to dead-lock.
 */
import pg, { type Pool } from 'pg';
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
  /** Over all tenants: what this process may take of the server's connections. */
  maxConnections?: number;
  /** How long a request waits for one of its tenant's own connections. */
  patienceMilliseconds?: number;
  /** As createPool has them. */
  idleMilliseconds?: number;
  lifetimeSeconds?: number;
}

/** Whose pool: a higher login version is another password, hence another pool. */
export interface TenantLogin {
  tenant: string;
  loginVersion: number;
}

/** One connection, taken when it is first asked for and given back when the work is done. */
export type Queryable = Pick<Pool, 'query'>;

export interface TenantPools {
  /**
   * Runs `work` with at most one of the tenant's connections.
   * @throws Problem overloaded when no connection is free, unavailable when the database is away or busy (whether a write was
   *   committed is unknown then); whatever else `work` throws
   */
  use<T>(whose: TenantLogin, work: (db: Queryable) => Promise<T>): Promise<T>;
  /** How many tenants have a pool, and how many connections there are in all of them. */
  size(): { pools: number; connections: number };
  close(): Promise<void>;
}

interface Entry {
  key: string;
  pool: Pool;
  /** Places taken: each has a connection, or is getting one. */
  places: number;
  /** Who waits for one of them, oldest first. Called with its place taken. */
  waiting: Set<() => void>;
}

export function createTenantPools(options: TenantPoolsOptions): TenantPools {
  const { databaseUrl, login, name, incarnation, idleMilliseconds, lifetimeSeconds } = options;
  const { connectionsPerTenant = 4, maxConnections = 80, patienceMilliseconds = 3_000 } = options;
  // In order of last use.
  const entries = new Map<string, Entry>();
  const closing = new Set<Promise<void>>();

  const connectionsOf = ({ places, pool }: Entry): number => Math.max(places, pool.totalCount);
  const connections = (): number => [...entries.values()].reduce((sum, entry) => sum + connectionsOf(entry), 0);

  /** Nothing of it is left: the tenant costs nothing until it comes again. */
  function forgetIfEmpty(entry: Entry): void {
    if (connectionsOf(entry) === 0 && entry.waiting.size === 0 && entries.get(entry.key) === entry) {
      entries.delete(entry.key);
    }
  }

  function open({ tenant, loginVersion }: TenantLogin, key: string): Entry {
    const url = new URL(databaseUrl);
    const { user, password } = login(tenant, loginVersion);
    url.username = user;
    url.password = password;
    const pool = createPool({
      url: url.href,
      max: connectionsPerTenant,
      name,
      incarnation,
      ...(idleMilliseconds !== undefined && { idleMilliseconds }),
      ...(lifetimeSeconds !== undefined && { lifetimeSeconds }),
    });
    const entry: Entry = { key, pool, places: 0, waiting: new Set() };
    pool.on('remove', () => forgetIfEmpty(entry));
    return entry;
  }

  /** Whether there is room for one more connection; those that nobody works with make some, least lately used first. */
  function makeRoom(): boolean {
    for (const idle of entries.values()) {
      if (connections() < maxConnections) return true;
      if (idle.places > 0 || connectionsOf(idle) === 0) continue;
      entries.delete(idle.key);
      const ended = idle.pool.end().finally(() => closing.delete(ended));
      closing.add(ended);
    }
    return connections() < maxConnections;
  }

  /** @throws Problem overloaded */
  async function takePlace(whose: TenantLogin): Promise<Entry> {
    const key = `${whose.tenant}:${whose.loginVersion}`;
    const entry = entries.get(key) ?? open(whose, key);
    entries.delete(key);
    entries.set(key, entry);
    // An idle connection of its own needs no room.
    if (entry.places < connectionsPerTenant && (entry.places < entry.pool.totalCount || makeRoom())) {
      entry.places++;
      return entry;
    }
    if (entry.places === 0) {
      forgetIfEmpty(entry);
      throw overloaded();
    }
    await new Promise<void>((resolve, reject) => {
      const turn = (): void => {
        clearTimeout(patience);
        resolve();
      };
      const patience = setTimeout(() => {
        entry.waiting.delete(turn);
        reject(overloaded());
      }, patienceMilliseconds);
      entry.waiting.add(turn);
    });
    return entry;
  }

  /** To whoever of the same tenant waits longest, or back. */
  function givePlace(entry: Entry): void {
    const [next] = entry.waiting;
    if (next !== undefined) {
      entry.waiting.delete(next);
      next();
      return;
    }
    entry.places--;
    forgetIfEmpty(entry);
  }

  return {
    async use(whose, work) {
      let taken: Promise<Connection> | undefined;
      const connect = async (): Promise<Connection> => {
        const entry = await takePlace(whose);
        try {
          return { entry, ...(await checkOut(entry.pool)) };
        } catch (error) {
          givePlace(entry);
          throw error;
        }
      };
      const query = async (...args: readonly unknown[]): Promise<unknown> => {
        taken ??= connect();
        const connection = await taken;
        return connection.run(args);
      };
      try {
        return await work({ query: query as unknown as Pool['query'] });
      } catch (error) {
        throw isUnavailable(error) ? unavailable(error) : error;
      } finally {
        // Whoever asked for one in vain was told.
        const connection = await taken?.catch(() => undefined);
        if (connection !== undefined) {
          connection.giveBack();
          givePlace(connection.entry);
        }
      }
    },
    size: () => ({ pools: entries.size, connections: connections() }),
    async close() {
      for (const { pool } of entries.values()) closing.add(pool.end());
      entries.clear();
      await Promise.all(closing);
    },
  };
}

interface CheckedOut {
  run: (args: readonly unknown[]) => Promise<unknown>;
  giveBack: () => void;
}

interface Connection extends CheckedOut {
  entry: Entry;
}

async function checkOut(pool: Pool): Promise<CheckedOut> {
  const client = await pool.connect();
  // One of its overloads takes a callback; nobody here does.
  const query = client.query.bind(client) as (...args: readonly unknown[]) => Promise<unknown>;
  let broken = false;
  const fail = (): void => void (broken = true);
  // The server may end it between two queries; unheard, that would end the process.
  client.on('error', fail);
  return {
    async run(args) {
      try {
        return await query(...args);
      } catch (error) {
        // A statement that was refused leaves its connection as it was; whatever else happened does not.
        if (!(error instanceof pg.DatabaseError) || error.severity !== 'ERROR') fail();
        throw error;
      }
    },
    giveBack() {
      client.off('error', fail);
      client.release(broken);
    },
  };
}

function overloaded(): Problem {
  return new Problem('overloaded', 'Every database connection is in use; try again.', { retryAfter: 1 });
}
