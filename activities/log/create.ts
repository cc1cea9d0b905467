/** Activities of the sealing worker: the log's own steps, from the cut to the root. */
import type { Pool } from 'pg';
import { fromHex, toHex, type Hex } from '../../protocol/hex.ts';
import { logId } from '../../protocol/logid.ts';
import { failure, type Alert } from '../failures.ts';
import { tenantSchema } from '../../sql/login.ts';
import { unlessFrozen } from './freeze.ts';
import { originOf } from './origin.ts';
import { hashCollectedSeals } from './hash.ts';

export interface LogDependencies {
  pool: Pool;
  host: string;
  alert: Alert;
  /** Tells Temporal that the work goes on; `treeSize` is shown as progress. */
  heartbeat: (treeSize: number) => void;
}

/** Where a seal stands. `level` is one of the seal's states; chain fields are null until it is in a block. */
export interface SealStanding {
  level: 'collected' | 'hashed' | 'sealed' | 'included' | 'safe' | 'final';
  treeSize: number;
  txHash: Hex | null;
  blockNumber: number | null;
  refused: boolean;
}

/** Later ones are opened by an operator's recovery, when the one before has ended. */
const FIRST_LOG = 1;

export type LogActivities = ReturnType<typeof createLogActivities>;

export function createLogActivities({ pool, host, alert, heartbeat }: LogDependencies) {
  return {
    /** Active tenants after `after` in order of id, at most `limit`. */
    async listTenants({ after, limit }: { after: string; limit: number }): Promise<string[]> {
      const { rows } = await pool.query<{ id: string }>(
        `SELECT id FROM kiff.tenants WHERE status = 'active' AND id > $1 ORDER BY id LIMIT $2`,
        [after, limit],
      );
      return rows.map((row) => row.id);
    },

    /**
     * Cuts every period after the last one up to `period`. Repeated, it answers the same.
     * @returns the newest collected seal, or null when the log's first period is still to come
     */
    async collect({ tenantId, period }: { tenantId: string; period: number }) {
      const schema = tenantSchema(tenantId);
      for (;;) {
        const { rows } = await pool.query<{ seq: number; period: number; tree_size: number }>(
          `SELECT seq, period, tree_size FROM ${schema}.collect($1)`,
          [period],
        );
        const newest = rows[0];
        if (newest === undefined) return null;
        if (newest.period >= period) return { seq: newest.seq, period: newest.period, treeSize: newest.tree_size };
        heartbeat(newest.tree_size);
      }
    },

    /** The seal of one period, and whether a later one is collected too; null when there is none of this period. */
    async sealOfPeriod({ tenantId, period }: { tenantId: string; period: number }) {
      const schema = tenantSchema(tenantId);
      const { rows } = await pool.query<{ seq: number; newest: boolean; custody: number }>(
        `SELECT seq, NOT EXISTS (SELECT FROM ${schema}.seals n WHERE n.seq > s.seq) AS newest, l.custody
           FROM ${schema}.seals s JOIN kiff.logs l ON l.tenant = $2 WHERE period = $1`,
        [period, tenantId],
      );
      return rows[0] ?? null;
    },

    /** Extends the tree and writes the root of every collected seal up to `throughSeq`. Stored data that was changed freezes the log. */
    async hashSeals({ tenantId, throughSeq }: { tenantId: string; throughSeq: number }): Promise<{ roots: number }> {
      return unlessFrozen({ pool, alert }, tenantId, async () => ({
        roots: await hashCollectedSeals(pool, tenantId, throughSeq, heartbeat),
      }));
    },

    /** Seqs that have a root and no signature, in order, up to `throughSeq`. */
    async unsignedSeals({ tenantId, throughSeq }: { tenantId: string; throughSeq: number }): Promise<number[]> {
      const { rows } = await pool.query<{ seq: number }>(
        `SELECT seq FROM ${tenantSchema(tenantId)}.seals WHERE level = 'hashed' AND seq <= $1 ORDER BY seq`,
        [throughSeq],
      );
      return rows.map((row) => row.seq);
    },

    /**
     * Where a seal stands now. The period names it too: after a log has ended, the tenant's next one has a seal of the same seq.
     * @throws failure seal-unknown
     */
    async sealStanding({
      tenantId,
      seq,
      period,
    }: {
      tenantId: string;
      seq: number;
      period: number;
    }): Promise<SealStanding> {
      const { rows } = await pool.query<{
        level: SealStanding['level'];
        tree_size: number;
        tx_hash: Buffer | null;
        block_number: number | null;
        refused: string | null;
      }>(
        `SELECT level, tree_size, tx_hash, block_number, refused FROM ${tenantSchema(tenantId)}.seals
          WHERE seq = $1 AND period = $2`,
        [seq, period],
      );
      const row = rows[0];
      if (row === undefined) throw failure('seal-unknown', { seq });
      return {
        level: row.level,
        treeSize: row.tree_size,
        txHash: row.tx_hash === null ? null : toHex(row.tx_hash),
        blockNumber: row.block_number,
        refused: row.refused !== null,
      };
    },

    /** Fixes the identity of a tenant's first log: origin and genesis signer, hence its id. */
    async openLog({ tenantId, genesisSigner }: { tenantId: string; genesisSigner: Hex }) {
      const origin = originOf(host, tenantId, FIRST_LOG);
      const id = logId(genesisSigner, origin);
      await pool.query('SELECT kiff.open_log($1, $2, $3, $4)', [
        tenantId,
        origin,
        Buffer.from(fromHex(genesisSigner, 20)),
        Buffer.from(fromHex(id, 32)),
      ]);
      return { logId: id };
    },

    /** Whether the contract knows the log (as the anchoring worker saw it). */
    async logRegistered({ tenantId }: { tenantId: string }): Promise<boolean> {
      const { rows } = await pool.query('SELECT FROM kiff.logs WHERE tenant = $1 AND registered_block IS NOT NULL', [
        tenantId,
      ]);
      return rows.length === 1;
    },

    /**
     * Gives an onboarding up: the tenant cannot become active any more. An alert says so, since whoever signed up waits.
     * @returns its first period instead if it is active already; then nothing may be undone
     */
    async abandonOnboarding({ tenantId }: { tenantId: string }): Promise<{ firstPeriod: number | null }> {
      const { rows } = await pool.query<{ period: number | null }>('SELECT kiff.abandon_onboarding($1) AS period', [
        tenantId,
      ]);
      const firstPeriod = rows[0]?.period ?? null;
      if (firstPeriod === null) alert('onboarding-given-up', { tenantId });
      return { firstPeriod };
    },

    /** Forgets the identity of a log whose onboarding was given up. @throws failure tenant-in-use */
    async closeLog({ tenantId }: { tenantId: string }): Promise<void> {
      await pool.query('SELECT kiff.close_log($1)', [tenantId]);
    },

    /** An undo that failed for good leaves something behind: a person has to take it away. */
    async tellUndoFailed({ tenantId, step }: { tenantId: string; step: string }): Promise<void> {
      alert('undo-failed', { tenantId, step });
    },

    /** Makes the tenant active. Its first sealed period is the one that this moment lies in. */
    async activateTenant({ tenantId }: { tenantId: string }): Promise<{ firstPeriod: number }> {
      const { rows } = await pool.query<{ period: number }>('SELECT kiff.activate_tenant($1) AS period', [tenantId]);
      return { firstPeriod: rows[0]!.period };
    },
  };
}
