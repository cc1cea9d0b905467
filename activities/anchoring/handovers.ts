/** Handovers in the product database: what the wallet has to send for them, and what the chain says of them. */
import type { Pool } from 'pg';
import type { Handover } from '../../protocol/eip712.ts';
import { fromHex, toHex, type Hex } from '../../protocol/hex.ts';
import type { HandoverEvent } from './handover-events.ts';
import type { Anchor } from './queue.ts';

/** One call that the contract would perhaps take now. */
export interface DueCall {
  call: 'propose' | 'accept' | 'cancel';
  tenantId: string;
  handover: Handover;
  handoverHash: Hex;
  /** The old key's for a proposal, the new key's for an acceptance, either's for a cancellation. */
  signature: Hex;
  /** The new key's, of a proposal. */
  secondSignature: Hex | null;
  /** Why the contract refused it the last time. */
  refused: string | null;
}

/** What changed in what we know of a handover on chain. `level` is null when it is in no block (any more). */
export interface HandoverNews {
  tenantId: string;
  handoverHash: Hex;
  fact: 'proposed' | 'accepted' | 'cancelled';
  was: string | null;
  level: string | null;
  block: number;
  /** False for a handover that nobody here signed, seen for the first time. */
  known: boolean;
}

/** A fact on chain, and how far it has come. */
interface ChainFact extends Anchor {
  level: 'included' | 'safe' | 'final';
}

/** Where a migration's handover stands. */
export interface HandoverStanding {
  handoverHash: Hex;
  /** Last second for acceptance. */
  expiresAt: number;
  /** First second at which it may be accepted; null while it is not proposed. */
  eta: number | null;
  proposed: ChainFact | null;
  accepted: (ChainFact & { seq: number; head: Hex }) | null;
  cancelled: ChainFact | null;
  /** Not accepted, and a final block's time is past `expiresAt`: dead for good. */
  lapsed: boolean;
  /** Whether the log's signer here is the new one already. */
  cutOver: boolean;
  /** Why the contract does not take our call now; null when nothing is known against it. */
  refused: string | null;
}

const bytes = (hex: Hex): Buffer => Buffer.from(fromHex(hex));

export type Handovers = ReturnType<typeof createHandovers>;

export function createHandovers(pool: Pool) {
  return {
    /** Calls that are due, those of most weight first. */
    async due(limit: number): Promise<DueCall[]> {
      const { rows } = await pool.query<{
        call: DueCall['call'];
        tenant: string;
        log_id: Buffer;
        handover_hash: Buffer;
        epoch_to: number;
        from_signer: Buffer;
        to_signer: Buffer;
        custody: number;
        not_before: number;
        expires_at: number;
        nonce: Buffer;
        signature: Buffer;
        second_signature: Buffer | null;
        refused: string | null;
      }>('SELECT * FROM kiff.handover_calls($1)', [limit]);
      return rows.map((row) => ({
        call: row.call,
        tenantId: row.tenant,
        handover: {
          logId: toHex(row.log_id),
          epochTo: row.epoch_to,
          from: toHex(row.from_signer),
          to: toHex(row.to_signer),
          custody: row.custody,
          notBefore: row.not_before,
          expiresAt: row.expires_at,
          nonce: toHex(row.nonce),
        },
        handoverHash: toHex(row.handover_hash),
        signature: toHex(row.signature),
        secondSignature: row.second_signature && toHex(row.second_signature),
        refused: row.refused,
      }));
    },

    /** @param seconds until it is looked at again; longer with each refusal when null */
    async refuse(logId: Hex, handoverHash: Hex, outcome: string, seconds: number | null): Promise<void> {
      await pool.query('SELECT kiff.refuse_handover_call($1, $2, $3, $4)', [
        bytes(logId),
        bytes(handoverHash),
        outcome,
        seconds,
      ]);
    },

    /** All logs whose events are followed. */
    async logIds(): Promise<Hex[]> {
      const { rows } = await pool.query<{ log_id: Buffer }>(
        'SELECT log_id FROM kiff.logs WHERE registered_block IS NOT NULL ORDER BY log_id',
      );
      return rows.map((row) => toHex(row.log_id));
    },

    /** Handovers that may still be cancelled, and whether one of them has passed its last second by our clock. */
    async open(): Promise<{ hashes: Hex[]; unsettled: number; overdue: boolean }> {
      const { rows } = await pool.query<{ handover_hash: Buffer; unsettled: boolean; overdue: boolean }>(
        `SELECT handover_hash,
                coalesce(proposed_level, '') IN ('included', 'safe') OR accepted_level IS NOT NULL
                  OR cancelled_level IS NOT NULL AS unsettled,
                lapsed_block IS NULL AND accepted_level IS NULL AND expires_at < extract(epoch FROM clock_timestamp()) AS overdue
           FROM kiff.handovers
          WHERE accepted_level IS DISTINCT FROM 'final' AND cancelled_level IS DISTINCT FROM 'final'`,
      );
      return {
        hashes: rows.map((row) => toHex(row.handover_hash)),
        unsettled: rows.filter((row) => row.unsettled).length,
        overdue: rows.some((row) => row.overdue),
      };
    },

    /** Takes in what one node says up to block `seenTo`; with null, these events and no word about others. */
    async see(events: readonly HandoverEvent[], seenTo: bigint | null, safeTo: bigint): Promise<HandoverNews[]> {
      const { rows } = await pool.query<NewsRow>('SELECT * FROM kiff.see_handovers($1, $2, $3, -1)', [
        JSON.stringify(events.map(rowOf)),
        (seenTo ?? -1n).toString(),
        safeTo.toString(),
      ]);
      return rows.map(newsOf);
    },

    async standing(tenantId: string, migrationId: string): Promise<HandoverStanding | null> {
      const { rows } = await pool.query<StandingRow>(
        `SELECT h.*, coalesce(l.epoch >= h.epoch_to, true) AS cut_over
           FROM kiff.handovers h LEFT JOIN kiff.logs l ON l.tenant = h.tenant AND l.log_id = h.log_id
          WHERE h.tenant = $1 AND h.migration = $2 ORDER BY h.signed_at DESC NULLS LAST LIMIT 1`,
        [tenantId, migrationId],
      );
      return rows[0] === undefined ? null : standingOf(rows[0]);
    },
  };
}

