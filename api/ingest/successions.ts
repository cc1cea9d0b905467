/** Who signed a log from when on: its successions as the chain accepted them, read with the tenant's own login. */
import type { Pool } from 'pg';
import { z } from 'zod';
import { toHex, type Hex } from '../../protocol/hex.ts';
import type { SuccessionEntry } from '../../protocol/policy.ts';
import type { AnchoredHandover, ChainPosition } from '../../protocol/receipt.ts';
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

interface Row {
  log_id: Buffer;
  epoch_to: number;
  handover_hash: Buffer;
  from_signer: Buffer;
  to_signer: Buffer;
  custody: number;
  not_before: number | null;
  expires_at: number;
  nonce: Buffer | null;
  from_signature: Buffer | null;
  to_signature: Buffer | null;
  accepted_level: Succession['level'];
  accepted_seq: number;
  accepted_head: Buffer | null;
  accepted_signature: Buffer | null;
  accepted_tx: Buffer;
  accepted_block: number;
  accepted_block_hash: Buffer;
  accepted_log_index: number;
  proposed_tx: Buffer | null;
  proposed_block: number | null;
  proposed_block_hash: Buffer | null;
  proposed_log_index: number | null;
}

/** Successions of these logs that stand in a block, by log, in their order. */
export async function readSuccessions(
  pool: Pick<Pool, 'query'>,
  logIds: readonly Hex[],
): Promise<Map<Hex, readonly Succession[]>> {
  const { rows } = await pool.query<Row>(
    `SELECT log_id, epoch_to, handover_hash, from_signer, to_signer, custody, not_before, expires_at, nonce, from_signature,
            to_signature, accepted_level, accepted_seq, accepted_head, accepted_signature, accepted_tx, accepted_block,
            accepted_block_hash, accepted_log_index, proposed_tx, proposed_block, proposed_block_hash, proposed_log_index
       FROM kiff.handovers WHERE log_id = ANY ($1) AND accepted_level IS NOT NULL ORDER BY epoch_to`,
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

function handoverOf(row: Row): AnchoredHandover | null {
  const { not_before: notBefore, nonce, from_signature: from, to_signature: to } = row;
  const { accepted_head: head, accepted_signature: acceptSignature } = row;
  const proposed = positionOf(row.proposed_tx, row.proposed_block, row.proposed_block_hash, row.proposed_log_index);
  const accepted = positionOf(row.accepted_tx, row.accepted_block, row.accepted_block_hash, row.accepted_log_index);
  if (notBefore === null || nonce === null || from === null || to === null) return null;
  if (head === null || acceptSignature === null || proposed === null || accepted === null) return null;
  const of = { logId: toHex(row.log_id), epochTo: row.epoch_to };
  return {
    handover: {
      ...of,
      from: toHex(row.from_signer),
      to: toHex(row.to_signer),
      custody: row.custody,
      notBefore,
      expiresAt: row.expires_at,
      nonce: toHex(nonce),
    },
    fromSignature: toHex(from),
    toSignature: toHex(to),
    accept: { ...of, handoverHash: toHex(row.handover_hash), seq: row.accepted_seq, head: toHex(head) },
    acceptSignature: toHex(acceptSignature),
    proposed,
    accepted,
  };
}

function positionOf(
  tx: Buffer | null,
  blockNumber: number | null,
  blockHash: Buffer | null,
  logIndex: number | null,
): ChainPosition | null {
  if (tx === null || blockNumber === null || blockHash === null || logIndex === null) return null;
  return { txHash: toHex(tx), blockNumber, blockHash: toHex(blockHash), logIndex };
}
