/**
 * The end of a log, stated by the signer (design sections 3 and 7). An operator has ordered it in the journal, with a login that no
 * worker has; which seal was the last good one is not believed but read again from journal and chain.
 *
 * Crash boundaries: before `journal.stateEnd` nothing has happened. After it nothing is ever stated for this log again, and
 * whoever comes next signs exactly that end. A signature that was not kept is made again over the same text.
 */
import {
  END_REASONS,
  endText,
  NO_SEAL,
  type EndReason,
  type EndStatement,
  type LastSeal,
} from '../../protocol/ending.ts';
import type { AgreedChain } from '../chain/endpoints.ts';
import { readLogEvents, type LogEvent } from '../chain/log-events.ts';
import { readLogState } from '../chain/registry.ts';
import { failure, type Alert } from '../failures.ts';
import { originOf } from '../log/origin.ts';
import { identifyLog, type IdentityDependencies } from './identity.ts';
import type { EndOrder, JournalLog } from './journal.ts';
import { createSignNote } from './operator-note.ts';

export interface EndDependencies extends IdentityDependencies {
  chain: AgreedChain;
  alert: Alert;
}

export type EndActivities = ReturnType<typeof createEndActivities>;

export function createEndActivities(deps: EndDependencies) {
  const { journal, kms, chain, registry, host, alert } = deps;
  const signNote = createSignNote(kms);

  /**
   * The order's last seal, if it is the last at which journal and chain agree: the chain has the journal's seal there, final,
   * and after it either nothing or another seal than the journal's.
   */
  async function lastGoodSeal(log: JournalLog, order: EndOrder): Promise<LastSeal> {
    const [latest, final] = [await chain.newest('latest'), await chain.newest('finalized')];
    const read = (block: bigint) =>
      chain.read((endpoint) => readLogState(endpoint, registry.contract, log.logId, block));
    const [now, state] = [await read(latest.number), await read(final.number)];
    if (now.seq !== state.seq || now.head !== state.head) throw failure('not-final', { seq: now.seq });

    const events = await chain.read(async (endpoint) => {
      const range = { from: BigInt(order.lastBlock), to: final.number };
      const all: LogEvent[] = [];
      for await (const some of readLogEvents(endpoint, registry.contract, [log.logId], range)) all.push(...some);
      return all.flatMap((event) => (event.kind === 'sealed' ? [{ seq: event.seq, sealHash: event.sealHash }] : []));
    });
    const refused = failure('end-not-ordered', { seq: order.lastSeq });
    const named = order.lastSeq === 0 ? null : await journal.at(log.logId, order.lastSeq);
    if (order.lastSeq > 0) {
      const standing = events.find((event) => event.seq === order.lastSeq);
      if (named === null || standing?.sealHash !== named.sealHash) throw refused;
    }
    const next = events.find((event) => event.seq === order.lastSeq + 1);
    if (next === undefined) {
      if (state.seq !== order.lastSeq) throw refused;
    } else {
      const ours = await journal.at(log.logId, next.seq);
      if (ours?.sealHash === next.sealHash) throw refused;
    }
    if (named === null) return NO_SEAL;
    const { seq, treeSize, root } = named.seal;
    return { seq, sealHash: named.sealHash, treeSize, root };
  }

  async function stateEnd(log: JournalLog): Promise<EndStatement> {
    const order = await journal.endOrder(log.logId);
    if (order === null || !isEndReason(order.reason)) {
      alert('end-not-ordered', { tenantId: log.tenantId, ordinal: log.ordinal });
      throw failure('end-not-ordered');
    }
    const last = await lastGoodSeal(log, order);
    await journal.openLog(log); // a log that was never sealed is not journaled yet
    const successor = originOf(host, log.tenantId, log.ordinal + 1);
    await journal.stateEnd({ origin: log.origin, logId: log.logId, last, reason: order.reason, successor });
    const stated = await journal.end(log.logId);
    if (stated === null) throw failure('unexpected');
    return stated.statement;
  }

  return {
    /**
     * States and signs the end of one log of a tenant. Asked again, it answers with the same note.
     * @param ordinal which of the tenant's logs
     * @returns the operator's signed note (protocol/ending.ts)
     * @throws failures end-not-ordered, not-final, and those of KMS and the chain
     */
    async signEnd({ tenantId, ordinal }: { tenantId: string; ordinal: number }): Promise<{ note: string }> {
      const log = await identifyLog(deps, tenantId, ordinal);
      const known = await journal.end(log.logId);
      if (known?.note != null) return { note: known.note };
      const statement = known?.statement ?? (await stateEnd(log));
      await journal.keepEndNote(log.logId, await signNote(endText(statement), log.origin));
      const kept = await journal.end(log.logId);
      if (kept?.note == null) throw failure('unexpected');
      return { note: kept.note };
    },
  };
}

function isEndReason(reason: string): reason is EndReason {
  return (END_REASONS as readonly string[]).includes(reason);
}
