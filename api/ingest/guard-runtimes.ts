/** The directory of a tenant's guards (sql/product/014-guard-runtimes.sql), with the tenant's own login. */
import type { Pool } from 'pg';

export interface Runtime {
  runtime_id: string;
  agent_id: string;
  adapter: string;
  mode: string;
  project: string;
  environment: string;
  workflow: string;
  sdk_version: string;
}

interface SeenRow {
  first_seen_at: Date;
  last_seen_at: Date;
  seen_count: number;
}

/** Notes that a guard was seen; answers since when, and how often. */
export async function seeRuntime(pool: Pick<Pool, 'query'>, runtime: Runtime) {
  const { runtime_id, agent_id, adapter, mode, project, environment, workflow, sdk_version } = runtime;
  const { rows } = await pool.query<SeenRow>('SELECT * FROM kiff.see_runtime($1, $2, $3, $4, $5, $6, $7, $8)', [
    runtime_id,
    agent_id,
    adapter,
    mode,
    project,
    environment,
    workflow,
    sdk_version,
  ]);
  const [row] = rows;
  if (row === undefined) throw new Error('see_runtime answered nothing');
  return {
    first_seen_at: row.first_seen_at.toISOString(),
    last_seen_at: row.last_seen_at.toISOString(),
    seen_count: row.seen_count,
  };
}

/** The guards of the login's tenant, last seen first. */
export async function listRuntimes(pool: Pick<Pool, 'query'>) {
  const { rows } = await pool.query<
    Omit<Runtime, 'workflow' | 'sdk_version'> & Pick<SeenRow, 'last_seen_at' | 'seen_count'>
  >(
    `SELECT id AS runtime_id, agent_id, adapter, mode, project, environment, last_seen_at, seen_count
       FROM kiff.guard_runtimes ORDER BY last_seen_at DESC, id`,
  );
  return rows.map((row) => ({ ...row, last_seen_at: row.last_seen_at.toISOString() }));
}
