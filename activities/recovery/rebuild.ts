/**
 * A signing journal that was lost, rebuilt from what others know of it: the contract's events, and seals in the product database
 * that carry the log's own signature. It yields statements without signatures; the signer signs none of those but what stands on
 * chain. Written with a login of its own, under which the journal marks every row as rebuilt.
 */
import type { Pool } from 'pg';
import type { PublicClient } from 'viem';
import type { Registry, Seal } from '../../protocol/eip712.ts';
import { parseEnd } from '../../protocol/ending.ts';
import { handoverAcceptHash, handoverHash as hashOf } from '../../protocol/handover.ts';
import { fromHex, type Hex } from '../../protocol/hex.ts';
import { NO_HEAD, sealDigest, sealHash } from '../../protocol/seal.ts';
import { recoverSigner, SignatureError } from '../../protocol/signature.ts';
import { readLogEvents, type HandoverLogEvent, type SealedLogEvent } from '../chain/log-events.ts';
import { readLogState, reachable } from '../chain/registry.ts';
import { failure } from '../failures.ts';
import { headAt } from '../signing/agreement.ts';
import { createCustodyJournal } from '../signing/custody/journal.ts';
import { createJournal, type JournalLog } from '../signing/journal.ts';
import { currentKey, TENANT_AGENT } from '../signing/signer-key.ts';
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
    if (end === null) await rebuildHandovers(deps, identity);
    if (end !== null) await rebuildEnd(deps, identity, end);
    rebuilt.push({ tenantId, ordinal, fromChain, fromSignatures });
  }
  return rebuilt;
}

/**
 * Follows the log's events: each is hashed into the head that it makes, which must be the contract's in the end.
 * @throws failure not-final while a succession is in no final block: it would be a fact here before it is one there
 */
async function rebuildFromChain(deps: RebuildDependencies, log: JournalLog): Promise<number> {
  const { chain, registry, fromBlock } = deps;
  const { logId } = log;
  const newest = await reachable(() => chain.getBlockNumber({ cacheTime: 0 }));
  const final = await reachable(() => chain.getBlock({ blockTag: 'finalized' }));
  const state = await readLogState(chain, registry.contract, logId, newest);
  if (/^0x0{40}$/.test(state.signer)) return 0;
  const writer = createWriter(deps, log);
  let head: Hex = NO_HEAD;
  let epoch = 0;
  for await (const events of readLogEvents(chain, registry.contract, [logId], { from: fromBlock, to: newest })) {
    for (const event of events) {
      if (event.kind === 'sealed') {
        const seal = sealOf(event, head);
        if (sealHash(seal) !== event.sealHash)
          throw new HistoryDoubted(`seal ${seal.seq} of ${log.origin} does not hash`);
        await writer.write(epoch, seal);
      } else {
        if (BigInt(event.at.blockNumber) > final.number) throw failure('not-final', { epoch: event.epoch });
        await rebuildSuccession(deps, log, event, head);
        epoch = event.epoch;
      }
      head = event.kind === 'sealed' ? event.sealHash : event.head;
    }
  }
  if (head !== state.head) throw new HistoryDoubted(`the events of ${log.origin} do not lead to its head`);
  return writer.written();
}

/** A succession as the chain tells it; which key we call for it, the product database says, and its signature will prove. */
async function rebuildSuccession(
  { directory, journalPool }: RebuildDependencies,
  log: JournalLog,
  event: HandoverLogEvent,
  before: Hex,
): Promise<void> {
  const { epoch, handoverHash, seq } = event;
  const accept = { logId: log.logId, epochTo: epoch, handoverHash, seq, head: before };
  if (handoverAcceptHash(accept) !== event.head) {
    throw new HistoryDoubted(`the handover of ${log.origin} to epoch ${epoch} does not hash`);
  }
  const known = (await directory.handovers(log.logId)).find((stored) => stored.handoverHash === handoverHash);
  await createJournal(journalPool).openLog(log); // a log that was handed over before its first seal is not there yet
  await createCustodyJournal(journalPool).succeed(log.logId, {
    epoch,
    signer: event.signer,
    custody: known?.ours === true ? known.handover.custody : TENANT_AGENT,
    keyRef: known?.keyRef ?? null,
    handoverHash,
    acceptSeq: seq,
    head: event.head,
    acceptedBlock: event.at.blockNumber,
  });
}

/**
 * Handovers that the old key has signed and that may live: the signer must not forget them, and signs nothing new while one of them
 * was accepted. What both databases have lost nobody can tell it; the contract then still has one pending at a time.
 */
async function rebuildHandovers({ directory, journalPool }: RebuildDependencies, log: JournalLog): Promise<void> {
  const custody = createCustodyJournal(journalPool);
  const epochs = (await createJournal(journalPool).successions(log.logId)).length;
  for (const stored of await directory.handovers(log.logId)) {
    const { handover, handoverHash, released, acceptance } = stored;
    if (!released || handover.epochTo !== epochs + 1 || hashOf(handover) !== handoverHash) continue;
    if (handover.custody < 1 || handover.custody > TENANT_AGENT) continue; // another's, and nothing to wait for
    await createJournal(journalPool).openLog(log);
    await custody.fixTerms(stored);
    await custody.release(log.logId, handoverHash);
    if (acceptance !== null) await custody.accept(log.logId, handoverHash, acceptance);
  }
}

function sealOf(event: SealedLogEvent, prev: Hex): Seal {
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
  const key = await currentKey(journal, log);
  let seq = last?.seal.seq ?? 0;
  let head = await headAt(journal, log, key, seq);
  for await (const page of deps.directory.seals(log.tenantId, endedOrdinal, seq)) {
    for (const stored of page) {
      if (stored.seq !== seq + 1 || stored.root === null || stored.signature === null) return writer.written();
      const { period, treeSize, root } = stored;
      const seal: Seal = { logId: log.logId, seq: stored.seq, period, treeSize, root, prev: head ?? NO_HEAD };
      if (stored.epoch !== key.epoch || signerOf(deps.registry, seal, stored.signature) !== key.signer) {
        return writer.written();
      }
      await writer.write(key.epoch, seal);
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
    async write(epoch: number, seal: Seal): Promise<void> {
      if (!known) await journal.openLog(log);
      known = true;
      const standing = await journal.at(log.logId, seal.seq);
      if (standing?.sealHash === sealHash(seal)) return;
      await journal.state(epoch, seal, sealHash(seal));
      written++;
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
