/**
 * What the signing plane asks of a tenant's own signer, and what the signer answers, in the database (sql/product/032-signer-requests.sql).
 * An answer is a command: a row that this plane may only insert, and whose signature nobody but the key can make.
 */
import { toHex, type Hex } from '../../protocol/hex.ts';
import type { Queryable } from '../http/tenant-pools.ts';

export interface OpenRequest {
  id: string;
  kind: string;
  /** As the signing plane wrote it; never changed here. */
  request: Record<string, unknown>;
  createdAt: Date;
  /** Why the signing plane did not take the last answer, a fixed word. */
  refused: string | null;
}

/** @returns the tenant's requests that wait for an answer, the oldest first */
export async function readOpenRequests(db: Queryable, most: number): Promise<OpenRequest[]> {
  const { rows } = await db.query<{
    id: string;
    kind: string;
    request: Record<string, unknown>;
    created_at: Date;
    refused: string | null;
  }>('SELECT * FROM kiff.own_signer_requests($1)', [most]);
  return rows.map(({ created_at: createdAt, ...row }) => ({ ...row, createdAt }));
}

export async function noteSignerSeen(db: Queryable): Promise<void> {
  await db.query('SELECT kiff.note_signer_seen()');
}

interface AnsweredRequest {
  signer: Hex;
  digest: Hex;
  /** Somebody still waits for it. */
  live: boolean;
  /** What was answered, unless it was refused. */
  signature: string | null;
}

/** @returns undefined when the tenant has no such request */
export async function readRequest(db: Queryable, id: string): Promise<AnsweredRequest | undefined> {
  const { rows } = await db.query<{ signer: Buffer; digest: Buffer; live: boolean; signature: string | null }>(
    'SELECT * FROM kiff.own_signer_request($1)',
    [id],
  );
  const row = rows[0];
  return row && { ...row, signer: toHex(row.signer), digest: toHex(row.digest) };
}

/** Leaves an answer for the signing plane. */
export async function leaveAnswer(
  db: Queryable,
  id: string,
  answer: { signature: string } | { declined: string },
): Promise<void> {
  await db.query('INSERT INTO kiff.commands (kind, payload) VALUES ($1, $2)', [
    'signer.answer',
    { request: id, ...answer },
  ]);
}
