/** Reading one record back: its entry, and its body as long as it was not erased. */
import type { Pool } from 'pg';
import { toHex, type Hex } from '../../protocol/hex.ts';
import { periodAt, sealBy } from '../../protocol/period.ts';

export interface StoredRecord {
  id: string;
  leafIndex: number;
  leafHash: Hex;
  receivedAt: Date;
  /** The leaf's bytes as text. */
  entry: string;
  /** Null once erased. */
  disclosure: { salt: Buffer; body: Buffer; recordOffset: number } | null;
}

/** A record of one log by its id, or undefined. `id` is of the form that ids have. */
export async function findRecord(
  pool: Pick<Pool, 'query'>,
  schema: string,
  id: string,
): Promise<StoredRecord | undefined> {
  const { rows } = await pool.query<{
    leaf_index: number;
    leaf_hash: Buffer;
    received_at: Date;
    entry: Buffer;
    salt: Buffer | null;
    body: Buffer | null;
    record_offset: number | null;
  }>(
    `SELECT r.leaf_index, r.leaf_hash, r.received_at, r.entry, b.salt, b.body, b.record_offset
       FROM ${schema}.records r LEFT JOIN ${schema}.bodies b USING (leaf_index) WHERE r.id = $1`,
    [id],
  );
  const row = rows[0];
  if (row === undefined) return undefined;
  const { salt, body, record_offset: recordOffset } = row;
  return {
    id,
    leafIndex: row.leaf_index,
    leafHash: toHex(row.leaf_hash),
    receivedAt: row.received_at,
    entry: row.entry.toString('utf8'),
    disclosure: salt === null || body === null || recordOffset === null ? null : { salt, body, recordOffset },
  };
}

/** The period (its first second) that a time (Unix milliseconds) falls in, and by when its seal is promised (Unix seconds). */
export function sealTerms(receivedAt: number, periodSeconds: number): { period: number; sealBy: number } {
  const period = periodAt(receivedAt / 1000, periodSeconds);
  return { period, sealBy: sealBy(period, periodSeconds) };
}

/** The record's own bytes inside a body: from the offset to one byte before the end. */
export function recordBytes({ body, recordOffset }: { body: Buffer; recordOffset: number }): Buffer {
  return body.subarray(recordOffset, -1);
}
