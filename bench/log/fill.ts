/**
 * Leaves by the million, made inside the database: entries as accept() writes them, through the table's own checks and
 * indexes, dated into a period of the past. Their bodies are left out, as if erased: the tree does not know them.
 */
import type pg from 'pg';
import { PERIOD_SECONDS } from '../ground.ts';

const BATCH = 100_000;

/** Bytes of each entry made here. */
export const ENTRY_BYTES = 217;

/**
 * Appends leaves [from, to) to a log, all received in the first second of `period`.
 * @param client a superuser's
 * @param progress told after each batch how many leaves the log has
 */
export async function appendLeaves(
  client: pg.Client,
  schema: string,
  { from, to, period }: { from: number; to: number; period: number },
  progress: (size: number) => void = () => undefined,
): Promise<void> {
  for (let at = from; at < to; at += BATCH) {
    const end = Math.min(to, at + BATCH);
    await client.query(
      `INSERT INTO ${schema}.records (leaf_index, id, received_at, entry, leaf_hash)
       SELECT g, m.id, to_timestamp($3), m.entry, sha256('\\x00'::bytea || m.entry)
         FROM generate_series($1::bigint, $2::bigint - 1) AS g,
              LATERAL (SELECT 'bench:' || lpad(g::text, 12, '0') AS id OFFSET 0) i,
              LATERAL (SELECT i.id, convert_to('{"v":1,"id":"' || i.id || '","received_at":"' || $4 ||
                '","key":"k0123456789abcde","commitment":"' || encode(sha256(i.id::bytea), 'hex') || '"}', 'UTF8') AS entry) m
        ORDER BY g`,
      [at, end, period, new Date(period * 1000).toISOString()],
    );
    await client.query(`UPDATE ${schema}.log_head SET size = $1, last_received_at = to_timestamp($2)`, [end, period]);
    progress(end);
  }
}

/** Cuts the log after `period`, as the sealing worker does. @returns the seal's seq */
export async function collect(client: pg.Client, schema: string, period: number): Promise<number> {
  const { rows } = await client.query<{ seq: number }>(`SELECT seq FROM ${schema}.collect($1)`, [period]);
  return rows[0]!.seq;
}

/** The period so many periods before the running one. */
export function pastPeriod(periods: number): number {
  const now = Math.floor(Date.now() / 1000);
  return now - (now % PERIOD_SECONDS) - periods * PERIOD_SECONDS;
}
