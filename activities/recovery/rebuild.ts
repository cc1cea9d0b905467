/**
 * A signing journal that was lost, rebuilt from what others know of it: the contract's events, and seals in the product database
 * that carry the log's own signature. It yields statements without signatures; the signer signs none of those but what stands on
 * chain. Written with a login of its own, under which the journal marks every row as rebuilt.
 */
import type { Pool } from 'pg';
import type { PublicClient } from 'viem';
import type { Registry, Seal } from '../../protocol/eip712.ts';
import { parseEnd } from '../../protocol/ending.ts';
import { fromHex, type Hex } from '../../protocol/hex.ts';
import { NO_HEAD, sealDigest, sealHash } from '../../protocol/seal.ts';
import { recoverSigner, SignatureError } from '../../protocol/signature.ts';
import { readLogEvents, type LogEvent } from '../chain/log-events.ts';
import { readLogState, reachable } from '../chain/registry.ts';
import { createJournal, type JournalLog } from '../signing/journal.ts';
import type { Directory, EndedLog } from './directory.ts';

export interface RebuildDependencies {
  directory: Directory;
  /** The journal with the login kiff_journal_recovery. */
  journalPool: Pool;
  chain: PublicClient;
  registry: Registry;
  fromBlock: bigint;
  periodSeconds: number;
}

/** What came of one log: statements that the journal has now and did not have before, and from where. */
export interface Rebuilt {
  tenantId: string;
  ordinal: number;
  fromChain: number;
  fromSignatures: number;
}

/** The chain tells a history that its own head is not the end of: the node is lying, or lags behind itself. */
export class HistoryDoubted extends Error {
  override name = 'HistoryDoubted';
}

/**
 * Rebuilds every log's statements, ended logs before the ones that came after them. Safe to repeat: what is there stays, and what
 * contradicts it is refused by the journal.
 * @throws HistoryDoubted; failure chain-unavailable; pg errors (KF041 when the journal holds another story than the chain)
 */
export async function rebuildJournal(deps: RebuildDependencies): Promise<Rebuilt[]> {
  const { directory, registry, periodSeconds } = deps;
  const rebuilt: Rebuilt[] = [];
  const ended = await directory.ended();
  const current = await directory.current();
  const logs = [...ended.map((log) => ({ log, end: log })), ...current.map((log) => ({ log, end: null }))];
  for (const { log, end } of logs) {
    const { tenantId, ordinal, origin, genesisSigner, logId } = log;
    const identity: JournalLog = { logId, tenantId, ordinal, origin, genesisSigner, ...registry, periodSeconds };
    const fromChain = await rebuildFromChain(deps, identity);
    const fromSignatures = await rebuildFromSignatures(deps, identity, end === null ? null : ordinal);
    if (end !== null) await rebuildEnd(deps, identity, end);
    rebuilt.push({ tenantId, ordinal, fromChain, fromSignatures });
  }
  return rebuilt;
}

/** Follows the log's events: each is hashed into the head that it makes, which must be the contract's in the end. */
async function rebuildFromChain(deps: RebuildDependencies, log: JournalLog): Promise<number> {
  const { chain, registry, fromBlock } = deps;
  const { logId } = log;
  const newest = await reachable(() => chain.getBlockNumber({ cacheTime: 0 }));
  const state = await readLogState(chain, registry.contract, logId, newest);
  if (/^0x0{40}$/.test(state.signer)) return 0;
  const writer = createWriter(deps, log);
  let head: Hex = NO_HEAD;
  let epoch = 0;
  for await (const events of readLogEvents(chain, registry.contract, [logId], { from: fromBlock, to: newest })) {
    const page: { epoch: number; seal: Seal }[] = [];
    for (const event of events) {
      if (event.kind === 'sealed') page.push({ epoch, seal: sealOf(event, head) });
      else epoch = event.epoch;
      head = event.kind === 'sealed' ? event.sealHash : event.head;
    }
    for (const { seal } of page) {
      const told = events.find((event) => event.kind === 'sealed' && event.seq === seal.seq) as { sealHash: Hex };
      if (sealHash(seal) !== told.sealHash) throw new HistoryDoubted(`seal ${seal.seq} of ${log.origin} does not hash`);
    }
    await writer.write(page);
  }
  if (head !== state.head) throw new HistoryDoubted(`the events of ${log.origin} do not lead to its head`);
  return writer.written();
}

