/** How many seals go into one transaction. Pure policy, apart from effects. */
import { size } from 'viem';
import type { QueuedSeal } from './queue.ts';

/**
 * Whose signature it is. A seal of an account with code may cost the contract an ERC-1271 call of 120,000 gas each, so such
 * seals go in batches of their own, and nobody else's is held up by them.
 */
export type SignerKind = 'key' | 'contract';

const MAX_SEALS: Readonly<Record<SignerKind, number>> = { key: 300, contract: 50 };
/** Pools take transactions of 128 KiB; this leaves room for whatever wraps the call. */
const MAX_CALL_BYTES = 110_000;
/** Of gas limit. What the network lets one transaction use is 16.7 M (EIP-7825). */
export const MAX_GAS = 10_000_000n;

/** Selector, offset and length of the array. */
const CALL_BYTES = 4 + 32 + 32;
/** An item: its offset, six words, and the length of its signature, which is padded to words. */
const ITEM_BYTES = 32 + 6 * 32 + 32;

/** A transaction's own 21,000 and the loop around the items. */
const BASE_GAS = 30_000n;
/** One seal in a batch, a little above what test/contracts/gas-snapshot.json holds; a log's first one fills empty slots. */
const SEAL_GAS = 22_500n;
const FIRST_SEAL_GAS = 40_000n;
/**
 * What the contract sets aside for asking an account with code, 64/63 of (130,000 and 2 a byte), rounded up: with less left it
 * reverts, however little the account uses (SealRegistry, ERC1271_FRAME_GAS).
 */
export const CONTRACT_CALL_GAS = 135_000n;

/** Gas that these seals need at most. */
export function plannedGas(seals: readonly QueuedSeal[], kind: SignerKind): bigint {
  return seals.reduce((sum, seal) => sum + sealGas(seal, kind), BASE_GAS);
}

/** The first seals of a queue that fit into one transaction together, in their order. */
export function cutBatch(queue: readonly QueuedSeal[], kind: SignerKind): QueuedSeal[] {
  const batch: QueuedSeal[] = [];
  let bytes = CALL_BYTES;
  let gas = BASE_GAS;
  for (const seal of queue.slice(0, MAX_SEALS[kind])) {
    bytes += ITEM_BYTES + Math.ceil(size(seal.signature) / 32) * 32;
    gas += sealGas(seal, kind);
    if (bytes > MAX_CALL_BYTES || gasLimit(gas, gas, kind) > MAX_GAS) break;
    batch.push(seal);
  }
  return batch;
}

/**
 * The limit that goes into the transaction. Of keys: what the node estimates and a tenth, and one call of an account with code
 * (a log can be handed over to one while the batch is under way). Of contracts: what they may use at most, since what they
 * used in the estimate binds them to nothing.
 */
export function gasLimit(estimated: bigint, planned: bigint, kind: SignerKind): bigint {
  if (kind === 'contract') return planned > estimated ? planned : estimated;
  return (estimated * 11n) / 10n + CONTRACT_CALL_GAS;
}

function sealGas(seal: QueuedSeal, kind: SignerKind): bigint {
  return (seal.seq === 1 ? FIRST_SEAL_GAS : SEAL_GAS) + (kind === 'contract' ? CONTRACT_CALL_GAS : 0n);
}
