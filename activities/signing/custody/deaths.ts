/** Which handovers can never be accepted any more, as a final block says: what makes room for another one (design section 7). */
import { registryAbi } from '../../../contracts/registry.ts';
import { reachable } from '../../chain/registry.ts';
import { readChain, type AgreementDependencies } from '../agreement.ts';
import type { JournalLog } from '../journal.ts';
import type { CustodyJournal } from './journal.ts';

export interface DeathsDependencies extends AgreementDependencies {
  custodyJournal: CustodyJournal;
}

/**
 * Notes the deaths of a log's handovers: cancelled in a final block, or a final block is past the last second for acceptance. While
 * the chain is in a later epoch than the journal nothing is noted: one of them may be what was accepted.
 * @throws failures of the chain
 */
export async function noteDeaths(deps: DeathsDependencies, log: JournalLog): Promise<void> {
  const { custodyJournal, chain, registry } = deps;
  const living = await custodyJournal.living(log.logId);
  if (living.length === 0) return;
  const { block, epoch } = await readChain(deps, log, 'finalized');
  const time = await chain.read(async (endpoint) =>
    Number((await reachable(() => endpoint.getBlock({ blockNumber: block }))).timestamp),
  );
  for (const { handover, handoverHash } of living) {
    if (epoch >= handover.epochTo) continue;
    const cancelled = await chain.read((endpoint) =>
      reachable(() =>
        endpoint.readContract({
          address: registry.contract,
          abi: registryAbi,
          functionName: 'cancelled',
          args: [handoverHash],
          blockNumber: block,
        }),
      ),
    );
    if (cancelled) await custodyJournal.died(log.logId, handoverHash, { why: 'cancelled', block, time });
    else if (time > handover.expiresAt)
      await custodyJournal.died(log.logId, handoverHash, { why: 'expired', block, time });
  }
}
