/** The logs of a deployment as the product database lists them, and what it holds of each. */
import type { Pool } from 'pg';
import type { Handover } from '../../protocol/eip712.ts';
import { fromHex, toHex, type Hex } from '../../protocol/hex.ts';
import type { JournaledHandover } from '../signing/custody/journal.ts';
import { logSchema, tenantSchema } from '../../sql/login.ts';

/** A tenant's current log. */
export interface CurrentLog {
  tenantId: string;
  ordinal: number;
  origin: string;
  genesisSigner: Hex;
  logId: Hex;
  frozenReason: string | null;
}

/** A log that has ended, with the operator's signed note. */
export interface EndedLog extends Omit<CurrentLog, 'frozenReason'> {
  statement: string;
}

export interface StoredSeal {
  seq: number;
  period: number;
  treeSize: number;
  level: 'collected' | 'hashed' | 'sealed' | 'included' | 'safe' | 'final';
  root: Hex | null;
  prev: Hex | null;
  sealHash: Hex | null;
  epoch: number | null;
  signature: Hex | null;
}

export interface StoredHandover extends JournaledHandover {
  /** Of a migration here; else somebody else's, whose custody is only a claim. */
  ours: boolean;
  /** The old key has signed it. */
  released: boolean;
  acceptance: { seq: number; head: Hex; structHash: Hex } | null;
}

const PAGE = 5_000;

interface LogRow {
  tenant: string;
  ordinal: number;
  origin: string;
  genesis_signer: Buffer;
  log_id: Buffer;
}

const identity = (row: LogRow) => ({
  tenantId: row.tenant,
  ordinal: row.ordinal,
  origin: row.origin,
  genesisSigner: toHex(row.genesis_signer),
  logId: toHex(row.log_id),
});

/** @param pool the product database as kiff_owner */
export function createDirectory(pool: Pool) {
  return {
    async current(): Promise<CurrentLog[]> {
      const { rows } = await pool.query<LogRow & { frozen_reason: string | null }>(
        `SELECT tenant, ordinal, origin, genesis_signer, log_id, frozen_reason FROM kiff.logs
          WHERE first_period IS NOT NULL ORDER BY tenant`,
      );
      return rows.map((row) => ({ ...identity(row), frozenReason: row.frozen_reason }));
    },

    /** In the order in which they ended. */
    async ended(): Promise<EndedLog[]> {
      const { rows } = await pool.query<LogRow & { statement: string }>(
        `SELECT tenant, ordinal, origin, genesis_signer, log_id, statement FROM kiff.ended_logs ORDER BY tenant, ordinal`,
      );
      return rows.map((row) => ({ ...identity(row), statement: row.statement }));
    },

    /** A log's seals in order, page by page. @param endedOrdinal null for the tenant's current log */
    async *seals(tenantId: string, endedOrdinal: number | null, after = 0): AsyncGenerator<StoredSeal[]> {
      for (let last = after; ;) {
        const { rows } = await pool.query<{
          seq: number;
          period: number;
          tree_size: number;
          level: StoredSeal['level'];
          root: Buffer | null;
          prev: Buffer | null;
          seal_hash: Buffer | null;
          epoch: number | null;
          signature: Buffer | null;
        }>(
          `SELECT seq, period, tree_size, level, root, prev, seal_hash, epoch, signature
             FROM ${logSchema(tenantId, endedOrdinal)}.seals WHERE seq > $1 ORDER BY seq LIMIT ${PAGE}`,
          [last],
        );
        if (rows.length === 0) return;
        yield rows.map((row) => ({
          seq: row.seq,
          period: row.period,
          treeSize: row.tree_size,
          level: row.level,
          root: hex(row.root),
          prev: hex(row.prev),
          sealHash: hex(row.seal_hash),
          epoch: row.epoch,
          signature: hex(row.signature),
        }));
        last = rows.at(-1)!.seq;
      }
    },

    /** Handovers of a log that were signed, or that the chain has seen, as far as their terms are known. */
    async handovers(logId: Hex): Promise<StoredHandover[]> {
      const { rows } = await pool.query<{
        handover_hash: Buffer;
        epoch_to: number;
        from_signer: Buffer;
        to_signer: Buffer;
        custody: number;
        not_before: number | null;
        expires_at: number;
        nonce: Buffer | null;
        migrated: boolean;
        key_ref: string | null;
        released: boolean;
        accept_seq: number | null;
        accept_head: Buffer | null;
        accept_hash: Buffer | null;
      }>(
        `SELECT h.handover_hash, h.epoch_to, h.from_signer, h.to_signer, h.custody, h.not_before, h.expires_at, h.nonce,
                m.id IS NOT NULL AS migrated, m.key_ref, h.from_signature IS NOT NULL OR h.proposed_level IS NOT NULL AS released,
                h.accept_seq, h.accept_head, h.accept_hash
           FROM kiff.handovers h LEFT JOIN kiff.custody_migrations m ON m.id = h.migration
          WHERE h.log_id = $1 ORDER BY h.epoch_to, h.handover_hash`,
        [Buffer.from(fromHex(logId, 32))],
      );
      return rows.flatMap((row) => {
        if (row.not_before === null || row.nonce === null) return [];
        const handover: Handover = {
          logId,
          epochTo: row.epoch_to,
          from: toHex(row.from_signer),
          to: toHex(row.to_signer),
          custody: row.custody,
          notBefore: row.not_before,
          expiresAt: row.expires_at,
          nonce: toHex(row.nonce),
        };
        const { accept_seq: seq, accept_head: head, accept_hash: hash } = row;
        return {
          handover,
          handoverHash: toHex(row.handover_hash),
          keyRef: row.key_ref,
          ours: row.migrated,
          released: row.released,
          acceptance:
            seq === null || head === null || hash === null ? null : { seq, head: toHex(head), structHash: toHex(hash) },
        };
      });
    },

    /** Records in the log, and by how many seconds its head is ahead of the database's clock (0 when it is not). */
    async head(tenantId: string): Promise<{ size: number; ahead: number }> {
      const { rows } = await pool.query<{ size: number; ahead: number }>(
        `SELECT size, CASE WHEN isfinite(last_received_at)
                  THEN greatest(0, ceil(extract(epoch FROM last_received_at - clock_timestamp())))::bigint ELSE 0 END AS ahead
           FROM ${tenantSchema(tenantId)}.log_head`,
      );
      return rows[0]!;
    },
  };
}

export type Directory = ReturnType<typeof createDirectory>;

const hex = (bytes: Buffer | null): Hex | null => (bytes === null ? null : toHex(bytes));
