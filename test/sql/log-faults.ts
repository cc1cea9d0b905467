/** What must hold of a tenant's tables at every moment, whoever wrote, died or jumped: asked of the tables alone. */
import type pg from 'pg';
import type { TestTenant } from '../product-database.ts';

/**
 * Everything that is wrong with a log, in words; empty when it is whole. Indexes are gapless, order is time order, every
 * record up to the last cut lies in exactly one sealed period, its own, and periods follow each other without a gap.
 * @param client a superuser's, perhaps inside a transaction
 */
export async function logFaults(client: pg.Client, tenant: TestTenant, periodSeconds: number): Promise<string[]> {
  const { rows } = await client.query<{ fault: string }>(
    `WITH r AS (
       SELECT leaf_index, id, received_at, entry, row_number() OVER w - 1 AS place, lag(received_at) OVER w AS before
         FROM ${tenant.role}.records WINDOW w AS (ORDER BY leaf_index)
     ), s AS (
       SELECT seq, period, tree_size, row_number() OVER w AS place, lag(tree_size, 1, 0::bigint) OVER w AS begins,
              to_timestamp(period) AS opens, to_timestamp(period + $2) AS closes
         FROM ${tenant.role}.seals WINDOW w AS (ORDER BY seq)
     )
     SELECT format('leaf %s stands at place %s', leaf_index, place) AS fault FROM r WHERE leaf_index <> place
     UNION ALL SELECT format('leaf %s is older than the one before it', leaf_index) FROM r WHERE received_at < before
     UNION ALL SELECT format('leaf %s has an entry of another id or time', leaf_index) FROM r
       WHERE convert_from(entry, 'UTF8') NOT LIKE '%"id":"' || id || '","received_at":"' ||
             to_char(received_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') || '"%'
     UNION ALL SELECT format('leaf %s has no body', leaf_index) FROM r
       WHERE NOT EXISTS (SELECT FROM ${tenant.role}.bodies b WHERE b.leaf_index = r.leaf_index)
     UNION ALL SELECT format('the head says %s, there are %s records', h.size, (SELECT count(*) FROM r))
       FROM ${tenant.role}.log_head h WHERE h.size <> (SELECT count(*) FROM r)
     UNION ALL SELECT format('the head is older than leaf %s', leaf_index) FROM r, ${tenant.role}.log_head h
       WHERE r.received_at > h.last_received_at
     UNION ALL SELECT format('seal %s is of period %s', seq, period) FROM s
       WHERE seq <> place OR period <> $1::bigint + (seq - 1) * $2::bigint
     UNION ALL SELECT format('seal %s shrinks the tree', seq) FROM s WHERE tree_size < begins
     UNION ALL SELECT format('leaf %s lies in the range of seal %s, not in its period', leaf_index, seq)
       FROM s JOIN r ON leaf_index >= begins AND leaf_index < tree_size WHERE received_at < opens OR received_at >= closes
     UNION ALL SELECT format('leaf %s is in %s periods', leaf_index, seals) FROM (
         SELECT leaf_index, (SELECT count(*) FROM s WHERE leaf_index >= begins AND leaf_index < tree_size) AS seals
           FROM r WHERE received_at < (SELECT max(closes) FROM s)) AS covered WHERE seals <> 1`,
    [tenant.firstPeriod, periodSeconds],
  );
  return rows.map(({ fault }) => fault);
}
