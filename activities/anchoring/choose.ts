/**
 * Which seals go into the next transaction. The contract itself is asked (a simulated call), item by item: what it would
 * refuse is set aside with its reason and does not hold up the rest.
 */
import { decodeFunctionResult, encodeFunctionData, type PublicClient } from 'viem';
import { outcomes, registryAbi, type Outcome } from '../../contracts/registry.ts';
import type { Hex } from '../../protocol/hex.ts';
import { reachable } from '../chain/registry.ts';
import { MAX_GAS, type SignerKind } from './batch.ts';
import type { QueuedSeal } from './queue.ts';

/** What the contract would refuse for good as it is. The other outcomes wait for a neighbour, the clock or the chain. */
export type Refusal = Extract<Outcome, 'BadPeriod' | 'BadTreeSize' | 'BadSignature'>;

export const isRefusal = (outcome: Outcome | undefined): outcome is Refusal =>
  outcome === 'BadPeriod' || outcome === 'BadTreeSize' || outcome === 'BadSignature';

export interface Verdicts {
  /** The contract would take these, in this order. */
  take: QueuedSeal[];
  /** These stand on chain already: somebody else was first. */
  stale: QueuedSeal[];
  /** The chain's clock has not reached the end of these seals' periods: its next block may take them. */
  early: QueuedSeal[];
  /** The contract does not know these logs (any more). */
  unknown: QueuedSeal[];
  refuse: { seal: QueuedSeal; outcome: Refusal }[];
}

/** The call that anchors seals. */
export function anchorCall(seals: readonly QueuedSeal[]): Hex {
  const items = seals.map(({ logId, seq, period, treeSize, root, signature }) => ({
    logId,
    seq,
    period: BigInt(period),
    treeSize,
    root,
    signature,
  }));
  return encodeFunctionData({ abi: registryAbi, functionName: 'anchor', args: [items] });
}

/**
 * Divides seals by what judging their signatures may cost. The chain is asked for code: a contract has it, and so has a key's account
 * that delegated (EIP-7702). A log that was refused after a good simulation counts as a contract's, whatever it is.
 */
export async function divide(
  client: PublicClient,
  seals: readonly QueuedSeal[],
): Promise<Record<SignerKind, QueuedSeal[]>> {
  const signers = [...new Set(seals.map((seal) => seal.signer))];
  const codes = await reachable(() => Promise.all(signers.map((address) => client.getCode({ address }))));
  const withCode = new Set(signers.filter((_, index) => codes[index] !== undefined && codes[index] !== '0x'));
  const isContract = (seal: QueuedSeal): boolean => seal.refusals > 0 || withCode.has(seal.signer);
  return { key: seals.filter((seal) => !isContract(seal)), contract: seals.filter(isContract) };
}

/** What the contract would make of each seal, at a block or at the newest one. */
export async function outcomesOf(
  client: PublicClient,
  contract: Hex,
  from: Hex,
  seals: readonly QueuedSeal[],
  blockNumber?: bigint,
): Promise<(Outcome | undefined)[]> {
  const { data } = await client.call({
    account: from,
    to: contract,
    data: anchorCall(seals),
    gas: MAX_GAS,
    ...(blockNumber === undefined ? {} : { blockNumber }),
  });
  const numbers = decodeFunctionResult({ abi: registryAbi, functionName: 'anchor', data: data ?? '0x' });
  return seals.map((_, index) => outcomes[numbers[index] ?? -1]);
}

/** Sorts seals by what the contract would make of them. A Gap waits for its neighbour and is in none of the lists. */
export function judge(seals: readonly QueuedSeal[], found: readonly (Outcome | undefined)[]): Verdicts {
  const verdicts: Verdicts = { take: [], stale: [], early: [], unknown: [], refuse: [] };
  for (const [index, seal] of seals.entries()) {
    const outcome = found[index];
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
