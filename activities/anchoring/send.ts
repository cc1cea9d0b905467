/**
 * One nonce, from its first signature to its block. A transaction is signed once, stored, and only then broadcast; every
 * hash that was ever signed for the nonce is asked for, since any of them may be the one that is mined. A transport
 * error means "perhaps sent": nothing is concluded from it.
 */
import {
  BaseError,
  InsufficientFundsError,
  TransactionReceiptNotFoundError,
  type PublicClient,
  type TransactionReceipt,
} from 'viem';
import type { Hex } from '../../protocol/hex.ts';
import type { AgreedChain } from '../chain/endpoints.ts';
import { reachable } from '../chain/registry.ts';
import { failure } from '../failures.ts';
import { tellVendorError } from '../vendor-errors.ts';
import { findOwnTransaction, type AdoptDependencies } from './adopt.ts';
import { decideFees, type FeePolicy, type Market } from './fees.ts';
import type { Relayer } from './relayer.ts';
import type { Conditions, Tell } from './tell.ts';
import type { OpenNonce, SignedTransaction, Wallet } from './wallet.ts';

export interface SendDependencies extends AdoptDependencies {
  /** Every endpoint there is: each gets the bytes, so that one that swallows them holds nothing up. */
  endpoints: readonly PublicClient[];
  agreed: AgreedChain;
  relayer: Relayer;
  fees: FeePolicy;
  tell: Tell;
  conditions: Conditions;
}

/** Where a nonce stands after a look: in a block, or what it waits for. */
export type Progress = TransactionReceipt | 'block' | 'lower-fees' | 'funds';

/**
 * Moves a nonce on: looks for its block; else sees that the newest offer is in the pools, and raises it when the chain has
 * passed it by.
 * @throws failure foreign-nonce when the nonce is spent, finally, by a transaction that is not ours
 */
export async function advance(deps: SendDependencies, wallet: Wallet, nonce: OpenNonce): Promise<Progress> {
  const { chain, conditions } = deps;
  const signed = await wallet.transactions(nonce.nonce);
  const receipt = await firstReceipt(chain, signed);
  if (receipt !== null) return receipt;
  const address = deps.relayer.address;
  const spent = await reachable(() => chain.getTransactionCount({ address, blockTag: 'latest' }));
  if (spent > nonce.nonce) return spentUnknown(deps, wallet, nonce.nonce);

  const market = await readMarket(chain);
  // A nonce that was opened again gets its time anew: first the same bytes go out.
  const since = ({ headBlock, ...offer }: SignedTransaction) => ({
    ...offer,
    headBlock: headBlock > nonce.reopenedBlock ? headBlock : nonce.reopenedBlock,
  });
  const decision = decideFees(signed.map(since), market, deps.fees);
  if (decision.do === 'wait-at-ceiling') conditions.raise('fee-ceiling', { nonce: nonce.nonce });
  else conditions.clear('fee-ceiling');
  let newest = signed.at(-1);
  if (decision.do === 'offer') {
    const bumps = newest !== undefined;
    newest = await sign(deps, nonce, { ...decision.fees, headBlock: market.headBlock });
    await wallet.store(nonce.nonce, newest);
    const { hash, maxFeePerGas, maxPriorityFeePerGas } = newest;
    const offered = { maxFeePerGas: Number(maxFeePerGas), maxPriorityFeePerGas: Number(maxPriorityFeePerGas) };
    deps.tell(bumps ? 'tx.bumped' : 'tx.signed', { nonce: nonce.nonce, hash, ...offered });
  }
  const paid = newest === undefined || (await broadcast(deps, nonce.nonce, newest));
  if (!paid) return 'funds';
  return decision.do === 'wait-at-ceiling' ? 'lower-fees' : 'block';
}

/** The receipt of whichever of a nonce's transactions is mined. */
export async function firstReceipt(
  chain: PublicClient,
  signed: readonly { hash: Hex }[],
): Promise<TransactionReceipt | null> {
  const receipts = await Promise.all(signed.map(({ hash }) => receiptOf(chain, hash)));
  return receipts.find((receipt) => receipt !== null) ?? null;
}

