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
}

export interface Confirmation {
  changes: LevelChange[];
  /** Highest block that the finalized tag covers. */
  finalBlock: bigint;
}

/** Looks at seals that are in a block and says what changed. */
export async function confirm(deps: ConfirmDependencies, seals: readonly AnchoredSeal[]): Promise<Confirmation> {
  const safeBlock = await taggedBlock(deps.chain, 'safe');
  const finalBlock = await taggedBlock(deps.chain, 'finalized');
  const canonical = new Map<number, Hex | null>();
  const changes: LevelChange[] = [];
  for (const seal of seals) {
    let hash = canonical.get(seal.blockNumber);
    if (hash === undefined) {
      hash = await canonicalHash(deps.chain, seal.blockNumber);
      canonical.set(seal.blockNumber, hash);
    }
    if (hash !== seal.blockHash) {
      changes.push(await afterReorg(deps, seal));
      continue;
    }
    const { tenantId, seq, period, txHash, blockNumber, blockHash, logIndex } = seal;
    const change = { tenantId, seq, period, anchor: { txHash, blockNumber, blockHash, logIndex } };
    if (blockNumber <= finalBlock) {
      if (await stateAgrees(deps, seal, finalBlock)) changes.push({ ...change, level: 'final' });
    } else if (blockNumber <= safeBlock && seal.level !== 'safe') {
      changes.push({ ...change, level: 'safe' });
    }
  }
  return { changes, finalBlock };
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

async function stateAgrees(deps: ConfirmDependencies, seal: AnchoredSeal, atBlock: bigint): Promise<boolean> {
  const state = await readLogState(deps.chain, deps.contract, seal.logId, atBlock);
  const agrees = state.seq > seal.seq || (state.seq === seal.seq && state.head === seal.sealHash);
  if (!agrees) deps.alert('chain-differs', { tenantId: seal.tenantId, seq: seal.seq, block: seal.blockNumber });
  return agrees;
}

async function taggedBlock(chain: PublicClient, blockTag: 'safe' | 'finalized'): Promise<bigint> {
  const block = await reachable(() => chain.getBlock({ blockTag }));
  return block.number;
}

async function canonicalHash(chain: PublicClient, blockNumber: number): Promise<Hex | null> {
  const latest = await reachable(() => chain.getBlockNumber({ cacheTime: 0 }));
  if (BigInt(blockNumber) > latest) return null;
  const block = await reachable(() => chain.getBlock({ blockNumber: BigInt(blockNumber) }));
  return block.hash;
}
