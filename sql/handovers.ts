/** A row of kiff.handovers as receipts and certificates have it: read by the API and by the signer alike. */
import { toHex } from '../protocol/hex.ts';
import type { AnchoredHandover, ChainPosition } from '../protocol/receipt.ts';

export const HANDOVER_COLUMNS = `log_id, epoch_to, handover_hash, from_signer, to_signer, custody, not_before, expires_at, nonce,
  from_signature, to_signature, accepted_seq, accepted_head, accepted_signature, accepted_tx, accepted_block, accepted_block_hash,
  accepted_log_index, proposed_tx, proposed_block, proposed_block_hash, proposed_log_index`;

export interface HandoverRow {
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

/** Null when not all that was signed for it is known here. */
export function handoverOf(row: HandoverRow): AnchoredHandover | null {
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
