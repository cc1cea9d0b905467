/**
 * A log's three witnesses held against each other: the product database, the signing journal, and the chain. What they do not agree
 * on is named, and where the last seal stands on which journal and chain agree. Nothing is changed here.
 */
import type { Pool } from 'pg';
import type { PublicClient } from 'viem';
import type { EndReason } from '../../protocol/ending.ts';
import { extendTiles } from '../../protocol/extend.ts';
import { HASH_SIZE } from '../../protocol/hash.ts';
import { fromHex, toHex, type Hex } from '../../protocol/hex.ts';
import { TileSet } from '../../protocol/tile.ts';
import { tenantSchema } from '../../sql/login.ts';
import { readLogEvents, type SealedLogEvent } from '../chain/log-events.ts';
import { readLogState, reachable, type LogState } from '../chain/registry.ts';
import { failureType } from '../failures.ts';
import { knownEdge, requireLeaves, sha256 } from '../log/audit.ts';
import { LEAF_PAGE, readLeaves } from '../log/leaves.ts';
import { headAt } from '../signing/agreement.ts';
import type { CustodyJournal } from '../signing/custody/journal.ts';
import type { Journal, Statement } from '../signing/journal.ts';
import { CLOUD, currentKey, type SignerKey } from '../signing/signer-key.ts';
import type { CurrentLog, Directory, StoredSeal } from './directory.ts';

export interface CompareDependencies {
  /** The product database as kiff_owner. */
  pool: Pool;
  directory: Directory;
  journal: Journal;
  custodyJournal: CustodyJournal;
  chain: PublicClient;
  contract: Hex;
  /** First block that can hold an event of the contract. */
  fromBlock: bigint;
}

/** One thing on which the witnesses do not agree. `facts`: numbers and hashes, where it is. */
export interface Difference {
  reason: EndReason;
  facts: Readonly<Record<string, number | string>>;
}

/** The last seal at which journal and chain agree, and its block; seq 0 when there is none. */
interface LastGood {
  seq: number;
  block: number;
  statement: Statement | null;
}

export interface Comparison {
  log: CurrentLog;
  /** How far each witness has come. */
  product: { signedSeq: number; finalSeq: number; records: number };
  journaledSeq: number;
  chain: { seq: number; finalSeq: number; registered: boolean };
  /** The end is journaled; the database has not carried it out yet. */
  ended: boolean;
  /** The journal does not know what is on chain, or what was signed: it was lost or restored, and is rebuilt first. */
  journalBehind: boolean;
  differences: Difference[];
  lastGood: LastGood;
  /** Seconds until the clock has caught up with the log's head. */
  clockAhead: number;
}

/** A head this far ahead of the clock is refused by `accept`. */
const AHEAD_SECONDS = 5;

/** Leaves audited at once: with the tiles above them, some megabytes. */
const AUDIT_PART = 16_384;

/**
 * @param deep reads and hashes every record of the log too; what is not read can differ unseen
 * @throws failure chain-unavailable; pg errors
 */
export async function compareLog(deps: CompareDependencies, log: CurrentLog, deep: boolean): Promise<Comparison> {
  const { journal, directory } = deps;
  const differences: Difference[] = [];
  const differs = (reason: EndReason, facts: Difference['facts'] = {}): void => {
    differences.push({ reason, facts });
  };

  const { now, final, finalBlock } = await readChain(deps, log.logId);
  const last = await journal.last(log.logId);
  const key = await currentKey(journal, log);
  const journaledSeq = last?.seal.seq ?? 0;
  const lastGood = await findLastGood(deps, log, final, finalBlock);
  const stored = await walkSeals(deps, log, now.seq, differs);
  const known = Math.max(now.seq, stored.signedSeq);
  const diverged = stored.signedSeq <= journaledSeq && (await isDiverged(journal, key, log, now, journaledSeq));
  if (diverged) differs('diverged', { seq: lastGood.seq + 1, journal: journaledSeq, chain: now.seq });
  else if (known > journaledSeq)
    differs('chain-ahead', { journal: journaledSeq, chain: now.seq, signed: stored.signedSeq });
  else if (await chainDiffers(journal, key, log, now)) differs('chain-differs', { seq: lastGood.seq + 1 });
  if (stored.finalSeq > final.seq) differs('final-reorged', { seq: stored.finalSeq, chain: final.seq });
  // Seals that are journaled and not here: no harm if the records still give exactly those.
  if (stored.signedSeq < Math.min(journaledSeq, now.seq)) {
    const lost = await firstLost(deps, log, stored.signedSeq + 1, Math.min(journaledSeq, now.seq));
    if (lost !== null) differs('database-behind', { seq: lost, chain: now.seq });
  }
  if (deep) await auditRecords(deps, log, stored.lastRoot, differs);
  const { size, ahead } = await directory.head(log.tenantId);
  if (ahead > AHEAD_SECONDS) differs('clock-ahead', { seconds: ahead });
  return {
    log,
    product: { signedSeq: stored.signedSeq, finalSeq: stored.finalSeq, records: size },
    journaledSeq,
    chain: { seq: now.seq, finalSeq: final.seq, registered: !/^0x0{40}$/.test(now.signer) },
    ended: (await journal.end(log.logId)) !== null,
    journalBehind:
      (known > journaledSeq && !diverged) || final.epoch > key.epoch || (await handoverForgotten(deps, log, key)),
    differences,
    lastGood,
    clockAhead: ahead > AHEAD_SECONDS ? ahead : 0,
  };
}

