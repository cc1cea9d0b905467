/**
 * Follows the contract's events of handovers, whoever sent them: as one node sees them up to the tip, where a reorganisation takes
 * them back, and as all endpoints agree on them once they are final. A final acceptance is the cut-over, in one transaction
 * with the fact itself (kiff.cut_over).
 */
import type { Pool } from 'pg';
import { registryAbi } from '../../contracts/registry.ts';
import type { Hex } from '../../protocol/hex.ts';
import { NO_HEAD } from '../../protocol/seal.ts';
import type { BlockName } from '../chain/endpoints.ts';
import { reachable, readLogState } from '../chain/registry.ts';
import { freezeLog } from '../log/freeze.ts';
import { readHandovers, withSigned, type HandoverEvent } from './handover-events.ts';
import type { Handovers, HandoverNews } from './handovers.ts';
import type { SealQueue } from './queue.ts';
import type { SendDependencies } from './send.ts';
import type { Wallet } from './wallet.ts';
import type { Alert } from '../failures.ts';

export interface HandoverDependencies extends SendDependencies {
  pool: Pool;
  queue: SealQueue;
  handovers: Handovers;
  alert: Alert;
  nudgeCustody: (tenantId: string) => Promise<void>;
}

/** Providers refuse wider ranges; this is the narrowest common limit. */
const BLOCK_RANGE = 10_000n;
/** Ranges taken in at one look; what is further back waits for the next. */
const RANGES = 20;

/** First block that may hold an event which is not known to be final. */
const firstOpen = async (deps: HandoverDependencies, wallet: Wallet): Promise<bigint> => {
  const settled = await wallet.handoversBlock();
  return settled === null ? deps.fromBlock : settled + 1n;
};

/** What one node says, up to its newest block. */
export async function followHandoverTip(deps: HandoverDependencies, wallet: Wallet): Promise<void> {
  const { chain, handovers } = deps;
  const from = await firstOpen(deps, wallet);
  const to = await reachable(() => chain.getBlockNumber({ cacheTime: 0 }));
  if (to - from >= BLOCK_RANGE) return; // far behind: first what is final
  const { number: safe } = await reachable(() => chain.getBlock({ blockTag: 'safe' }));
  const events = await seen(deps, { from, to });
  await tell(deps, await handovers.see(events, to, safe));
}

/** Takes in what is seen of a transaction of ours: no word about anything else. */
export async function noteHandovers(deps: HandoverDependencies, events: readonly HandoverEvent[]): Promise<void> {
  if (events.length === 0) return;
  const signed = await withSigned(deps.chain, registryOf(deps), events, (places) => headsAt(deps, places));
  await tell(deps, await deps.handovers.see(signed, null, -1n));
}

/**
 * What all endpoints agree on, up to the final block.
 * @returns whether everything up to it is taken in
 */
export async function settleHandovers(deps: HandoverDependencies, wallet: Wallet, final: BlockName): Promise<boolean> {
  let from = await firstOpen(deps, wallet);
  for (let ranges = 0; from <= final.number; ranges++) {
    if (ranges === RANGES) return false;
    const to = from + BLOCK_RANGE - 1n < final.number ? from + BLOCK_RANGE - 1n : final.number;
    const events = await agreedEvents(deps, { from, to }, final);
    for (const event of events) {
      // Its head is over a history that is not ours: whose log that is, a person has to say.
      if (event.fact !== 'accepted' || event.head !== null) continue;
      const tenantId = (await deps.queue.owners([event.logId])).get(event.logId);
      if (tenantId !== undefined) await freezeLog(deps, tenantId, 'chain-differs', { seq: event.seq });
    }
    await tell(deps, await wallet.settleHandovers(events, to));
    from = to + 1n;
  }
  if ((await deps.handovers.open()).overdue) {
    const time = await deps.agreed.read(async (each) => (await each.getBlock({ blockNumber: final.number })).timestamp);
    await wallet.lapseHandovers(final.number, time);
  }
  return true;
}

const registryOf = ({ chainId, contract }: HandoverDependencies) => ({ chainId, contract });

async function seen(deps: HandoverDependencies, range: { from: bigint; to: bigint }): Promise<HandoverEvent[]> {
  const { chain, contract, handovers } = deps;
  const logIds = await handovers.logIds();
  const { hashes } = await handovers.open();
  const events = await readHandovers(chain, contract, { logIds, hashes }, range);
  return withSigned(chain, registryOf(deps), events, (places) => headsAt(deps, places));
}

/** The events of final blocks as all endpoints have them, and as the contract's own state there has them: a receipt can be invented. */
async function agreedEvents(
  deps: HandoverDependencies,
  range: { from: bigint; to: bigint },
  final: BlockName,
): Promise<HandoverEvent[]> {
  const { agreed, contract, handovers } = deps;
  const logIds = await handovers.logIds();
  const { hashes } = await handovers.open();
  // Asked here, once: what every endpoint says must be comparable.
  const { events, standing } = await agreed.read(async (endpoint) => {
    const { hash } = await endpoint.getBlock({ blockNumber: final.number });
    if (hash !== final.hash) throw new Error('it has another block there');
    const found = await readHandovers(endpoint, contract, { logIds, hashes }, range);
    const signed = await withSigned(endpoint, registryOf(deps), found, (places) => headsAt(deps, places));
    return {
      events: signed,
      standing: await Promise.all(
        signed.map(async (event) => ({
          log: await readLogState(endpoint, contract, event.logId, final.number),
          cancelled: await endpoint.readContract({
            address: contract,
            abi: registryAbi,
            functionName: 'cancelled',
            args: [event.handoverHash],
            blockNumber: final.number,
          }),
        })),
      ),
    };
  });
  return events.filter((event, index) => {
    const { log, cancelled } = standing[index]!;
    const stands =
      event.fact === 'proposed' ||
      (event.fact === 'cancelled' && cancelled) ||
      (event.fact === 'accepted' &&
        (log.epoch > event.epochTo || (log.epoch === event.epochTo && log.signer === event.to)));
    if (!stands) deps.alert('anchor-unproved', { handover: event.handoverHash, block: event.anchor.blockNumber });
    return stands;
  });
}

/** Every head that logs of ours had at a seq. */
async function headsAt(
  { queue }: HandoverDependencies,
  places: readonly { logId: Hex; seq: number }[],
): Promise<Map<Hex, readonly Hex[]>> {
  const found = new Map<Hex, readonly Hex[]>();
  if (places.length === 0) return found;
  const owners = await queue.owners(places.map(({ logId }) => logId));
  for (const { logId, seq } of places) {
    const tenantId = owners.get(logId);
    if (tenantId === undefined) continue;
    const heads = (await queue.heads([{ tenantId, seq }])).get(tenantId) ?? [];
    found.set(logId, [...(found.get(logId) ?? []), ...heads, ...(seq === 0 ? [NO_HEAD] : [])]);
  }
  return found;
}

/** What is news to people. */
async function tell(deps: HandoverDependencies, news: readonly HandoverNews[]): Promise<void> {
  for (const { tenantId, handoverHash, fact, was, level, block, known } of news) {
    const fields = { tenantId, handover: handoverHash, fact, block };
    if (level === null) deps.alert('reorg', fields);
    else if (was === null && !known) deps.alert('handover-unknown', fields);
    deps.tell('handover.seen', { ...fields, level: level ?? 'none' });
  }
  await Promise.all([...new Set(news.map(({ tenantId }) => tenantId))].map((tenantId) => deps.nudgeCustody(tenantId)));
}
