/**
 * Follows seals that are in a block, up to `safe`. These levels are one node's word about the chain's tip, and a
 * reorganisation takes them back; what makes a seal `final` is in finality.ts.
 */
import type { PublicClient } from 'viem';
import type { Hex } from '../../protocol/hex.ts';
import { reachable } from '../chain/registry.ts';
import { placeOf, sealedEvents } from './events.ts';
import type { AnchoredSeal, LevelChange } from './queue.ts';
import { receiptOf } from './send.ts';

export interface TipDependencies {
  chain: PublicClient;
  contract: Hex;
}

/** What the chain's tip says of seals. */
export interface Tip {
  /** In the block that we know. */
  standing: AnchoredSeal[];
  /** In another block than before, or in none. */
  moved: LevelChange[];
  /** The newest block that is safe. */
  safeBlock: bigint;
}

export async function followTip({ chain, contract }: TipDependencies, seals: readonly AnchoredSeal[]): Promise<Tip> {
  const { number: safeBlock } = await reachable(() => chain.getBlock({ blockTag: 'safe' }));
  const latest = await reachable(() => chain.getBlockNumber({ cacheTime: 0 }));
  const blocks = [...new Set(seals.map((seal) => seal.blockNumber))].filter((block) => BigInt(block) <= latest);
  const canonical = new Map(
    await Promise.all(
      blocks.map(async (block) => {
        const { hash } = await reachable(() => chain.getBlock({ blockNumber: BigInt(block) }));
        return [block, hash] as const;
      }),
    ),
  );
  const standing = seals.filter((seal) => canonical.get(seal.blockNumber) === seal.blockHash);
  const gone = seals.filter((seal) => canonical.get(seal.blockNumber) !== seal.blockHash);

  // The same transaction may stand in another block now, or in none.
  const hashes = [...new Set(gone.map((seal) => seal.txHash))];
  const receipts = await Promise.all(hashes.map((hash) => receiptOf(chain, hash)));
  const events = receipts.flatMap((receipt) => (receipt === null ? [] : sealedEvents(receipt, contract)));
  const elsewhere = new Map(events.map((event) => [placeOf(event), event]));
  const moved = gone.map((seal): LevelChange => {
    const event = elsewhere.get(placeOf(seal));
    return event?.sealHash === seal.sealHash
      ? changeOf(seal, 'included', event.anchor)
      : changeOf(seal, 'sealed', null);
  });
  return { standing, moved, safeBlock };
}

export function changeOf(
  { tenantId, seq, period }: AnchoredSeal,
  level: LevelChange['level'],
  anchor: LevelChange['anchor'],
): LevelChange {
  return { tenantId, seq, period, level, anchor };
}
