/** How far a tenant's own signer is behind, as both of the tenant's APIs say it (sql/product/032-signer-requests.sql). */
import { z } from 'zod';
import { count, dateTime } from './shapes.ts';
import type { Queryable } from './tenant-pools.ts';

export const ownSignerShape = z.object({
  seen: dateTime.nullable().describe('When it last looked for work'),
  waiting: count.describe('Statements that wait for it'),
  since: dateTime.nullable().describe('Since when the oldest one waits'),
  fromSeq: count.nullable().describe('The first seal among them'),
  declined: z.string().nullable().describe('Why it last declined to sign, in its own words'),
  refused: z.string().nullable().describe('Why an answer of its was not taken, a fixed word'),
});

const TENANT_AGENT = 3;

interface SignerRow {
  seen_at: Date | null;
  waiting: number;
  waiting_since: Date | null;
  first_seq: number | null;
  declined: string | null;
  refused: string | null;
}

/**
 * @param db with a login of the tenant's
 * @param custody of the current log: 3 is tenant-agent
 * @returns null of other custody, unless a migration to one asks for signatures
 */
export async function readOwnSigner(db: Queryable, custody: number): Promise<z.input<typeof ownSignerShape> | null> {
  const { rows } = await db.query<SignerRow>('SELECT * FROM kiff.own_signer_standing()');
  const row = rows[0];
  if (row === undefined || (custody !== TENANT_AGENT && row.waiting === 0)) return null;
  return {
    seen: row.seen_at?.toISOString() ?? null,
    waiting: row.waiting,
    since: row.waiting_since?.toISOString() ?? null,
    fromSeq: row.first_seq,
    declined: row.declined,
    refused: row.refused,
  };
}
