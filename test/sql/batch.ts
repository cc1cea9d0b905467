/** Calling a tenant's `accept` the way the API does, from SQL tests. */
import type pg from 'pg';
import { readRecord } from '../../api/ingest/record.ts';
import { recordText } from '../api/ingest-api.ts';
import type { TestTenant } from '../product-database.ts';

export interface AcceptedRow {
  outcome: string;
  leaf_index: number;
  leaf_hash: Buffer;
  received_at: Date;
}

/** Accepts records, given as their ids or as their texts. */
export async function accept(
  client: pg.Client,
  tenant: Pick<TestTenant, 'role'>,
  records: readonly string[],
  keyId = 'k0000000000000',
): Promise<AcceptedRow[]> {
  const drafts = records.map((record) =>
    readRecord(Buffer.from(record.startsWith('{') ? record : recordText(record)), Date.now()),
  );
  const { rows } = await client.query<AcceptedRow>(
    `SELECT outcome, leaf_index, leaf_hash, received_at FROM ${tenant.role}.accept($1, $2, $3, $4, $5, $6) ORDER BY ord`,
    [
      drafts.map(({ id }) => id),
      drafts.map(({ body }) => Buffer.from(body)),
      drafts.map(({ recordOffset }) => recordOffset),
      drafts.map(({ salt }) => salt),
      drafts.map(({ commitment }) => commitment),
      keyId,
    ],
  );
  return rows;
}

/** Unix seconds of the database. */
export async function databaseTime(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ now: number }>('SELECT extract(epoch FROM clock_timestamp())::float8 AS now');
  return rows[0]!.now;
}