async function readChain({ chain, contract }: CompareDependencies, logId: Hex) {
  const block = await reachable(() => chain.getBlock({ blockTag: 'finalized' }));
  const final = await readLogState(chain, contract, logId, block.number);
  const now = await readLogState(chain, contract, logId);
  return { now, final, finalBlock: block.number };
}

async function chainDiffers(journal: Journal, key: SignerKey, log: CurrentLog, now: LogState): Promise<boolean> {
  if (/^0x0{40}$/.test(now.signer)) return false;
  // A succession that the journal has not learned yet is no other story.
  if (now.epoch > key.epoch) return false;
  return (
    now.signer !== key.signer || now.epoch !== key.epoch || now.head !== (await headAt(journal, log, key, now.seq))
  );
}

/**
 * The signer is the tenant's, and the chain has a seal of it that the journal has not stated: signed without us. (A journal that was
 * lost would not know what the product database has as signed.)
 */
async function isDiverged(
  journal: Journal,
  key: SignerKey,
  log: CurrentLog,
  now: LogState,
  journaledSeq: number,
): Promise<boolean> {
  if (key.custody === CLOUD || now.signer !== key.signer || now.epoch !== key.epoch) return false;
  return now.seq > journaledSeq || (await chainDiffers(journal, key, log, now));
}

/** A handover that the old key has signed, of the next epoch, which the journal does not remember: it may live. */
async function handoverForgotten(
  { directory, custodyJournal }: CompareDependencies,
  { logId }: CurrentLog,
  key: SignerKey,
) {
  for (const { handover, handoverHash, released, ours } of await directory.handovers(logId)) {
    if (!ours || !released || handover.epochTo !== key.epoch + 1) continue;
    if (!(await custodyJournal.isReleased(logId, handoverHash))) return true;
  }
  return false;
}

/** By the log's whole history on chain, since a node keeps no old states: the highest seal, final, that the journal has too. */
async function findLastGood(
  { chain, contract, journal, fromBlock }: CompareDependencies,
  { logId }: CurrentLog,
  final: LogState,
  finalBlock: bigint,
): Promise<LastGood> {
  const none: LastGood = { seq: 0, block: Number(final.seq === 0 ? finalBlock : fromBlock), statement: null };
  if (final.seq === 0) return none;
  let good = none;
  for await (const events of readLogEvents(chain, contract, [logId], { from: fromBlock, to: finalBlock })) {
    const sealed = events.filter((event): event is SealedLogEvent => event.kind === 'sealed');
    if (sealed.length === 0) continue;
    const statements = await journal.between(logId, sealed[0]!.seq, sealed.at(-1)!.seq);
    const known = new Map(statements.map((statement) => [statement.seal.seq, statement]));
    for (const { seq, sealHash, at } of sealed) {
      const statement = known.get(seq);
      if (statement?.sealHash !== sealHash || seq !== good.seq + 1) return good;
      good = { seq, block: at.blockNumber, statement };
    }
  }
  return good;
}

interface Walked {
  signedSeq: number;
  finalSeq: number;
  /** The newest seal that has a root. */
  lastRoot: StoredSeal | null;
}

