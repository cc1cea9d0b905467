/**
 * The yardstick for NDJSON: the rows that the API has just stored, inserted again as they are into tables of the same making
 * (indexes and checks included) on one connection, a thousand rows of each table in one transaction. Nothing is validated,
 * hashed or looked up here, and the rows wait in memory before the clock starts.
 */
import type pg from 'pg';
import { secondsOf } from '../measure.ts';

interface StoredRow {
  leaf_index: number;
  id: string;
  received_at: Date;
  entry: Buffer;
  leaf_hash: Buffer;
  salt: Buffer;
  body: Buffer;
  record_offset: number;
}

const BATCH = 1_000;

/** @returns the rows from leaf index `from` on, in batches */
export async function readStored(client: pg.Client, schema: string, from: number): Promise<StoredRow[][]> {
  const { rows } = await client.query<StoredRow>(
    `SELECT leaf_index, id, received_at, entry, leaf_hash, salt, body, record_offset
       FROM ${schema}.records JOIN ${schema}.bodies USING (leaf_index) WHERE leaf_index >= $1 ORDER BY leaf_index`,
    [from],
  );
  return Array.from({ length: Math.ceil(rows.length / BATCH) }, (_, batch) =>
    rows.slice(batch * BATCH, (batch + 1) * BATCH),
  );
}

/** @returns seconds for all batches */
export function insertRaw(client: pg.Client, schema: string, batches: readonly StoredRow[][]): Promise<number> {
  return secondsOf(async () => {
    for (const rows of batches) {
      // One statement for both tables is one round trip and one commit.
      await client.query({
        name: 'raw',
        text: `WITH r AS (
                 INSERT INTO ${schema}.records (leaf_index, id, received_at, entry, leaf_hash)
                 SELECT * FROM unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::bytea[], $5::bytea[])
               )
               INSERT INTO ${schema}.bodies (leaf_index, salt, body, record_offset)
               SELECT * FROM unnest($1::bigint[], $6::bytea[], $7::bytea[], $8::integer[])`,
        values: [
          rows.map((row) => row.leaf_index),
          rows.map((row) => row.id),
          rows.map((row) => row.received_at),
          rows.map((row) => row.entry),
          rows.map((row) => row.leaf_hash),
          rows.map((row) => row.salt),
          rows.map((row) => row.body),
          rows.map((row) => row.record_offset),
        ],
      });
    }
  });
}
