/** Activities of the sealing worker for a custody migration: what stands in the directory of it, and nothing that needs a key. */
import type { Pool } from 'pg';
import { fromHex, toHex, type Hex } from '../../protocol/hex.ts';
import { failure, type Alert } from '../failures.ts';
import type { CustodyPolicy } from './policy.ts';

export interface CustodyDependencies {
  pool: Pool;
  policy: CustodyPolicy;
  alert: Alert;
}

/** As the directory has them: `CHECK` of kiff.custody_steps. */
export type CustodyStep =
  | 'identify'
  | 'authorise'
  | 'snapshot'
  | 'register'
  | 'prove'
  | 'trial'
  | 'hand-over'
  | 'propose'
  | 'cooling-off'
  | 'accept'
  | 'final'
  | 'cut-over'
  | 'catch-up'
  | 'disable-old-key'
  | 'certificate'
  | 'retire-key';

/** A migration as it began. Times in Unix seconds. */
export interface OpenedMigration {
  /** 1 cloud, 2 tenant-kms, 3 tenant-agent. */
  custody: number;
  /** Who has the log when it begins. */
  custodyBefore: number;
  epochTo: number;
  fromSigner: Hex;
  approvalsExpireAt: number;
  policy: CustodyPolicy;
  deleteOldKey: boolean;
  /** P of the log. */
  periodSeconds: number;
}

/** Where a log stands in the directory. */
export interface LogStanding {
  epoch: number;
  signedSeq: number;
  includedSeq: number;
  held: boolean;
}

/** Public facts only: hashes, addresses, transactions, counts. */
export type StepProof = Readonly<Record<string, unknown>>;

export type CustodyActivities = ReturnType<typeof createCustodyActivities>;

export function createCustodyActivities({ pool, policy, alert }: CustodyDependencies) {
  return {
    /**
     * Begins the migration that a command asks for, or finds it.
     * @throws failure custody-active, log-not-active
     */
    async openMigration({ commandId }: { commandId: number }): Promise<OpenedMigration> {
      const { rows } = await pool.query<{
        custody: number;
        custody_before: number;
        epoch_to: number;
        from_signer: Buffer;
        approvals_expire_at: number;
        policy: CustodyPolicy;
        delete_old_key: boolean;
        period_seconds: number;
      }>(
        `SELECT m.custody, l.custody AS custody_before, m.epoch_to, m.from_signer, m.approvals_expire_at, m.policy, m.delete_old_key,
                d.period_seconds
           FROM kiff.open_custody_migration($1, $2) m JOIN kiff.logs l ON l.tenant = m.tenant, kiff.deployment d`,
        [commandId, JSON.stringify(policy)],
      );
      const row = rows[0];
      if (row === undefined) throw failure('log-not-active');
      return {
        custody: row.custody,
        custodyBefore: row.custody_before,
        epochTo: row.epoch_to,
        fromSigner: toHex(row.from_signer),
        approvalsExpireAt: row.approvals_expire_at,
        policy: row.policy,
        deleteOldKey: row.delete_old_key,
        periodSeconds: row.period_seconds,
      };
    },

    /** Fixes who is to sign: from here on approvals name it. @throws failure custody-conflict when another one stands */
    async setNewSigner(of: { migrationId: string; newSigner: Hex; keyRef: string | null }): Promise<void> {
      await pool.query('SELECT kiff.set_new_signer($1, $2, $3)', [
        of.migrationId,
        Buffer.from(fromHex(of.newSigner, 20)),
        of.keyRef,
      ]);
    },

    /** Writes how a step goes where the tenant reads it. The same news once more is none. */
    async noteStep(note: {
      migrationId: string;
      step: CustodyStep;
      state: 'begun' | 'waiting' | 'done' | 'failed' | 'undone';
      proof?: StepProof;
    }): Promise<void> {
      await pool.query('SELECT kiff.note_custody_step($1, $2, $3, $4)', [
        note.migrationId,
        note.step,
        note.state,
        JSON.stringify(note.proof ?? {}),
      ]);
    },

    /** Where the log stands. */
    async logStanding({ tenantId }: { tenantId: string }): Promise<LogStanding> {
      const { rows } = await pool.query<{ epoch: number; signed_seq: number; included_seq: number; held: boolean }>(
        `SELECT epoch, signed_seq, included_seq, held_since IS NOT NULL AS held FROM kiff.logs WHERE tenant = $1`,
        [tenantId],
      );
      const row = rows[0];
      if (row === undefined) throw failure('log-not-active');
      return { epoch: row.epoch, signedSeq: row.signed_seq, includedSeq: row.included_seq, held: row.held };
    },

    /** Has the signer sign nothing new for the log, or sign again. A migration that is over holds nothing. */
    async holdLog({ migrationId, hold }: { migrationId: string; hold: boolean }): Promise<void> {
      await pool.query('SELECT kiff.hold_log_for($1, $2)', [migrationId, hold]);
    },

    /**
     * Gives a migration up: from here on nothing new is signed for it.
     * @param reason a fixed word; the first stands
     * @returns false when its acceptance is signed, or final on chain: then it goes forward
     */
    async giveUp({ migrationId, reason }: { migrationId: string; reason: string }): Promise<boolean> {
      const { rows } = await pool.query<{ given_up: boolean }>('SELECT kiff.give_up_custody($1, $2) AS given_up', [
        migrationId,
        reason,
      ]);
      return rows[0]?.given_up === true;
    },

    /**
     * Ends a migration. The first end stands.
     * @param reason why it was undone, a fixed word; null when it was completed
     * @throws failure custody-alive while a handover that the old key signed is neither dead nor accepted
     */
    async endMigration({ migrationId, reason }: { migrationId: string; reason: string | null }): Promise<void> {
      const outcome = reason === null ? 'completed' : 'undone';
      await pool.query('SELECT kiff.end_custody_migration($1, $2, $3)', [migrationId, outcome, reason]);
    },

    /** Answers everybody who wanted the migration stopped. @param reason a fixed word; null when it was stopped */
    async answerStops({ migrationId, reason }: { migrationId: string; reason: string | null }): Promise<void> {
      await pool.query('SELECT kiff.answer_stops($1, $2)', [migrationId, reason]);
    },

    /** An undo, or a step after the point of no return, failed: what is left wants a person. */
    async tellCustodyStuck({ tenantId, step }: { tenantId: string; step: CustodyStep }): Promise<void> {
      alert('custody-stuck', { tenantId, step });
    },
  };
}