/** A row of kiff.see_handovers. */
export interface NewsRow {
  tenant: string;
  handover_hash: Buffer;
  fact: HandoverNews['fact'];
  was: string | null;
  level: string | null;
  block: number;
  known: boolean;
}

export function newsOf({ tenant, handover_hash: hash, ...news }: NewsRow): HandoverNews {
  return { ...news, tenantId: tenant, handoverHash: toHex(hash) };
}

type Facts = { [K in 'proposed' | 'accepted' | 'cancelled' as `${K}_level`]: ChainFact['level'] | null } & {
  [K in 'proposed' | 'accepted' | 'cancelled' as `${K}_tx` | `${K}_block_hash`]: Buffer | null;
} & { [K in 'proposed' | 'accepted' | 'cancelled' as `${K}_block` | `${K}_log_index`]: number | null };

interface StandingRow extends Facts {
  handover_hash: Buffer;
  expires_at: number;
  eta: number | null;
  accepted_seq: number | null;
  accepted_hash: Buffer | null;
  lapsed_block: number | null;
  cut_over: boolean;
  refused: string | null;
}

function standingOf(row: StandingRow): HandoverStanding {
  const accepted = factOf(row, 'accepted');
  return {
    handoverHash: toHex(row.handover_hash),
    expiresAt: row.expires_at,
    eta: row.eta,
    proposed: factOf(row, 'proposed'),
    accepted: accepted && { ...accepted, seq: row.accepted_seq!, head: toHex(row.accepted_hash!) },
    cancelled: factOf(row, 'cancelled'),
    lapsed: row.lapsed_block !== null,
    cutOver: row.cut_over,
    refused: row.refused,
  };
}

function factOf(row: Facts, fact: HandoverNews['fact']): ChainFact | null {
  const level = row[`${fact}_level`];
  // A constraint of the table: all of them, or none.
  return level === null
    ? null
    : {
        level,
        txHash: toHex(row[`${fact}_tx`]!),
        blockNumber: row[`${fact}_block`]!,
        blockHash: toHex(row[`${fact}_block_hash`]!),
        logIndex: row[`${fact}_log_index`]!,
      };
}

const bare = (hex: Hex | null): string | null => hex && hex.slice(2);

/** An event as kiff.see_handovers takes it. */
export function rowOf(event: HandoverEvent): Record<string, string | number | null> {
  const { anchor, signed } = event;
  return {
    fact: event.fact,
    log: bare(event.logId),
    hash: bare(event.handoverHash),
    epoch: event.epochTo,
    tx: bare(anchor.txHash),
    block: anchor.blockNumber,
    block_hash: bare(anchor.blockHash),
    log_index: anchor.logIndex,
    ...(event.fact === 'proposed' && {
      from_signer: bare(event.from),
      to_signer: bare(event.to),
      custody: event.custody,
      expires_at: event.expiresAt,
      eta: event.eta,
      not_before: signed?.handover.notBefore ?? null,
      nonce: bare(signed?.handover.nonce ?? null),
      from_signature: bare(signed?.fromSignature ?? null),
      to_signature: bare(signed?.toSignature ?? null),
    }),
    ...(event.fact === 'accepted' && {
      seq: event.seq,
      accepted: bare(event.acceptHash),
      head: bare(event.head),
      signature: event.head === null ? null : bare(signed?.acceptSignature ?? null),
    }),
  };
}