/** A mined transaction's receipt, or null while there is none. */
export async function receiptOf(chain: PublicClient, hash: Hex): Promise<TransactionReceipt | null> {
  return reachable(async () => {
    try {
      return await chain.getTransactionReceipt({ hash });
    } catch (error) {
      if (error instanceof TransactionReceiptNotFoundError) return null;
      throw error;
    }
  });
}

/**
 * A nonce is spent, and by none of the transactions that we know. Either the node knows the count before the receipt, or the
 * transaction is one of ours that the table has forgotten; or, once that is final, it is not ours.
 */
async function spentUnknown(deps: SendDependencies, wallet: Wallet, nonce: number): Promise<Progress> {
  const own = await findOwnTransaction(deps, nonce, (await wallet.last())?.minedBlock ?? null);
  if (own !== null) {
    await wallet.adopt(own.nonce, own.transaction);
    deps.tell('tx.adopted', { nonce, hash: own.transaction.hash });
    return (await receiptOf(deps.chain, own.transaction.hash)) ?? 'block';
  }
  await requireNotForeign(deps, nonce);
  return 'block';
}

/** @throws failure foreign-nonce when the nonce is spent in a block that is final: whatever spent it was never ours */
export async function requireNotForeign(deps: SendDependencies, nonce: number): Promise<void> {
  const { number } = await deps.agreed.newest('finalized');
  const { address } = deps.relayer;
  const spent = await deps.agreed.read((endpoint) => endpoint.getTransactionCount({ address, blockNumber: number }));
  if (spent <= nonce) return;
  deps.conditions.raise('foreign-nonce', { nonce });
  throw failure('foreign-nonce', { nonce });
}

async function sign(
  deps: SendDependencies,
  { nonce, to, data, gas }: OpenNonce,
  offer: Omit<SignedTransaction, 'hash' | 'raw'>,
): Promise<SignedTransaction> {
  const { maxFeePerGas, maxPriorityFeePerGas } = offer;
  const fees = { maxFeePerGas, maxPriorityFeePerGas };
  const signed = await deps.relayer.sign({ type: 'eip1559', chainId: deps.chainId, nonce, to, data, gas, ...fees });
  return { ...offer, ...signed };
}

/** What nodes say to bytes that they have. */
const KNOWN = /already known|already imported|known transaction|already in mempool/i;

/**
 * Sends stored bytes to every endpoint. Whatever goes wrong ("nonce too low" and "replacement underpriced" too) is left to the
 * next look: the bytes may be in a pool all the same.
 * @returns false when the nodes refuse because the relayer cannot pay
 */
async function broadcast(deps: SendDependencies, nonce: number, { hash, raw }: SignedTransaction): Promise<boolean> {
  const sent = await Promise.allSettled(
    deps.endpoints.map((endpoint) => endpoint.sendRawTransaction({ serializedTransaction: raw })),
  );
  const errors = sent.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason as unknown] : []));
  if (errors.length < sent.length || errors.some((error) => KNOWN.test(textOf(error)))) {
    if (errors.length < sent.length) deps.tell('tx.sent', { nonce, hash });
    deps.conditions.clear('relayer-cannot-pay');
    return true;
  }
  if (errors.some(saysPoor)) {
    deps.conditions.raise('relayer-cannot-pay', { relayer: deps.relayer.address, nonce });
    return false;
  }
  for (const [index, error] of errors.entries()) tellVendorError('chain', error, index + 1);
  deps.tell('tx.unsure', { nonce, hash });
  return true;
}

function saysPoor(error: unknown): boolean {
  return (
    (error instanceof BaseError && error.walk((cause) => cause instanceof InsufficientFundsError) !== null) ||
    /insufficient funds/i.test(textOf(error))
  );
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : '';
}

async function readMarket(chain: PublicClient): Promise<Market> {
  const block = await reachable(() => chain.getBlock({ blockTag: 'latest' }));
  const suggestedTip = await reachable(() => chain.estimateMaxPriorityFeePerGas());
  return { headBlock: block.number, baseFeePerGas: block.baseFeePerGas ?? 0n, suggestedTip };
}
