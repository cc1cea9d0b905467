/** What a transaction offers, and when it offers more. Pure policy, apart from effects. Amounts are in wei per gas. */

interface Fees {
  maxFeePerGas: bigint;
  maxPriorityFeePerGas: bigint;
}

/** Fees that were signed, and the number of the newest block then. */
export interface Offer extends Fees {
  headBlock: bigint;
}

/** What the chain asks for. */
export interface Market {
  headBlock: bigint;
  /** Base fee of that block. */
  baseFeePerGas: bigint;
  suggestedTip: bigint;
}

export interface FeePolicy {
  /** Highest maxFeePerGas that is ever offered. */
  ceiling: bigint;
  /**
   * An offer is raised when so many blocks have passed it by. Counted in blocks and not by a clock: while the chain makes none,
   * more money moves nothing, and a clock that is off changes nothing.
   */
  patienceBlocks: bigint;
}

export type Decision =
  /** The newest offer stands. */
  | { do: 'keep' }
  /** A new offer: the nonce's first, or one that replaces the newest. */
  | { do: 'offer'; fees: Fees }
  /** The market, or the step that a replacement has to make, is above the ceiling: wait, and tell somebody. */
  | { do: 'wait-at-ceiling' };

/** Decides about one nonce. @param offers those signed so far, oldest first */
export function decideFees(offers: readonly Offer[], market: Market, policy: FeePolicy): Decision {
  const newest = offers.at(-1);
  if (newest !== undefined && market.headBlock - newest.headBlock < policy.patienceBlocks) return { do: 'keep' };
  const least = newest === undefined ? { maxFeePerGas: 0n, maxPriorityFeePerGas: 0n } : raised(newest);
  const fresh = freshFees(market);
  const maxPriorityFeePerGas = larger(least.maxPriorityFeePerGas, fresh.maxPriorityFeePerGas);
  const wanted = larger(least.maxFeePerGas, fresh.maxFeePerGas);
  const maxFeePerGas = wanted < policy.ceiling ? wanted : policy.ceiling;
  // Below these an offer is no replacement, or in no next block.
  const needed = larger(least.maxFeePerGas, market.baseFeePerGas + maxPriorityFeePerGas);
  if (maxFeePerGas < needed) return { do: 'wait-at-ceiling' };
  return { do: 'offer', fees: { maxFeePerGas, maxPriorityFeePerGas } };
}

/** Twice the base fee (it can rise 12.5 % a block), and a small tip, as an OP-stack sequencer expects. */
function freshFees({ baseFeePerGas, suggestedTip }: Market): Fees {
  const maxPriorityFeePerGas = suggestedTip > 0n ? suggestedTip : 1n;
  return { maxFeePerGas: baseFeePerGas * 2n + maxPriorityFeePerGas, maxPriorityFeePerGas };
}

/** The least that replaces an offer: both fees 12.5 % higher, rounded up. Pools ask for 10 %, some for 12.5 %. */
function raised({ maxFeePerGas, maxPriorityFeePerGas }: Fees): Fees {
  return { maxFeePerGas: eighthMore(maxFeePerGas), maxPriorityFeePerGas: eighthMore(maxPriorityFeePerGas) };
}

const eighthMore = (fee: bigint): bigint => (fee * 1125n + 999n) / 1000n;

const larger = (a: bigint, b: bigint): bigint => (a > b ? a : b);
