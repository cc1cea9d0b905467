/**
 * Which seals go into the next transaction. The contract itself is asked (a simulated call), item by item: what it would
 * refuse is set aside with its reason and does not hold up the rest.
 */
import { encodeFunctionData, type PublicClient } from 'viem';
import { outcomes, registryAbi, type Outcome } from '../../contracts/registry.ts';
import type { Hex } from '../../protocol/hex.ts';
import { reachable } from '../chain/registry.ts';
import type { QueuedSeal } from './queue.ts';

/** 384 bytes of call data a seal: 280 stay below 110 kB, and at 22k gas each well below 10 M gas. */
export const MAX_BATCH = 280;

export interface Verdicts {
  /** The contract would take these, in this order. */
  take: QueuedSeal[];
  /** These stand on chain already: somebody else was first. */
  stale: QueuedSeal[];
  /** The chain's clock has not reached the end of these seals' periods: its next block may take them. */
  early: QueuedSeal[];
  /** The contract does not know these logs (any more). */
  unknown: QueuedSeal[];
  /** These would be refused for good as they are. */
  refuse: { seal: QueuedSeal; outcome: Outcome }[];
}

/** The seals as the contract takes them. */
const sealInputs = (seals: readonly QueuedSeal[]) =>
  seals.map(({ logId, seq, period, treeSize, root, signature }) => ({
    logId,
    seq,
    period: BigInt(period),
    treeSize,
    root,
    signature,
  }));

/** The call that anchors seals. */
export function anchorCall(seals: readonly QueuedSeal[]): Hex {
  return encodeFunctionData({ abi: registryAbi, functionName: 'anchor', args: [sealInputs(seals)] });
}

/** Asks the contract about every seal. A Gap waits for its neighbour and is in none of the lists. */
export async function judge(
  client: PublicClient,
  contract: Hex,
  from: Hex,
  seals: readonly QueuedSeal[],
): Promise<Verdicts> {
  const verdicts: Verdicts = { take: [], stale: [], early: [], unknown: [], refuse: [] };
  if (seals.length === 0) return verdicts;
  const { result } = await reachable(() =>
    client.simulateContract({
      account: from,
      address: contract,
      abi: registryAbi,
      functionName: 'anchor',
      args: [sealInputs(seals)],
    }),
  );
  for (const [index, seal] of seals.entries()) {
    const outcome = outcomes[result[index] ?? -1];
    switch (outcome) {
      case 'Sealed':
        verdicts.take.push(seal);
        break;
      case 'Stale':
        verdicts.stale.push(seal);
        break;
      case 'BadPeriod':
      case 'BadTreeSize':
      case 'BadSignature':
        verdicts.refuse.push({ seal, outcome });
        break;
      case 'TooEarly':
        verdicts.early.push(seal);
        break;
      case 'UnknownLog':
        verdicts.unknown.push(seal);
        break;
      case 'Gap':
      case undefined:
        break;
    }
  }
  return verdicts;
}
