/** What the signing plane would write, by its own SQL functions and logins: for tests of what reads it. */
import { randomBytes } from 'node:crypto';
import type pg from 'pg';
import type { Hex } from '../../protocol/hex.ts';
import { fromHex } from '../../protocol/hex.ts';
import type { ProductDatabase, TestTenant } from '../product-database.ts';

export const POLICY = {
  approvals: 259_200,
  trialSeals: 2,
  handoverExpiry: 259_200,
  observation: 2_592_000,
  deletionWindow: 2_592_000,
};

const bytes = (hex: Hex): Buffer => Buffer.from(fromHex(hex));

export class SagaRows {
  readonly #sealing: pg.Client;
  readonly #signing: pg.Client;
  readonly #db: ProductDatabase;
  readonly #tenant: TestTenant;

  private constructor(db: ProductDatabase, tenant: TestTenant, sealing: pg.Client, signing: pg.Client) {
    this.#db = db;
    this.#tenant = tenant;
    this.#sealing = sealing;
    this.#signing = signing;
  }

  static async of(db: ProductDatabase, tenant: TestTenant): Promise<SagaRows> {
    return new SagaRows(db, tenant, await db.connect(db.urls.kiff_sealing), await db.connect(db.urls.kiff_signing));
  }

  /** Takes what the API left, as the inbox does. */
  async command(ref: string): Promise<number> {
    const [row] = await this.#db.sql<{ id: number }>(
      `SELECT id FROM kiff.commands WHERE tenant = $1 AND payload ->> 'ref' = $2`,
      [this.#tenant.id, ref],
    );
    if (row === undefined) throw new Error('no such command');
    return row.id;
  }

  async finish(ref: string, state: 'done' | 'failed', reason: string | null = null): Promise<void> {
    await this.#sealing.query('SELECT kiff.finish_command($1, $2, $3)', [await this.command(ref), state, reason]);
  }

  /** Opens the migration of a `custody.start`. */
  async open(ref: string): Promise<void> {
    await this.#sealing.query('SELECT kiff.open_custody_migration($1, $2)', [await this.command(ref), POLICY]);
  }

  async identify(migration: string, signer: Hex, keyRef: string): Promise<void> {
    await this.#sealing.query('SELECT kiff.set_new_signer($1, $2, $3)', [migration, bytes(signer), keyRef]);
  }

  async step(migration: string, step: string, state: string, proof: object = {}): Promise<void> {
    await this.#sealing.query('SELECT kiff.note_custody_step($1, $2, $3, $4)', [migration, step, state, proof]);
  }

  /** Believes whom to tell, as the signer does once it has verified who set it. */
  async keepContact(ref: string, user: string): Promise<void> {
    await this.#signing.query('SELECT kiff.keep_custody_contact($1, $2)', [await this.command(ref), user]);
    await this.finish(ref, 'done');
  }

  async giveUp(migration: string, why: string): Promise<void> {
    await this.#sealing.query('SELECT kiff.give_up_custody($1, $2)', [migration, why]);
  }

  async end(migration: string, outcome: 'completed' | 'undone', why: string | null): Promise<void> {
    await this.#sealing.query('SELECT kiff.end_custody_migration($1, $2, $3)', [migration, outcome, why]);
  }

  /** Signatures are random: nobody here judges them. */
  async handover(migration: string, hash: Hex, notBefore: number, expiresAt: number): Promise<void> {
    await this.#signing.query('SELECT kiff.record_handover($1, $2, $3, $4, $5, $6)', [
      migration,
      bytes(hash),
      notBefore,
      expiresAt,
      randomBytes(65),
      randomBytes(65),
    ]);
  }

  async acceptance(hash: Hex, seq: number, head: Hex): Promise<void> {
    await this.#signing.query('SELECT kiff.record_acceptance($1, $2, $3, $4, $5, $6)', [
      bytes(this.#tenant.logId),
      bytes(hash),
      seq,
      bytes(head),
      randomBytes(32),
      randomBytes(65),
    ]);
  }

  /** What the wallet's follower writes. */
  async onChain(hash: Hex, what: 'proposed' | 'accepted' | 'cancelled', level: string, eta = 0): Promise<void> {
    await this.#db.sql(
      `UPDATE kiff.handovers SET ${what}_level = $2, ${what}_tx = $3, ${what}_block = 7, ${what}_block_hash = $4, ${what}_log_index = 0
         ${what === 'proposed' ? `, eta = ${eta}` : ''}
         ${what === 'accepted' ? ', accepted_seq = accept_seq, accepted_head = accept_head, accepted_hash = accept_hash' : ''} WHERE handover_hash = $1`,
      [bytes(hash), level, randomBytes(32), randomBytes(32)],
    );
  }
}
