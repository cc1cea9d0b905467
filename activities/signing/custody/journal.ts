/** What the signer's journal remembers of handovers (sql/journal/004-custody.sql). Read and insert; nothing is ever changed. Past 10 KB: one query each. */
import type { Pool } from 'pg';
import type { Handover } from '../../../protocol/eip712.ts';
import { fromHex, toHex, type Hex } from '../../../protocol/hex.ts';
import type { Succession } from '../journal.ts';

/** The terms of a handover, and the new key's alias or ARN (null for a key that we never call). */
export interface JournaledHandover {
  handover: Handover;
  handoverHash: Hex;
  keyRef: string | null;
}

export interface CustodyJournal {
  /** A statement of possession; each nonce is used once, and the first use stands. */
  prove(logId: Hex, proof: { nonce: Hex; newSigner: Hex; expiresAt: number; structHash: Hex }): Promise<void>;
  /** The struct hash of the statement of possession with this nonce by this signer, or null. */
  proofOf(logId: Hex, nonce: Hex, newSigner: Hex): Promise<Hex | null>;
  /** Notes that a statement is signed on trial. @throws pg error 23503 unless it stands in the journal */
  shadow(logId: Hex, shadow: { nonce: Hex; epoch: number; seq: number; newSigner: Hex }): Promise<void>;
  /** Struct hashes of the seals that a signer signed on trial. */
  shadows(logId: Hex, nonce: Hex, newSigner: Hex): Promise<{ sealHash: Hex }[]>;
  /** Fixes the terms of a migration's handover; the first stand. */
  fixTerms(terms: JournaledHandover): Promise<void>;
  termsOf(logId: Hex, nonce: Hex): Promise<JournaledHandover | null>;
  handover(logId: Hex, handoverHash: Hex): Promise<JournaledHandover | null>;
  /** Gives a handover life, before the old key signs it. @throws pg errors KF042 KF048 KF049 KF090 */
  release(logId: Hex, handoverHash: Hex): Promise<void>;
  isReleased(logId: Hex, handoverHash: Hex): Promise<boolean>;
  /** Released handovers to the log's next epoch that are not known dead. */
  living(logId: Hex): Promise<JournaledHandover[]>;
  isDead(logId: Hex, handoverHash: Hex): Promise<boolean>;
  /** Notes what a final block says. @throws pg error KF093 */
  died(
    logId: Hex,
    handoverHash: Hex,
    death: { why: 'cancelled' | 'expired'; block: bigint; time: number },
  ): Promise<void>;
  /** The acceptance that was stated, or null. */
  acceptance(logId: Hex, handoverHash: Hex): Promise<{ seq: number; head: Hex; structHash: Hex } | null>;
  /** States an acceptance: the point of no return. @throws pg errors KF048 KF049 KF091 */
  accept(logId: Hex, handoverHash: Hex, acceptance: { seq: number; head: Hex; structHash: Hex }): Promise<void>;
  /** States a cancellation. @throws pg error KF092 */
  cancel(logId: Hex, handoverHash: Hex, structHash: Hex): Promise<void>;
  isCancelled(logId: Hex, handoverHash: Hex): Promise<boolean>;
  /** Where a log stands: the seq and hash of its head, which an acceptance binds to. */
  head(logId: Hex): Promise<{ epoch: number; signer: Hex; seq: number; head: Hex }>;
  /** Appends a succession. @throws pg errors KF042 KF094 */
  succeed(logId: Hex, succession: Succession): Promise<void>;
  /** The logs that a key signs or signed for, and other logs than this one that it may yet sign for by a handover that lives. */
  usedBy(signer: Hex, logId: Hex): Promise<Hex[]>;
  /** Keeps a key's first signature over a struct hash. @returns the one that is kept */
  keepSignature(logId: Hex, structHash: Hex, signer: Hex, signature: Hex): Promise<Hex>;
  signature(logId: Hex, structHash: Hex, signer: Hex): Promise<Hex | null>;
}

interface HandoverRow {
  handover_hash: Buffer;
  epoch_to: number;
  from_signer: Buffer;
  to_signer: Buffer;
  custody: number;
  not_before: number;
  expires_at: number;
  nonce: Buffer;
  key_ref: string | null;
}

const bytes = (hex: Hex): Buffer => Buffer.from(fromHex(hex));

const SELECT_HANDOVER = `
  SELECT h.handover_hash, h.epoch_to, h.from_signer, h.to_signer, h.custody, h.not_before, h.expires_at, h.nonce, h.key_ref
    FROM journal.handovers h`;