function sealOf(event: LogEvent & { kind: 'sealed' }, prev: Hex): Seal {
  const { logId, seq, period, treeSize, root } = event;
  return { logId, seq, period, treeSize, root, prev };
}

/** Seals that were signed and are not on chain yet: their signatures say that they were stated. */
async function rebuildFromSignatures(
  deps: RebuildDependencies,
  log: JournalLog,
  endedOrdinal: number | null,
): Promise<number> {
  const journal = createJournal(deps.journalPool);
  const writer = createWriter(deps, log);
  const last = await journal.last(log.logId);
  let head = last?.sealHash ?? NO_HEAD;
  let seq = last?.seal.seq ?? 0;
  for await (const page of deps.directory.seals(log.tenantId, endedOrdinal, seq)) {
    for (const stored of page) {
      if (stored.seq !== seq + 1 || stored.root === null || stored.signature === null) return writer.written();
      const { period, treeSize, root } = stored;
      const seal: Seal = { logId: log.logId, seq: stored.seq, period, treeSize, root, prev: head };
      if (stored.epoch !== 0 || signerOf(deps.registry, seal, stored.signature) !== log.genesisSigner) {
        return writer.written();
      }
      await writer.write([{ epoch: 0, seal }]);
      head = sealHash(seal);
      seq = stored.seq;
    }
  }
  return writer.written();
}

function signerOf(registry: Registry, seal: Seal, signature: Hex): Hex | null {
  try {
    return recoverSigner(sealDigest(registry, seal), signature);
  } catch (error) {
    if (error instanceof SignatureError) return null;
    throw error;
  }
}

/** Writes statements, the log's identity before the first of them; counts those that were not there. */
function createWriter({ journalPool }: RebuildDependencies, log: JournalLog) {
  const journal = createJournal(journalPool);
  let known = false;
  let written = 0;
  return {
    async write(statements: readonly { epoch: number; seal: Seal }[]): Promise<void> {
      for (const { epoch, seal } of statements) {
        if (!known) await journal.openLog(log);
        known = true;
        const standing = await journal.at(log.logId, seal.seq);
        if (standing?.sealHash === sealHash(seal)) continue;
        await journal.state(epoch, seal, sealHash(seal));
        written++;
      }
    },
    written: () => written,
  };
}

/** An end that was signed: without it the journal would know no log after it. */
async function rebuildEnd(
  { journalPool }: RebuildDependencies,
  identity: JournalLog,
  { logId, statement: note }: EndedLog,
): Promise<void> {
  const journal = createJournal(journalPool);
  await journal.openLog(identity); // a log that never had a seal is not there yet
  if ((await journal.end(logId)) === null) {
    const statement = parseEnd(note);
    await orderEnd(journalPool, logId, { reason: statement.reason, lastSeq: statement.last.seq, lastBlock: 0 });
    await journal.stateEnd(statement);
  }
  await journal.keepEndNote(logId, note);
}

/** Writes an operator's order into the journal. */
export async function orderEnd(
  journalPool: Pool,
  logId: Hex,
  order: { reason: string; lastSeq: number; lastBlock: number },
): Promise<void> {
  await journalPool.query(
    'INSERT INTO journal.end_orders (log_id, reason, last_seq, last_block) VALUES ($1, $2, $3, $4)',
    [Buffer.from(fromHex(logId, 32)), order.reason, order.lastSeq, order.lastBlock],
  );
}