/** The database's seals against the journal's statements. */
async function walkSeals(
  { directory, journal }: CompareDependencies,
  log: CurrentLog,
  chainSeq: number,
  differs: (reason: EndReason, facts: Difference['facts']) => void,
): Promise<Walked> {
  const walked: Walked = { signedSeq: 0, finalSeq: 0, lastRoot: null };
  const journaledSeq = (await journal.last(log.logId))?.seal.seq ?? 0;
  let next = 1;
  for await (const page of directory.seals(log.tenantId, null)) {
    const statements = await journal.between(log.logId, page[0]!.seq, page.at(-1)!.seq);
    const known = new Map(statements.map((statement) => [statement.seal.seq, statement]));
    for (const seal of page) {
      if (seal.seq !== next++) {
        differs('seal-altered', { seq: next - 1 });
        return walked;
      }
      const statement = known.get(seal.seq);
      if (seal.root !== null) walked.lastRoot = seal;
      if (seal.level === 'final') walked.finalSeq = seal.seq;
      if (seal.signature !== null) {
        walked.signedSeq = seal.seq;
        if (statement === undefined && seal.seq <= journaledSeq) differs('seal-conflict', { seq: seal.seq });
      }
      if (statement !== undefined && !isStatementOf(statement, seal)) {
        const unsigned = seal.seq <= chainSeq ? 'database-behind' : 'statement-conflict';
        differs(seal.signature === null ? unsigned : 'seal-conflict', { seq: seal.seq });
        return walked;
      }
    }
  }
  return walked;
}

function isStatementOf({ seal, sealHash }: Statement, stored: StoredSeal): boolean {
  return (
    stored.period === seal.period &&
    stored.treeSize === seal.treeSize &&
    (stored.root === null || stored.root === seal.root) &&
    (stored.sealHash === null || stored.sealHash === sealHash)
  );
}

/** The first journaled seal from `from` on that the stored records do not give any more; null when they give all of them. */
async function firstLost(deps: CompareDependencies, log: CurrentLog, from: number, to: number): Promise<number | null> {
  const schema = tenantSchema(log.tenantId);
  const { size: records } = await deps.directory.head(log.tenantId);
  const before = from === 1 ? null : await deps.journal.at(log.logId, from - 1);
  const begins = before?.seal.treeSize ?? 0;
  const edge = await edgeOf(deps.pool, log.tenantId, before);
  if (edge === null) return from;
  const tree = extendTiles(begins, edge, sha256);
  for (let seq = from; seq <= to; seq++) {
    const statement = await deps.journal.at(log.logId, seq);
    if (statement === null || statement.seal.treeSize > records) return seq;
    const { treeSize, period, root } = statement.seal;
    while (tree.size < treeSize) {
      const leaves = await readLeaves(deps.pool, schema, tree.size, Math.min(treeSize, tree.size + LEAF_PAGE), sha256);
      tree.append(leaves.map(({ hash }) => hash));
      tree.drain();
    }
    if (toHex(tree.root()) !== root) return seq;
    // The cut would be made again: it must fall where it fell.
    const { rows } = await deps.pool.query(
      `SELECT FROM ${schema}.records r, kiff.deployment d
        WHERE r.leaf_index = $1 AND r.received_at < to_timestamp($2::bigint + d.period_seconds)`,
      [treeSize, period],
    );
    if (rows.length > 0) return seq;
  }
  return null;
}

async function edgeOf(pool: Pool, tenantId: string, before: Statement | null): Promise<TileSet | null> {
  if (before === null) return new TileSet([]);
  try {
    return await knownEdge(pool, tenantId, { size: before.seal.treeSize, root: fromHex(before.seal.root, HASH_SIZE) });
  } catch (error) {
    if (reasonOf(error) === null) throw error;
    return null;
  }
}

/** Every tile and every leaf under the newest root, and every record behind it. */
async function auditRecords(
  { pool, directory }: CompareDependencies,
  { tenantId }: CurrentLog,
  newest: StoredSeal | null,
  differs: (reason: EndReason, facts: Difference['facts']) => void,
): Promise<void> {
  const { size: records } = await directory.head(tenantId);
  try {
    const sealed = newest?.treeSize ?? 0;
    if (newest?.root != null) {
      const edge = await knownEdge(pool, tenantId, { size: sealed, root: fromHex(newest.root, HASH_SIZE) });
      if (edge === null) {
        differs('seal-altered', { seq: newest.seq });
        return;
      }
      for (let from = 0; from < sealed; from += AUDIT_PART) {
        await requireLeaves(pool, tenantId, { size: sealed, edge }, { from, to: Math.min(sealed, from + AUDIT_PART) });
      }
    }
    for (let from = sealed; from < records; from += LEAF_PAGE) {
      await readLeaves(pool, tenantSchema(tenantId), from, Math.min(records, from + LEAF_PAGE), sha256);
    }
  } catch (error) {
    const found = reasonOf(error);
    if (found === null) throw error;
    differs(found.reason, found.facts);
  }
}

/** What the audits throw, as a difference. */
function reasonOf(error: unknown): Difference | null {
  const type = failureType(error);
  if (type !== 'record-missing' && type !== 'record-altered' && type !== 'tile-altered' && type !== 'seal-altered') {
    return null;
  }
  const { details } = error as { details?: unknown[] };
  return { reason: type, facts: (details?.[0] ?? {}) as Difference['facts'] };
}
