/**
 * What makes a seal final, and what happens when something final is not any more. A seal is final when Base's finalized tag
 * has passed its block, that block is canonical, its transaction's receipt says success and has the seal's event, and the
 * contract's own state at the finalized block has the seal: a receipt alone can be invented by an RPC. Where several
 * endpoints are configured, all of this must be the same on each that answers (activities/chain/).
 */
import type { PublicClient } from 'viem';
import type { Hex } from '../../protocol/hex.ts';
import type { AgreedChain, BlockName } from '../chain/endpoints.ts';
import { readLogState } from '../chain/registry.ts';
import type { Alert } from '../failures.ts';
import { changeOf } from './confirm.ts';
import { placeOf, sealedEvents } from './events.ts';
import type { Anchor, AnchoredSeal, FinalSeal, LevelChange } from './queue.ts';
import { receiptOf } from './send.ts';

export interface FinalityDependencies {
  agreed: AgreedChain;
  contract: Hex;
  alert: Alert;
  /** Every head that our log had at a seq of each tenant: our seal's hash, or an acceptance's on top of it. */
  heads: (places: readonly { tenantId: string; seq: number }[]) => Promise<Map<string, readonly Hex[]>>;
}

/** What one endpoint says of seals, in a form that can be compared with another's. */
interface Evidence {
  blocks: { number: number; hash: Hex }[];
  transactions: { hash: Hex; success: boolean; events: { place: string; sealHash: Hex; anchor: Anchor }[] }[];
  logs: { tenantId: string; seq: number; head: Hex }[];
}

/**
 * Judges seals whose blocks the finalized one has passed.
 * @returns those that are final, and those of which the chain knows nothing although a receipt once said so: they fall back
 * to `sealed`. A log whose head in the contract is not ours is in neither, and alerts.
 * @throws failure chain-disagrees when the endpoints do not say the same
 */
export async function judgeFinal(
  deps: FinalityDependencies,
  final: BlockName,
  seals: readonly AnchoredSeal[],
): Promise<{ final: LevelChange[]; unproved: LevelChange[] }> {
  if (seals.length === 0) return { final: [], unproved: [] };
  const evidence = await deps.agreed.read((endpoint) => gather(endpoint, deps.contract, final, seals));
  const canonical = new Map(evidence.blocks.map(({ number, hash }) => [number, hash]));
  const events = new Map(
    evidence.transactions.flatMap(({ success, events: found }) =>
      success ? found.map((event) => [event.place, event] as const) : [],
    ),
  );
  const stands = ({ blockNumber, blockHash, txHash, ...seal }: AnchoredSeal): boolean => {
    const event = events.get(placeOf(seal));
    return (
      canonical.get(blockNumber) === blockHash &&
      event?.sealHash === seal.sealHash &&
      event.anchor.txHash === txHash &&
      event.anchor.blockHash === blockHash
    );
  };

  // Our seals and successions are a chain of hashes: a head that is ours at its seq has everything before it behind it.
  const ours = await deps.heads(evidence.logs.filter(({ seq }) => seq > 0));
  const standing = new Map(evidence.logs.map((log) => [log.tenantId, log]));
  const verdict: { final: LevelChange[]; unproved: LevelChange[] } = { final: [], unproved: [] };
  const differing = new Map<string, number>();
  for (const seal of seals) {
    const log = standing.get(seal.tenantId);
    if (!stands(seal) || log === undefined || log.seq < seal.seq) {
      verdict.unproved.push(changeOf(seal, 'sealed', null));
    } else if (ours.get(seal.tenantId)?.includes(log.head) === true) {
      const { txHash, blockNumber, blockHash, logIndex } = seal;
      verdict.final.push(changeOf(seal, 'final', { txHash, blockNumber, blockHash, logIndex }));
    } else {
      differing.set(seal.tenantId, log.seq);
    }
  }
  for (const [tenantId, seq] of differing) deps.alert('chain-differs', { tenantId, seq });
  return verdict;
}

async function gather(
  endpoint: PublicClient,
  contract: Hex,
  final: BlockName,
  seals: readonly AnchoredSeal[],
): Promise<Evidence> {
  // Who has not come that far throws here, and counts as not answering.
  const { hash } = await endpoint.getBlock({ blockNumber: final.number });
  if (hash !== final.hash) throw new Error('it has another block there');
  const blocks = [...new Set(seals.map((seal) => seal.blockNumber))];
  const hashes = [...new Set(seals.map((seal) => seal.txHash))];
  const logs = new Map(seals.map((seal) => [seal.tenantId, seal.logId]));
  return {
    blocks: await Promise.all(
      blocks.map(async (number) => ({
        number,
        hash: (await endpoint.getBlock({ blockNumber: BigInt(number) })).hash,
      })),
    ),
    transactions: await Promise.all(
      hashes.map(async (transaction) => {
        const receipt = await receiptOf(endpoint, transaction);
        const events = receipt === null ? [] : sealedEvents(receipt, contract);
        return {
          hash: transaction,
          success: receipt?.status === 'success',
          events: events.map(({ logId, seq, sealHash, anchor }) => ({
            place: placeOf({ logId, seq }),
            sealHash,
            anchor,
          })),
        };
      }),
    ),
    logs: await Promise.all(
      Array.from(logs, async ([tenantId, logId]) => {
        const { seq, head } = await readLogState(endpoint, contract, logId, final.number);
        return { tenantId, seq, head };
      }),
    ),
  };
}

export interface WatchDependencies {
  agreed: AgreedChain;
  alert: Alert;
  /** Newest final seals of logs, by tenant, after `after`. */
  finalSeals: (after: string) => Promise<FinalSeal[]>;
  /** Stops the sealing of a log until a person has looked, and alerts. */
  freeze: (seal: FinalSeal) => Promise<void>;
}

/**
 * Looks whether what was final at the last look still is. If the chain has another block there now, every log whose newest final
 * seal lost its block is frozen, whether or not the seal came again in another one: it is for a person to say what
 * that means.
 * @param before the newest final block at the last look; null at the first
 * @returns the newest final block. It is to be kept only after this has returned: a crash in between looks again
 */
export async function watchFinality(deps: WatchDependencies, before: BlockName | null): Promise<BlockName> {
  const { agreed } = deps;
  const final = await agreed.newest('finalized');
  // The tag may go back when an endpoint comes or goes; nothing is concluded from that.
  if (before === null || final.number < before.number) return before ?? final;
  const hashAt = (number: bigint) =>
    agreed.read(async (endpoint) => (await endpoint.getBlock({ blockNumber: number })).hash);
  if ((await hashAt(before.number)) === before.hash) return final;

  deps.alert('final-reorged', { block: Number(before.number), was: before.hash });
  for (let after = ''; ;) {
    const page = await deps.finalSeals(after);
    const last = page.at(-1);
    if (last === undefined) return final;
    const canonical = new Map<number, Hex>();
    for (const block of new Set(page.map((seal) => seal.blockNumber)))
      canonical.set(block, await hashAt(BigInt(block)));
    for (const seal of page) {
      if (canonical.get(seal.blockNumber) !== seal.blockHash) await deps.freeze(seal);
    }
    after = last.tenantId;
  }
}
