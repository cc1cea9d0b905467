/** The signer's journal: what it has ever stated, in a database of its own. Read and insert; nothing is ever changed. */
import type { Pool } from 'pg';
import type { Seal } from '../../protocol/eip712.ts';
import { fromHex, toHex, type Hex } from '../../protocol/hex.ts';

export interface JournalLog {
  logId: Hex;
  tenantId: string;
  origin: string;
  genesisSigner: Hex;
  chainId: number;
  contract: Hex;
  periodSeconds: number;
}

/** One statement as journaled, with its signature once KMS gave one. */
export interface Statement {
  epoch: number;
  seal: Seal;
  sealHash: Hex;
  signature: Hex | null;
  checkpoint: string | null;
}

export interface Journal {
  log(origin: string, chainId: number, contract: Hex): Promise<JournalLog | null>;
  openLog(log: JournalLog): Promise<void>;
  /** The statement with the highest seq, or null. */
  last(logId: Hex): Promise<Statement | null>;
  at(logId: Hex, seq: number): Promise<Statement | null>;
  /** Statements of a range of seqs, both included, in order. */
  between(logId: Hex, from: number, to: number): Promise<Statement[]>;
  /** Writes a statement unless one stands for its (log, epoch, seq); durable when it returns. */
  state(epoch: number, seal: Seal, sealHash: Hex): Promise<void>;
  /** Keeps the first signature of a statement. */
  signed(logId: Hex, epoch: number, seq: number, signature: Hex, checkpoint: string): Promise<void>;
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
}

const bytes = (hex: Hex): Buffer => Buffer.from(fromHex(hex));

const SELECT_STATEMENT = `
  SELECT s.epoch, s.seq, s.period, s.tree_size, s.root, s.prev, s.seal_hash, g.signature, g.checkpoint
    FROM journal.statements s LEFT JOIN journal.signatures g USING (log_id, epoch, seq)`;

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
        genesis_signer: Buffer;
        period_seconds: number;
      }>(
        `SELECT log_id, tenant, genesis_signer, period_seconds FROM journal.logs
          WHERE origin = $1 AND chain_id = $2 AND contract = $3`,
        [origin, chainId, bytes(contract)],
      );
      const row = rows[0];
      if (row === undefined) return null;
      return {
        logId: toHex(row.log_id),
        tenantId: row.tenant,
        origin,
        genesisSigner: toHex(row.genesis_signer),
        chainId,
        contract,
        periodSeconds: row.period_seconds,
      };
    },
    async openLog(log) {
      await pool.query(
        `INSERT INTO journal.logs (log_id, tenant, origin, genesis_signer, chain_id, contract, period_seconds)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
        [
          bytes(log.logId),
          log.tenantId,
          log.origin,
          bytes(log.genesisSigner),
          log.chainId,
          bytes(log.contract),
          log.periodSeconds,
        ],
      );
    },
    last: (logId) => one(logId, 'ORDER BY s.seq DESC, s.epoch DESC LIMIT 1', []),
    at: (logId, seq) => one(logId, 'AND s.seq = $2 ORDER BY s.epoch DESC LIMIT 1', [seq]),
    between: (logId, from, to) => statements(logId, 'AND s.seq BETWEEN $2 AND $3 ORDER BY s.seq, s.epoch', [from, to]),
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
    async signed(logId, epoch, seq, signature, checkpoint) {
      await pool.query(
        `INSERT INTO journal.signatures (log_id, epoch, seq, signature, checkpoint)
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
        [bytes(logId), epoch, seq, bytes(signature), checkpoint],
      );
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
  };
}
