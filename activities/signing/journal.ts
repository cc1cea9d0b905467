/** The signer's journal: what it has ever stated, in a database of its own. Read and insert; nothing is ever changed. */
import type { Pool } from 'pg';
import type { Seal } from '../../protocol/eip712.ts';
import type { EndReason, EndStatement } from '../../protocol/ending.ts';
import { fromHex, toHex, type Hex } from '../../protocol/hex.ts';

export interface JournalLog {
  logId: Hex;
  tenantId: string;
  /** 1 for the tenant's first log. */
  ordinal: number;
  origin: string;
  genesisSigner: Hex;
  chainId: number;
  contract: Hex;
  periodSeconds: number;
}

/** One statement as journaled, with its signature once its key gave one, and the operator's checkpoint of its tree. */
export interface Statement {
  epoch: number;
  seal: Seal;
  sealHash: Hex;
  signature: Hex | null;
  checkpoint: string | null;
  /** Taken from the chain by a recovery: it was signed once, and stands there. */
  rebuilt: boolean;
}

/** An operator's word that a log ends, and the last good seal as a comparison found it. */
export interface EndOrder {
  reason: string;
  lastSeq: number;
  lastBlock: number;
}

/** A succession of a log's signer, as a final HandoverAccepted says it. */
export interface Succession {
  /** 1 or more; epoch 0 is the log's genesis signer. */
  epoch: number;
  signer: Hex;
  custody: number;
  /** The key's alias or ARN; null for a key that we never call. */
  keyRef: string | null;
  handoverHash: Hex;
  /** The log's last seq before it. */
  acceptSeq: number;
  /** The acceptance's struct hash: the log's head after it. */
  head: Hex;
  acceptedBlock: number;
}

export interface Journal {
  log(origin: string, chainId: number, contract: Hex): Promise<JournalLog | null>;
  openLog(log: JournalLog): Promise<void>;
  /** A log's successions, in order. */
  successions(logId: Hex): Promise<Succession[]>;
  /** Whether an acceptance binds to the log's head: nothing new is stated meanwhile. */
  isHeld(logId: Hex): Promise<boolean>;
  /** The statement with the highest seq, or null. Here and below: of those that no later succession has made void. */
  last(logId: Hex): Promise<Statement | null>;
  at(logId: Hex, seq: number): Promise<Statement | null>;
  /** Statements of a range of seqs, both included, in order. */
  between(logId: Hex, from: number, to: number): Promise<Statement[]>;
  /** Writes a statement unless one stands for its (log, epoch, seq); durable when it returns. */
  state(epoch: number, seal: Seal, sealHash: Hex): Promise<void>;
  /** Keeps the first signature of a statement. */
  signed(logId: Hex, epoch: number, seq: number, signature: Hex): Promise<void>;
  /** Keeps the operator's first checkpoint of a statement's tree. */
  checkpointed(logId: Hex, epoch: number, seq: number, checkpoint: string): Promise<void>;
  /** How many of a tenant's logs have ended. */
  endedLogs(tenantId: string, chainId: number, contract: Hex): Promise<number>;
  /** The newest order to end a log, or null. */
  endOrder(logId: Hex): Promise<EndOrder | null>;
  /** A log's end, with its signed note once there is one; null while the log goes on. */
  end(logId: Hex): Promise<{ statement: EndStatement; note: string | null } | null>;
  /** States the end, unless one stands: nothing is stated for this log afterwards. */
  stateEnd(statement: EndStatement): Promise<void>;
  /** Keeps the first note. */
  keepEndNote(logId: Hex, note: string): Promise<void>;
}

interface EndRow {
  origin: string;
  seq: number;
  seal_hash: Buffer;
  tree_size: number;
  root: Buffer;
  reason: EndReason;
  successor: string;
  note: string | null;
}

interface SuccessionRow {
  epoch: number;
  signer: Buffer;
  custody: number;
  key_ref: string | null;
  handover_hash: Buffer;
  accept_seq: number;
  head: Buffer;
  accepted_block: number;
}

interface StatementRow {
  epoch: number;
  seq: number;
  period: number;
  tree_size: number;
  root: Buffer;
  prev: Buffer;
  seal_hash: Buffer;
  signature: Buffer | null;
  checkpoint: string | null;
  rebuilt: boolean;
}

const bytes = (hex: Hex): Buffer => Buffer.from(fromHex(hex));

const SELECT_STATEMENT = `
  SELECT s.epoch, s.seq, s.period, s.tree_size, s.root, s.prev, s.seal_hash, s.rebuilt, g.signature, c.checkpoint
    FROM journal.standing s
    LEFT JOIN journal.signatures g USING (log_id, epoch, seq) LEFT JOIN journal.checkpoints c USING (log_id, epoch, seq)`;