export function createCustodyJournal(pool: Pool): CustodyJournal {
  const handovers = async (logId: Hex, where: string, parameters: unknown[] = []): Promise<JournaledHandover[]> => {
    const { rows } = await pool.query<HandoverRow>(`${SELECT_HANDOVER} WHERE h.log_id = $1 ${where}`, [
      bytes(logId),
      ...parameters,
    ]);
    return rows.map((row) => toHandover(logId, row));
  };
  const exists = async (text: string, parameters: unknown[]): Promise<boolean> =>
    (await pool.query(text, parameters)).rows.length > 0;
  const signature = async (logId: Hex, structHash: Hex, signer: Hex): Promise<Hex | null> => {
    const { rows } = await pool.query<{ signature: Buffer }>(
      'SELECT signature FROM journal.custody_signatures WHERE log_id = $1 AND struct_hash = $2 AND signer = $3',
      [bytes(logId), bytes(structHash), bytes(signer)],
    );
    return rows[0] === undefined ? null : toHex(rows[0].signature);
  };
  return {
    async proofOf(logId, nonce, newSigner) {
      const { rows } = await pool.query<{ struct_hash: Buffer }>(
        'SELECT struct_hash FROM journal.proofs WHERE log_id = $1 AND nonce = $2 AND new_signer = $3',
        [bytes(logId), bytes(nonce), bytes(newSigner)],
      );
      return rows[0] === undefined ? null : toHex(rows[0].struct_hash);
    },
    async prove(logId, { nonce, newSigner, expiresAt, structHash }) {
      await pool.query(
        `INSERT INTO journal.proofs (log_id, nonce, new_signer, expires_at, struct_hash) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT DO NOTHING`,
        [bytes(logId), bytes(nonce), bytes(newSigner), expiresAt, bytes(structHash)],
      );
    },
    async shadow(logId, { nonce, epoch, seq, newSigner }) {
      await pool.query(
        `INSERT INTO journal.shadows (log_id, nonce, epoch, seq, new_signer) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT DO NOTHING`,
        [bytes(logId), bytes(nonce), epoch, seq, bytes(newSigner)],
      );
    },
    async shadows(logId, nonce, newSigner) {
      const { rows } = await pool.query<{ seal_hash: Buffer }>(
        `SELECT s.seal_hash
           FROM journal.shadows w JOIN journal.standing s USING (log_id, epoch, seq)
           JOIN journal.custody_signatures g ON g.log_id = w.log_id AND g.struct_hash = s.seal_hash AND g.signer = w.new_signer
          WHERE w.log_id = $1 AND w.nonce = $2 AND w.new_signer = $3 ORDER BY seq`,
        [bytes(logId), bytes(nonce), bytes(newSigner)],
      );
      return rows.map((row) => ({ sealHash: toHex(row.seal_hash) }));
    },
    async fixTerms({ handover, handoverHash, keyRef }) {
      await pool.query(
        `INSERT INTO journal.handovers (log_id, handover_hash, epoch_to, from_signer, to_signer, custody, not_before,
                                        expires_at, nonce, key_ref)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING`,
        [
          bytes(handover.logId),
          bytes(handoverHash),
          handover.epochTo,
          bytes(handover.from),
          bytes(handover.to),
          handover.custody,
          handover.notBefore,
          handover.expiresAt,
          bytes(handover.nonce),
          keyRef,
        ],
      );
    },
    termsOf: async (logId, nonce) => (await handovers(logId, 'AND h.nonce = $2', [bytes(nonce)]))[0] ?? null,
    handover: async (logId, hash) => (await handovers(logId, 'AND h.handover_hash = $2', [bytes(hash)]))[0] ?? null,
    async release(logId, hash) {
      await pool.query('INSERT INTO journal.releases (log_id, handover_hash) VALUES ($1, $2) ON CONFLICT DO NOTHING', [
        bytes(logId),
        bytes(hash),
      ]);
    },
    isReleased: (logId, hash) =>
      exists('SELECT FROM journal.releases WHERE log_id = $1 AND handover_hash = $2', [bytes(logId), bytes(hash)]),
    living: (logId) =>
      handovers(
        logId,
        `AND EXISTS (SELECT FROM journal.releases r WHERE r.log_id = h.log_id AND r.handover_hash = h.handover_hash)
         AND h.epoch_to > (SELECT n.epoch FROM journal.head_of($1) n)
         AND NOT EXISTS (SELECT FROM journal.dead_handovers d WHERE d.log_id = h.log_id AND d.handover_hash = h.handover_hash)`,
      ),
    isDead: (logId, hash) =>
      exists('SELECT FROM journal.dead_handovers WHERE log_id = $1 AND handover_hash = $2', [
        bytes(logId),
        bytes(hash),
      ]),
    async died(logId, hash, { why, block, time }) {
      await pool.query(
        `INSERT INTO journal.dead_handovers (log_id, handover_hash, why, block, block_time) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT DO NOTHING`,
        [bytes(logId), bytes(hash), why, Number(block), time],
      );
    },
    async acceptance(logId, hash) {
      const { rows } = await pool.query<{ seq: number; head: Buffer; struct_hash: Buffer }>(
        'SELECT seq, head, struct_hash FROM journal.acceptances WHERE log_id = $1 AND handover_hash = $2',
        [bytes(logId), bytes(hash)],
      );
      const row = rows[0];
      return row === undefined ? null : { seq: row.seq, head: toHex(row.head), structHash: toHex(row.struct_hash) };
    },
    async accept(logId, hash, { seq, head, structHash }) {
      await pool.query(
        `INSERT INTO journal.acceptances (log_id, handover_hash, seq, head, struct_hash) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT DO NOTHING`,
        [bytes(logId), bytes(hash), seq, bytes(head), bytes(structHash)],
      );
    },
    async cancel(logId, hash, structHash) {
      await pool.query(
        `INSERT INTO journal.cancellations (log_id, handover_hash, struct_hash) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
        [bytes(logId), bytes(hash), bytes(structHash)],
      );
    },
    isCancelled: (logId, hash) =>
      exists('SELECT FROM journal.cancellations WHERE log_id = $1 AND handover_hash = $2', [bytes(logId), bytes(hash)]),
    async head(logId) {
      const { rows } = await pool.query<{ epoch: number; signer: Buffer; seq: number; head: Buffer }>(
        'SELECT epoch, signer, seq, head FROM journal.head_of($1)',
        [bytes(logId)],
      );
      const row = rows[0]!;
      return { epoch: row.epoch, signer: toHex(row.signer), seq: row.seq, head: toHex(row.head) };
    },
    async succeed(logId, succession) {
      await pool.query(
        `INSERT INTO journal.successions (log_id, epoch, signer, custody, key_ref, handover_hash, accept_seq, head, accepted_block)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING`,
        [
          bytes(logId),
          succession.epoch,
          bytes(succession.signer),
          succession.custody,
          succession.keyRef,
          bytes(succession.handoverHash),
          succession.acceptSeq,
          bytes(succession.head),
          succession.acceptedBlock,
        ],
      );
    },
    async usedBy(signer, logId) {
      const { rows } = await pool.query<{ log_id: Buffer }>(
        `SELECT log_id FROM journal.logs WHERE genesis_signer = $1
          UNION SELECT log_id FROM journal.successions WHERE signer = $1
          UNION SELECT h.log_id FROM journal.releases r JOIN journal.handovers h USING (log_id, handover_hash)
                 WHERE h.to_signer = $1 AND h.log_id <> $2
                   AND NOT EXISTS (SELECT FROM journal.dead_handovers d
                                    WHERE d.log_id = h.log_id AND d.handover_hash = h.handover_hash)`,
        [bytes(signer), bytes(logId)],
      );
      return rows.map((row) => toHex(row.log_id));
    },
    signature,
    async keepSignature(logId, structHash, signer, given) {
      await pool.query(
        `INSERT INTO journal.custody_signatures (log_id, struct_hash, signer, signature) VALUES ($1, $2, $3, $4)
         ON CONFLICT DO NOTHING`,
        [bytes(logId), bytes(structHash), bytes(signer), bytes(given)],
      );
      return (await signature(logId, structHash, signer)) ?? given;
    },
  };
}

function toHandover(logId: Hex, row: HandoverRow): JournaledHandover {
  return {
    handover: {
      logId,
      epochTo: row.epoch_to,
      from: toHex(row.from_signer),
      to: toHex(row.to_signer),
      custody: row.custody,
      notBefore: row.not_before,
      expiresAt: row.expires_at,
      nonce: toHex(row.nonce),
    },
    handoverHash: toHex(row.handover_hash),
    keyRef: row.key_ref,
  };
}
