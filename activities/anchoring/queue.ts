/** The queue that the wallet works through: the tenants' signed seals, and the logs that the contract must learn of. */
import type { Pool } from 'pg';
import { fromHex, toHex, type Hex } from '../../protocol/hex.ts';

export interface QueuedSeal {
  tenantId: string;
  logId: Hex;
  seq: number;
  period: number;
  treeSize: number;
  root: Hex;
  sealHash: Hex;
  /** The account that the signature belongs to. */
  signer: Hex;
  signature: Hex;
  /** How often in a row the contract refused this log after a good simulation. */
  refusals: number;
}

/** The newest final seal of a log. */
export interface FinalSeal {
  tenantId: string;
  seq: number;
  blockNumber: number;
  blockHash: Hex;
}

/** Where a seal stands on chain: the log entry that says so. */
export interface Anchor {
  txHash: Hex;
  blockNumber: number;
  blockHash: Hex;
  logIndex: number;
}

export interface AnchoredSeal extends Anchor {
  tenantId: string;
  logId: Hex;
  seq: number;
  period: number;
  level: 'included' | 'safe';
  sealHash: Hex;
}

/** What to write for one seal. `sealed` means: in no block (any more). */
export interface LevelChange {
  tenantId: string;
  seq: number;
  period: number;
  level: 'sealed' | 'included' | 'safe' | 'final';
  anchor: Anchor | null;
}

const bytes = (hex: Hex): Buffer => Buffer.from(fromHex(hex));

export type SealQueue = ReturnType<typeof createSealQueue>;

export function createSealQueue(pool: Pool) {
  return {
    /** Logs that the contract does not know yet, as far as we have seen. */
    async unregistered(limit: number): Promise<{ tenantId: string; genesisSigner: Hex; origin: string; logId: Hex }[]> {
      const { rows } = await pool.query<{ tenant: string; genesis_signer: Buffer; origin: string; log_id: Buffer }>(
        `SELECT tenant, genesis_signer, origin, log_id FROM kiff.logs WHERE registered_block IS NULL ORDER BY tenant LIMIT $1`,
        [limit],
      );
      return rows.map((row) => ({
        tenantId: row.tenant,
        genesisSigner: toHex(row.genesis_signer),
        origin: row.origin,
        logId: toHex(row.log_id),
      }));
    },

    async registered(tenantIds: string[], block: bigint): Promise<void> {
      await pool.query('SELECT kiff.set_registered($1, $2)', [tenantIds, block.toString()]);
    },

    async unregister(tenantIds: string[]): Promise<void> {
      if (tenantIds.length > 0) await pool.query('SELECT kiff.set_unregistered($1)', [tenantIds]);
    },

    /**
     * Every head that a log of ours had at a seq of each tenant: our own seal's hash, and those of acceptances on top of it. None
     * where we have neither.
     */
    async heads(places: readonly { tenantId: string; seq: number }[]): Promise<Map<string, readonly Hex[]>> {
      const { rows } = await pool.query<{ tenant: string; head: Buffer }>(
        'SELECT tenant, head FROM kiff.log_heads($1, $2)',
        [places.map((place) => place.tenantId), places.map((place) => place.seq)],
      );
      const heads = new Map<string, Hex[]>();
      for (const { tenant, head } of rows) heads.set(tenant, [...(heads.get(tenant) ?? []), toHex(head)]);
      return heads;
    },

    /** Signed seals that are in no block, by log and seq; logs with the least to catch up first. */
    async toAnchor(limit: number): Promise<QueuedSeal[]> {
      const { rows } = await pool.query<{
        tenant: string;
        log_id: Buffer;
        seq: number;
        period: number;
        tree_size: number;
        root: Buffer;
        seal_hash: Buffer;
        signer: Buffer;
        signature: Buffer;
        refusals: number;
      }>('SELECT * FROM kiff.seals_to_anchor($1)', [limit]);
      return rows.map((row) => ({
        tenantId: row.tenant,
        logId: toHex(row.log_id),
        seq: row.seq,
        period: row.period,
        treeSize: row.tree_size,
        root: toHex(row.root),
        sealHash: toHex(row.seal_hash),
        signer: toHex(row.signer),
        signature: toHex(row.signature),
        refusals: row.refusals,
      }));
    },

    /** Seals that are in a block and not final, by tenant and seq, behind `after`. */
    async toConfirm(after: { tenantId: string; seq: number }, limit: number): Promise<AnchoredSeal[]> {
      const { rows } = await pool.query<{
        tenant: string;
        log_id: Buffer;
        seq: number;
        period: number;
        level: AnchoredSeal['level'];
        seal_hash: Buffer;
        tx_hash: Buffer;
        block_number: number;
        block_hash: Buffer;
        log_index: number;
      }>('SELECT * FROM kiff.seals_to_confirm($1, $2, $3)', [limit, after.tenantId, after.seq]);
      return rows.map((row) => ({
        tenantId: row.tenant,
        logId: toHex(row.log_id),
        seq: row.seq,
        period: row.period,
        level: row.level,
        sealHash: toHex(row.seal_hash),
        txHash: toHex(row.tx_hash),
        blockNumber: row.block_number,
        blockHash: toHex(row.block_hash),
        logIndex: row.log_index,
      }));
    },

    /** Whose logs these are. Unknown ones (anybody may use the contract) are left out. */
    async owners(logIds: readonly Hex[]): Promise<Map<Hex, string>> {
      const { rows } = await pool.query<{ log_id: Buffer; tenant: string }>(
        'SELECT log_id, tenant FROM kiff.logs WHERE log_id = ANY ($1)',
        [[...new Set(logIds)].map(bytes)],
      );
      return new Map(rows.map((row) => [toHex(row.log_id), row.tenant]));
    },

    async setLevels(changes: readonly LevelChange[]): Promise<void> {
      if (changes.length === 0) return;
      const anchor = <T>(pick: (anchor: Anchor) => T) =>
        changes.map((c) => (c.anchor === null ? null : pick(c.anchor)));
      await pool.query('SELECT kiff.set_levels($1, $2, $3, $4, $5, $6, $7)', [
        changes.map((c) => c.tenantId),
        changes.map((c) => c.seq),
        changes.map((c) => c.level),
        anchor((a) => bytes(a.txHash)),
        anchor((a) => a.blockNumber),
        anchor((a) => bytes(a.blockHash)),
        anchor((a) => a.logIndex),
      ]);
    },

    /** The newest final seals of logs, by tenant, after `after`. */
    async newestFinal(after: string, limit: number): Promise<FinalSeal[]> {
      const { rows } = await pool.query<{ tenant: string; seq: number; block_number: number; block_hash: Buffer }>(
        'SELECT * FROM kiff.newest_final_seals($1, $2)',
        [after, limit],
      );
      return rows.map((row) => ({
        tenantId: row.tenant,
        seq: row.seq,
        blockNumber: row.block_number,
        blockHash: toHex(row.block_hash),
      }));
    },

    /** Lets logs rest for a while, longer each time. */
    async holdBack(tenantIds: string[]): Promise<void> {
      if (tenantIds.length > 0) await pool.query('SELECT kiff.hold_back($1)', [tenantIds]);
    },

    async setRefused(tenantId: string, seq: number, reason: string): Promise<void> {
      await pool.query('SELECT kiff.set_refused($1, $2, $3)', [tenantId, seq, reason]);
    },
  };
}
