/**
 * The end of a log, from the operator's order to the first entry of the next log. Every step finds what an earlier try has done:
 * the order is a row, the signer's statement stands once it stands, and the database changes in one transaction.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Pool } from 'pg';
import pg from 'pg';
import { commit, encodeBody } from '../../protocol/entry.ts';
import { parseEnd, type EndReason, type EndStatement } from '../../protocol/ending.ts';
import { fromHex, type Hex } from '../../protocol/hex.ts';
import { logId } from '../../protocol/logid.ts';
import { endLog, NotFrozen, type CarriedOver, type FinalSeal, type OwnRecord } from '../../sql/archive.ts';
import { logSchema } from '../../sql/login.ts';
import { readLogEvents } from '../chain/log-events.ts';
import { reachable } from '../chain/registry.ts';
import type { CompareDependencies, Comparison } from './compare.ts';
import { orderEnd } from './rebuild.ts';

export interface EndDependencies extends CompareDependencies {
  /** The product database with the login kiff_recovery, for the transaction that ends the log. */
  productUrl: string;
  /** The journal with the login kiff_journal_recovery. */
  journalPool: Pool;
  /** Has the signer state and sign the end, and the next log's key made (workflows/endLog.ts). */
  signEnd: (log: { tenantId: string; ordinal: number }) => Promise<{ note: string; genesisSigner: Hex }>;
}

export interface Ended {
  statement: EndStatement;
  note: string;
  /** Null when the database had been changed before. */
  carried: CarriedOver | null;
}

/**
 * Ends a tenant's current log, which is frozen, for a reason, and begins the next one.
 * @throws failure end-not-ordered when another seal is the last good one by now
 */
export async function endByOperator(deps: EndDependencies, compared: Comparison, reason: EndReason): Promise<Ended> {
  const { tenantId, ordinal, logId: id } = compared.log;
  if (!compared.ended) {
    const { seq, block } = compared.lastGood;
    await orderEnd(deps.journalPool, id, { reason, lastSeq: seq, lastBlock: block });
  }
  const { note, genesisSigner } = await deps.signEnd({ tenantId, ordinal });
  const statement = parseEnd(note);
  if (statement.logId !== id) throw new Error('the signer has signed the end of another log');
  const finalSeals = await sealsOnChain(deps, id, statement.last.seq);
  const { successor, last } = statement;
  const end = {
    tenantId,
    ordinal,
    last: { ...last, sealHash: fromHex(last.sealHash, 32), root: fromHex(last.root, 32) },
    reason: statement.reason,
    statement: note,
    successor: {
      origin: successor,
      genesisSigner: fromHex(genesisSigner, 20),
      logId: fromHex(logId(genesisSigner, successor), 32),
    },
    firstRecord: firstRecord(statement, note),
    finalSeals,
    carryFrom: await coveredSize(deps, compared, statement),
  };
  return { statement, note, carried: await whenFrozen(deps.productUrl, end) };
}

/** An API process may believe for a while that the log is not frozen; until then the database refuses to end it. */
async function whenFrozen(productUrl: string, end: Parameters<typeof endLog>[1]): Promise<CarriedOver | null> {
  for (;;) {
    const client = new pg.Client({ connectionString: productUrl });
    await client.connect();
    try {
      return await endLog(client, end);
    } catch (error) {
      if (!(error instanceof NotFrozen)) throw error;
    } finally {
      await client.end();
    }
    await delay(1_000);
  }
}

/** The record that opens the next log: what came before, in the operator's signed words. */
function firstRecord(statement: EndStatement, note: string): OwnRecord {
  const { origin, logId: endedLog, last, reason, successor } = statement;
  const id = `kiff.log-ended.${endedLog.slice(2)}`;
  const record = {
    id,
    kind: 'log_ended',
    entity_id: endedLog,
    entity_type: 'log',
    created_at: new Date().toISOString(),
    message: `${origin} ended after seal ${last.seq}. This log begins anew and does not continue it.`,
    data: { origin, logId: endedLog, reason, successor, ...last, statement: note },
  };
  const { bytes: body, recordOffset } = encodeBody(null, JSON.stringify(record));
  const salt = randomBytes(32);
  return { id, body, recordOffset, salt, commitment: commit(salt, body) };
}

/** The ended log's seals on chain, up to its last good one. */
async function sealsOnChain(
  { chain, contract, fromBlock }: CompareDependencies,
  id: Hex,
  lastSeq: number,
): Promise<FinalSeal[]> {
  const { number } = await reachable(() => chain.getBlock({ blockTag: 'finalized' }));
  const seals: FinalSeal[] = [];
  for await (const events of readLogEvents(chain, contract, [id], { from: fromBlock, to: number })) {
    for (const event of events) {
      if (event.kind !== 'sealed' || event.seq > lastSeq) continue;
      const { txHash, blockNumber, blockHash, logIndex } = event.at;
      const hashes = { sealHash: fromHex(event.sealHash, 32), txHash: fromHex(txHash, 32) };
      seals.push({ seq: event.seq, ...hashes, blockNumber, blockHash: fromHex(blockHash, 32), logIndex });
    }
  }
  return seals;
}

/**
 * The first index that no good seal of this database covers. A database of an old backup has fewer seals than the log had: what
 * it cannot give receipts for goes over, though it may have been sealed.
 */
async function coveredSize(
  { pool }: CompareDependencies,
  { log }: Comparison,
  { last }: EndStatement,
): Promise<number> {
  // Not yet renamed, or renamed by an earlier try that came this far; then nothing is carried again.
  const { rows: found } = await pool.query('SELECT FROM kiff.ended_logs WHERE tenant = $1 AND ordinal = $2', [
    log.tenantId,
    log.ordinal,
  ]);
  const schema = logSchema(log.tenantId, found.length === 0 ? null : log.ordinal);
  const { rows } = await pool.query<{ tree_size: number }>(
    `SELECT tree_size FROM ${schema}.seals WHERE signature IS NOT NULL AND seq <= $1 ORDER BY seq DESC LIMIT 1`,
    [last.seq],
  );
  return rows[0]?.tree_size ?? 0;
}
