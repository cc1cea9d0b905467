/** A pg pool whose bigints are numbers (indexes and seconds stay far below 2^53), and its errors in our words. */
import type { ApplicationFailure } from '@temporalio/common';
import pg from 'pg';
import { failure, type FailureType } from './failures.ts';

const INT8 = 20;

/** SQLSTATEs that our own SQL raises (sql/) or that want a person, and what they mean to a workflow. */
const OWN_STATES: Readonly<Record<string, FailureType>> = {
  '25006': 'database-refuses-writes', // read-only transaction
  '53100': 'database-refuses-writes', // disk full
  KF004: 'period-not-over',
  KF005: 'log-not-active',
  KF006: 'seal-conflict',
  KF007: 'root-conflict',
  KF009: 'out-of-order', // a signature of the old signer, after the cut-over: the new one signs
  KF010: 'log-identity-conflict',
  KF011: 'log-not-active',
  KF020: 'wallet-held',
  KF052: 'tenant-in-use',
  KF031: 'tile-altered',
  KF040: 'not-an-extension',
  KF041: 'not-an-extension',
  KF042: 'log-ended',
  KF043: 'log-ended',
  KF044: 'end-not-ordered',
  KF045: 'end-not-ordered',
  KF083: 'log-not-active',
  KF084: 'custody-active',
  KF085: 'custody-conflict',
  KF086: 'custody-stopped',
  KF087: 'custody-alive',
  KF046: 'held', // another signer has learned a succession in between
  KF047: 'held',
  KF048: 'custody-refused',
  KF049: 'handover-dead',
  KF090: 'handover-live',
  KF091: 'acceptance-early',
  KF092: 'past-no-return',
  KF093: 'chain-differs',
  KF094: 'chain-differs',
};

/** The database that a process is configured for: the schema that knows its incarnations, and the expected name. */
export interface Incarnation {
  schema: 'kiff' | 'journal';
  name: string;
}

/**
 * @param url a postgres:// URL with the login of this process
 * @param max connections at most
 * @param incarnation asked for on every new connection; a database opened under another name is not used (failure
 *   incarnation-differs)
 */
export function createPool(url: string, max: number, incarnation?: Incarnation): pg.Pool {
  const pool = new pg.Pool({
    connectionString: url,
    max,
    connectionTimeoutMillis: 5_000,
    idleTimeoutMillis: 30_000,
    maxLifetimeSeconds: 1_800,
    ...(incarnation && {
      verify: (client: pg.PoolClient, done: (error?: Error) => void) => void judge(client, incarnation, done),
    }),
    types: {
      getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
        oid === INT8 ? Number : pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser,
    },
  });
  // An idle connection that breaks is replaced at the next query; without a listener it would end the process.
  pool.on('error', () => undefined);
  return pool;
}

/** Lets a connection be used, or says why not. Never rejects. */
async function judge(
  client: pg.PoolClient,
  { schema, name }: Incarnation,
  done: (error?: Error) => void,
): Promise<void> {
  try {
    const { rows } = await client.query<{ open: boolean }>(`SELECT ${schema}.opened_as($1) AS open`, [name]);
    done(rows[0]?.open === true ? undefined : failure('incarnation-differs'));
  } catch (error) {
    done(error as Error);
  }
}

/** Translates a pg error at the edge: our own states by name, a lost or refused connection as unavailable. */
export function databaseFailure(error: unknown): ApplicationFailure | undefined {
  if (error instanceof pg.DatabaseError) {
    const own = error.code === undefined ? undefined : OWN_STATES[error.code];
    if (own !== undefined) return failure(own);
    // 08 connection, 53 resources, 57 operator intervention, 40 serialisation, 55P03 lock not available
    if (/^(08|53|57|40|55P03|58)/.test(error.code ?? '')) return failure('database-unavailable');
    return undefined;
  }
  if (
    error instanceof Error &&
    /ECONN|EPIPE|ETIMEDOUT|terminated|timeout exceeded|Connection ended/i.test(`${error.message} ${codeOf(error)}`)
  ) {
    return failure('database-unavailable');
  }
  return undefined;
}

function codeOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : '';
}
