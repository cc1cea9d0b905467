/** Reads a tenant's usage with its own login: the hours that are over, and the running one, which stands in the log's head. */
import type { Pool } from 'pg';
import { tenantSchema } from '../../sql/login.ts';

export interface UsageCounters {
  records: number;
  bytes: number;
  duplicates: number;
  rejectedRequests: number;
  receiptsRead: number;
}

export interface UsageHour extends UsageCounters {
  hour: Date;
}

const SUMS = `coalesce(sum(u.records), 0)::bigint AS records, coalesce(sum(u.bytes), 0)::bigint AS bytes,
  coalesce(sum(u.duplicates), 0)::bigint AS duplicates, coalesce(sum(u.rejected_requests), 0)::bigint AS "rejectedRequests",
  coalesce(sum(u.receipts_read), 0)::bigint AS "receiptsRead"`;

/** Hours within [from, to), head included. */
function hoursOf(tenant: string): string {
  return `(SELECT hour, records, bytes, duplicates, rejected_requests, receipts_read
             FROM kiff.usage WHERE tenant = '${tenant}' AND hour >= $1 AND hour < $2
           UNION ALL
           SELECT hour, hour_records, hour_bytes, hour_duplicates, 0, 0
             FROM ${tenantSchema(tenant)}.log_head WHERE hour >= $1 AND hour < $2) u`;
}

/** Hours in which anything was counted, the oldest first, at most `limit`. */
export async function usageHours(
  pool: Pick<Pool, 'query'>,
  tenant: string,
  { from, to, limit }: { from: Date; to: Date; limit: number },
): Promise<UsageHour[]> {
  const { rows } = await pool.query<UsageHour>(
    `SELECT u.hour, ${SUMS} FROM ${hoursOf(tenant)} GROUP BY u.hour ORDER BY u.hour LIMIT $3`,
    [from, to, limit],
  );
  return rows;
}

/** Everything within [from, to). */
export async function usageSums(
  pool: Pick<Pool, 'query'>,
  tenant: string,
  { from, to }: { from: Date; to: Date },
): Promise<UsageCounters> {
  const { rows } = await pool.query<UsageCounters>(`SELECT ${SUMS} FROM ${hoursOf(tenant)}`, [from, to]);
  const [row] = rows;
  if (row === undefined) throw new Error('a sum without a row');
  return row;
}
