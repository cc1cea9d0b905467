/** How this process speaks to Postgres: pools whose bigints are numbers, and which errors mean "away", not "wrong". */
import pg from 'pg';
import { Problem } from './problems.ts';

const INT8 = 20;

/** Indexes, sizes and seconds stay far below 2^53. */
const types = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
    oid === INT8 ? Number : pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser,
};

export interface PoolOptions {
  url: string;
  /** Connections at most. */
  max: number;
  name: string;
  /** The name under which the database was opened. Every new connection is asked for it. */
  incarnation: string;
  /** A connection that nobody uses is closed after this long; 10 s unless given. */
  idleMilliseconds?: number;
  /** And any connection is replaced by a new one after this long; 30 min unless given. */
  lifetimeSeconds?: number;
}

export function createPool(options: PoolOptions): pg.Pool {
  const { url, max, name, incarnation, idleMilliseconds = 10_000, lifetimeSeconds = 1_800 } = options;
  const pool = new pg.Pool({
    connectionString: url,
    max,
    application_name: name,
    connectionTimeoutMillis: 3_000,
    // Longer than the server's own limit (5 s), so that its answer normally comes first.
    query_timeout: 8_000,
    idleTimeoutMillis: idleMilliseconds,
    maxLifetimeSeconds: lifetimeSeconds,
    // A restored database is a new connection, always: nothing is read or written before it has said who it is.
    verify: (client, done) => void judge(client, incarnation, done),
    types,
  });
  // An idle connection that breaks is replaced at the next query; without a listener it would end the process.
  pool.on('error', () => undefined);
  return pool;
}

/** Lets a connection be used, or says why not. Never rejects. */
async function judge(client: pg.PoolClient, incarnation: string, done: (error?: Error) => void): Promise<void> {
  try {
    const { rows } = await client.query<{ open: boolean }>('SELECT kiff.opened_as($1) AS open', [incarnation]);
    done(rows[0]?.open === true ? undefined : recovering());
  } catch (error) {
    done(error as Error);
  }
}

function recovering(): Problem {
  const detail = 'The data behind this service has been restored and is not compared yet; nothing is read or written.';
  return new Problem('recovering', detail, { retryAfter: 60 });
}

/**
 * SQLSTATEs after which the same request may succeed later: 08 connection, 25006 read-only, 25P03 and 25P04 transaction time-outs, 28 and 3D login or database
 * not there (yet), 40 serialisation, 53 resources, 55 object not ready, 57 operator intervention and time-outs, 58 system.
 */
const AWAY = /^(?:08|25006|25P0[34]|28|3D|40|53|55|57|58)/;

/** Whether an error of a query says that the database is away or busy, not that the statement was wrong. */
export function isUnavailable(error: unknown): boolean {
  if (error instanceof pg.DatabaseError) return AWAY.test(error.code ?? '');
  if (!(error instanceof Error)) return false;
  if ('code' in error && typeof error.code === 'string' && /^E[A-Z]+$/.test(error.code)) return true;
  if (error instanceof AggregateError) return error.errors.every(isUnavailable);
  return /^(?:Connection terminated|timeout exceeded when trying to connect|Query read timeout|Client has encountered a connection error)/.test(
    error.message,
  );
}