export function createJournal(pool: Pool): Journal {
  const statements = async (logId: Hex, where: string, parameters: unknown[]): Promise<Statement[]> => {
    const { rows } = await pool.query<StatementRow>(`${SELECT_STATEMENT} WHERE s.log_id = $1 ${where}`, [
      bytes(logId),
      ...parameters,
    ]);
    return rows.map((row) => toStatement(logId, row));
  };
  const one = async (logId: Hex, where: string, parameters: unknown[]): Promise<Statement | null> =>
    (await statements(logId, where, parameters))[0] ?? null;
  return {
    async log(origin, chainId, contract) {
      const { rows } = await pool.query<{
        log_id: Buffer;
        tenant: string;
        ordinal: number;
        genesis_signer: Buffer;
        period_seconds: number;
      }>(
        `SELECT log_id, tenant, ordinal, genesis_signer, period_seconds FROM journal.logs
          WHERE origin = $1 AND chain_id = $2 AND contract = $3`,
        [origin, chainId, bytes(contract)],
      );
      const row = rows[0];
      if (row === undefined) return null;
      return {
        logId: toHex(row.log_id),
        tenantId: row.tenant,
        ordinal: row.ordinal,
        origin,
        genesisSigner: toHex(row.genesis_signer),
        chainId,
        contract,
        periodSeconds: row.period_seconds,
      };
    },
    async openLog(log) {
      await pool.query(
        `INSERT INTO journal.logs (log_id, tenant, ordinal, origin, genesis_signer, chain_id, contract, period_seconds)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`,
        [
          bytes(log.logId),
          log.tenantId,
          log.ordinal,
          log.origin,
          bytes(log.genesisSigner),
          log.chainId,
          bytes(log.contract),
          log.periodSeconds,
        ],
      );
    },
    async successions(logId) {
      const { rows } = await pool.query<SuccessionRow>(
        `SELECT epoch, signer, custody, key_ref, handover_hash, accept_seq, head, accepted_block
           FROM journal.successions WHERE log_id = $1 ORDER BY epoch`,
        [bytes(logId)],
      );
      return rows.map((row) => ({
        epoch: row.epoch,
        signer: toHex(row.signer),
        custody: row.custody,
        keyRef: row.key_ref,
        handoverHash: toHex(row.handover_hash),
        acceptSeq: row.accept_seq,
        head: toHex(row.head),
        acceptedBlock: row.accepted_block,
      }));
    },
    async isHeld(logId) {
      const { rows } = await pool.query<{ held: boolean }>('SELECT journal.is_held($1) AS held', [bytes(logId)]);
      return rows[0]!.held;
    },
    last: (logId) => one(logId, 'ORDER BY s.seq DESC LIMIT 1', []),
    at: (logId, seq) => one(logId, 'AND s.seq = $2', [seq]),
    between: (logId, from, to) => statements(logId, 'AND s.seq BETWEEN $2 AND $3 ORDER BY s.seq', [from, to]),
    async state(epoch, seal, hash) {
      await pool.query(
        `INSERT INTO journal.statements (log_id, epoch, seq, period, tree_size, root, prev, seal_hash)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`,
        [
          bytes(seal.logId),
          epoch,
          seal.seq,
          seal.period,
          seal.treeSize,
          bytes(seal.root),
          bytes(seal.prev),
          bytes(hash),
        ],
      );
    },
    async signed(logId, epoch, seq, signature) {
      await pool.query(
        'INSERT INTO journal.signatures (log_id, epoch, seq, signature) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING',
        [bytes(logId), epoch, seq, bytes(signature)],
      );
    },
    async checkpointed(logId, epoch, seq, checkpoint) {
      await pool.query(
        'INSERT INTO journal.checkpoints (log_id, epoch, seq, checkpoint) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING',
        [bytes(logId), epoch, seq, checkpoint],
      );
    },
    async endedLogs(tenantId, chainId, contract) {
      const { rows } = await pool.query<{ ended: number }>(
        `SELECT count(*)::integer AS ended FROM journal.ends e JOIN journal.logs l USING (log_id)
          WHERE l.tenant = $1 AND l.chain_id = $2 AND l.contract = $3`,
        [tenantId, chainId, bytes(contract)],
      );
      return rows[0]!.ended;
    },
    async endOrder(logId) {
      const { rows } = await pool.query<{ reason: string; last_seq: number; last_block: number }>(
        'SELECT reason, last_seq, last_block FROM journal.end_orders WHERE log_id = $1 ORDER BY id DESC LIMIT 1',
        [bytes(logId)],
      );
      const row = rows[0];
      return row === undefined ? null : { reason: row.reason, lastSeq: row.last_seq, lastBlock: row.last_block };
    },
    async end(logId) {
      const { rows } = await pool.query<EndRow>(
        `SELECT l.origin, e.seq, e.seal_hash, e.tree_size, e.root, e.reason, e.successor, n.note
           FROM journal.ends e JOIN journal.logs l USING (log_id) LEFT JOIN journal.end_notes n USING (log_id)
          WHERE e.log_id = $1`,
        [bytes(logId)],
      );
      const row = rows[0];
      if (row === undefined) return null;
      const { origin, seq, reason, successor, note } = row;
      const last = { seq, sealHash: toHex(row.seal_hash), treeSize: row.tree_size, root: toHex(row.root) };
      return { statement: { origin, logId, last, reason, successor }, note };
    },
    async stateEnd({ logId, last, reason, successor }) {
      await pool.query(
        `INSERT INTO journal.ends (log_id, seq, seal_hash, tree_size, root, reason, successor)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
        [bytes(logId), last.seq, bytes(last.sealHash), last.treeSize, bytes(last.root), reason, successor],
      );
    },
    async keepEndNote(logId, note) {
      await pool.query('INSERT INTO journal.end_notes (log_id, note) VALUES ($1, $2) ON CONFLICT DO NOTHING', [
        bytes(logId),
        note,
      ]);
    },
  };
}

function toStatement(logId: Hex, row: StatementRow): Statement {
  return {
    epoch: row.epoch,
    seal: {
      logId,
      seq: row.seq,
      period: row.period,
      treeSize: row.tree_size,
      root: toHex(row.root),
      prev: toHex(row.prev),
    },
    sealHash: toHex(row.seal_hash),
    signature: row.signature === null ? null : toHex(row.signature),
    checkpoint: row.checkpoint,
    rebuilt: row.rebuilt,
  };
}
