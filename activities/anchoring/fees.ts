/** What a transaction offers. Pure policy, apart from effects. Amounts are in wei per gas. */

export interface Fees {
  maxFeePerGas: bigint;
  maxPriorityFeePerGas: bigint;
}

/** First offer: twice the base fee (it can rise 12.5 % a block), and a small tip, as an OP-stack sequencer expects. */
export function firstFees(baseFeePerGas: bigint, suggestedTip: bigint): Fees {
  const maxPriorityFeePerGas = suggestedTip > 0n ? suggestedTip : 1n;
  return { maxFeePerGas: baseFeePerGas * 2n + maxPriorityFeePerGas, maxPriorityFeePerGas };
}

/**
 * The offer that replaces an earlier one for the same nonce: both fees at least 12.5 % higher (what pools demand, rounded
 * up), and no lower than a first offer would be now.
 * @returns undefined when that would pass the ceiling: then the wallet waits and tells somebody
 */
export function replacementFees(
  earlier: Fees,
  baseFeePerGas: bigint,
  suggestedTip: bigint,
  ceiling: bigint,
): Fees | undefined {
  const fresh = firstFees(baseFeePerGas, suggestedTip);
  const maxPriorityFeePerGas = larger(raised(earlier.maxPriorityFeePerGas), fresh.maxPriorityFeePerGas);
  const maxFeePerGas = larger(raised(earlier.maxFeePerGas), fresh.maxFeePerGas);
  return maxFeePerGas > ceiling ? undefined : { maxFeePerGas, maxPriorityFeePerGas };
}

const raised = (fee: bigint): bigint => (fee * 1125n + 999n) / 1000n;
const larger = (a: bigint, b: bigint): bigint => (a > b ? a : b);
