/** Who signed a log from when on: its successions as the chain accepted them, read with the tenant's own login. */
import type { Pool } from 'pg';
import { z } from 'zod';
import { toHex, type Hex } from '../../protocol/hex.ts';
import type { SuccessionEntry } from '../../protocol/policy.ts';
import type { AnchoredHandover } from '../../protocol/receipt.ts';
import { HANDOVER_COLUMNS, handoverOf, type HandoverRow } from '../../sql/handovers.ts';
import { Problem } from '../http/problems.ts';
import { count, hex } from '../http/shapes.ts';
import type { LogIdentity } from './log-identity.ts';

/** One succession; `handover` is null when not all that was signed for it is known here. */
export interface Succession extends SuccessionEntry {
  /** The signers' claim: 1 cloud, 2 tenant-kms, 3 tenant-agent. */
  readonly custody: number;
  readonly level: 'included' | 'safe' | 'final';
  readonly handover: AnchoredHandover | null;
}

export const successionShape = z
  .object({
    epoch: count,
    signer: hex(20),
    afterSeq: count.describe('The last seal of the signer before'),
    custody: count.describe('The signers’ claim: 1 cloud, 2 tenant-kms, 3 tenant-agent'),
    transaction: hex(32).nullable().describe('In which the contract accepted it'),
  })
  .meta({ id: 'Succession' });

interface Row extends HandoverRow {
  accepted_level: Succession['level'];
}

/** Successions of these logs that stand in a block, by log, in their order. */
export async function readSuccessions(
  pool: Pick<Pool, 'query'>,
  logIds: readonly Hex[],
): Promise<Map<Hex, readonly Succession[]>> {
  const { rows } = await pool.query<Row>(
    `SELECT accepted_level, ${HANDOVER_COLUMNS} FROM kiff.handovers WHERE log_id = ANY ($1) AND accepted_level IS NOT NULL ORDER BY epoch_to`,
    [logIds.map((logId) => Buffer.from(logId.slice(2), 'hex'))],
  );
  const found = new Map<Hex, Succession[]>(logIds.map((logId) => [logId, []]));
  for (const row of rows) {
    found.get(toHex(row.log_id))?.push({
      epoch: row.epoch_to,
      signer: toHex(row.to_signer),
      afterSeq: row.accepted_seq,
      custody: row.custody,
      level: row.accepted_level,
      handover: handoverOf(row),
    });
  }
  return found;
}

/**
 * Every final succession of a log with all that was signed for it; those that led to the signer of an epoch when one is given.
 * @throws Problem unavailable while something of them is not known here
 */
export async function readHandovers(
  pool: Pick<Pool, 'query'>,
  { logId }: Pick<LogIdentity, 'logId'>,
  epoch?: number,
): Promise<AnchoredHandover[]> {
  if (epoch === 0) return [];
  const successions = finalOnes((await readSuccessions(pool, [logId])).get(logId));
  const wanted = epoch ?? successions.length;
  const handovers = successions.slice(0, wanted).flatMap(({ handover }) => handover ?? []);
  if (handovers.length !== wanted) {
    throw new Problem('unavailable', 'A succession of the log’s signer is not known in full yet; try again later.', {
      retryAfter: 60,
    });
  }
  return handovers;
}

/** What a policy and a list of logs say: only what is final. */
export function finalOnes(successions: readonly Succession[] | undefined): readonly Succession[] {
  return (successions ?? []).filter(({ level }) => level === 'final');
}
