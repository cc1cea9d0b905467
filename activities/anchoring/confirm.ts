/**
 * From `included` to `final`. A seal is final when Base's finalized tag has passed its block, that block is still the
 * canonical one, and the contract's own state at the finalized block has the seal: a receipt alone can be invented by an
 * RPC. (The state is read at the finalized block, not at the seal's: full nodes keep old states for minutes only.)
 */
import type { PublicClient } from 'viem';
import type { Hex } from '../../protocol/hex.ts';
import { readLogState, reachable } from '../chain/registry.ts';
import type { Alert } from '../failures.ts';
import { sealedEvents } from './events.ts';
import type { AnchoredSeal, LevelChange } from './queue.ts';
import { receiptOf } from './send.ts';

export interface ConfirmDependencies {
  chain: PublicClient;
  contract: Hex;
  alert: Alert;
  /** Our own struct hash at a seq of each tenant. */
  sealHashes: (places: readonly { tenantId: string; seq: number }[]) => Promise<Map<string, Hex>>;
}

export interface Confirmation {
  changes: LevelChange[];
  /** Highest block that the finalized tag covers. */
  finalBlock: bigint;
}

/** Reads that run at once: enough to fill a JSON-RPC batch, few enough for any provider. */
const AT_ONCE = 50;

/** Looks at seals that are in a block and says what changed. */
export async function confirm(deps: ConfirmDependencies, seals: readonly AnchoredSeal[]): Promise<Confirmation> {
  const safeBlock = await taggedBlock(deps.chain, 'safe');
  const finalBlock = await taggedBlock(deps.chain, 'finalized');
  const latest = await reachable(() => deps.chain.getBlockNumber({ cacheTime: 0 }));
  const blocks = [...new Set(seals.map((seal) => seal.blockNumber))].filter((block) => BigInt(block) <= latest);
  const canonical = new Map(
    await inBatches(blocks, async (block) => [block, await hashOfBlock(deps.chain, block)] as const),
  );

  const standing = seals.filter((seal) => canonical.get(seal.blockNumber) === seal.blockHash);
  const gone = seals.filter((seal) => !standing.includes(seal));
  const ripe = standing.filter((seal) => BigInt(seal.blockNumber) <= finalBlock);
  const agreed = await logsThatAgree(deps, ripe, finalBlock);

  const changes = await inBatches(gone, (seal) => afterReorg(deps, seal));
  for (const seal of standing) {
    const { tenantId, seq, period, txHash, blockNumber, blockHash, logIndex } = seal;
    const change = { tenantId, seq, period, anchor: { txHash, blockNumber, blockHash, logIndex } };
    if (BigInt(blockNumber) <= finalBlock) {
      if ((agreed.get(tenantId) ?? 0) >= seq) changes.push({ ...change, level: 'final' });
    } else if (BigInt(blockNumber) <= safeBlock && seal.level !== 'safe') {
      changes.push({ ...change, level: 'safe' });
    }
  }
  return { changes, finalBlock };
}

/**
 * Which logs stand in the contract, at the finalized block, where we have them, and up to which seq. Our seals are a chain of
 * hashes: a head that equals ours at its seq has everything before it behind it.
 */
async function logsThatAgree(
  deps: ConfirmDependencies,
  seals: readonly AnchoredSeal[],
  finalBlock: bigint,
): Promise<Map<string, number>> {
  const logs = new Map(seals.map((seal) => [seal.tenantId, seal.logId]));
  const states = await inBatches([...logs], async ([tenantId, logId]) => {
    const { seq, head } = await readLogState(deps.chain, deps.contract, logId, finalBlock);
    return { tenantId, seq, head };
  });
  const ours = await deps.sealHashes(states);
  for (const { tenantId, seq, head } of states) {
    if (ours.get(tenantId) !== head) deps.alert('chain-differs', { tenantId, seq });
  }
  return new Map(
    states.filter(({ tenantId, head }) => ours.get(tenantId) === head).map(({ tenantId, seq }) => [tenantId, seq]),
  );
}

async function inBatches<T, R>(items: readonly T[], run: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let from = 0; from < items.length; from += AT_ONCE) {
    results.push(...(await Promise.all(items.slice(from, from + AT_ONCE).map(run))));
  }
  return results;
}

/** The block is gone: the same transaction may stand in another one, or in none. */
async function afterReorg(deps: ConfirmDependencies, seal: AnchoredSeal): Promise<LevelChange> {
  const { tenantId, seq, period } = seal;
  deps.alert('reorg', { tenantId, seq, block: seal.blockNumber });
  const receipt = await receiptOf(deps.chain, seal.txHash);
  const event =
    receipt === null
      ? undefined
      : sealedEvents(receipt, deps.contract).find(
          (sealed) => sealed.logId === seal.logId && sealed.seq === seq && sealed.sealHash === seal.sealHash,
        );
  return event === undefined
    ? { tenantId, seq, period, level: 'sealed', anchor: null }
    : { tenantId, seq, period, level: 'included', anchor: event.anchor };
}

async function taggedBlock(chain: PublicClient, blockTag: 'safe' | 'finalized'): Promise<bigint> {
  const block = await reachable(() => chain.getBlock({ blockTag }));
  return block.number;
}

async function hashOfBlock(chain: PublicClient, blockNumber: number): Promise<Hex> {
  const block = await reachable(() => chain.getBlock({ blockNumber: BigInt(blockNumber) }));
  return block.hash;
}
