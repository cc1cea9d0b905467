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
import { reachable } from '../chain/registry.ts';
import { failure, type Alert } from '../failures.ts';
import { firstFees, replacementFees, type Fees } from './fees.ts';
import { tellVendorError } from '../vendor-errors.ts';
import type { Relayer } from './relayer.ts';
import type { OpenNonce, SignedTransaction, Wallet } from './wallet.ts';

export interface SendDependencies {
  chain: PublicClient;
  chainId: number;
  relayer: Relayer;
  alert: Alert;
  /** Highest maxFeePerGas that is ever offered, wei. */
  feeCeiling: bigint;
  /** How long an offer may go unmined before it is raised. */
  patienceMs: number;
  now: () => number;
}

/** Signs and stores the nonce's first transaction unless it has one already (a crash may have come in between). */
async function ensureSigned(deps: SendDependencies, wallet: Wallet, nonce: OpenNonce): Promise<SignedTransaction[]> {
  const signed = await wallet.transactions(nonce.nonce);
  if (signed.length > 0) return signed;
  const { baseFee, tip } = await marketFees(deps.chain);
  await signAndStore(deps, wallet, nonce, firstFees(baseFee, tip));
  return wallet.transactions(nonce.nonce);
}

/**
 * Moves a nonce on: looks for its block; else sees that the newest offer is in the pool, and raises it when it has waited
 * too long.
 * @returns the receipt once one of its transactions is mined, else null
 * @throws failure foreign-nonce when the nonce is spent, finally, by a transaction that was never ours
 */
export async function advance(
  deps: SendDependencies,
  wallet: Wallet,
  nonce: OpenNonce,
): Promise<TransactionReceipt | null> {
  const signed = await ensureSigned(deps, wallet, nonce);
  for (const { hash } of signed) {
    const receipt = await receiptOf(deps.chain, hash);
    if (receipt !== null) return receipt;
  }
  const spent = await reachable(() =>
    deps.chain.getTransactionCount({ address: deps.relayer.address, blockTag: 'finalized' }),
  );
  if (spent > nonce.nonce) {
    deps.alert('foreign-nonce', { nonce: nonce.nonce });
    throw failure('foreign-nonce', { nonce: nonce.nonce });
  }

  const newest = signed.at(-1);
  if (newest === undefined) throw failure('unexpected');
  if (deps.now() - newest.signedAt.getTime() > deps.patienceMs) {
    const { baseFee, tip } = await marketFees(deps.chain);
    const fees = replacementFees(newest, baseFee, tip, deps.feeCeiling);
    if (fees === undefined) {
      deps.alert('fee-ceiling', { nonce: nonce.nonce });
    } else {
      await signAndStore(deps, wallet, nonce, fees);
    }
  }
  for (const transaction of (await wallet.transactions(nonce.nonce)).slice(-1)) await broadcast(deps, transaction.raw);
  return null;
}

/** A mined transaction's receipt, or null while there is none. */
export async function receiptOf(chain: PublicClient, hash: Hex): Promise<TransactionReceipt | null> {
  try {
    return await chain.getTransactionReceipt({ hash });
  } catch (error) {
    if (error instanceof TransactionReceiptNotFoundError) return null;
    tellVendorError('chain', error);
    throw failure('chain-unavailable');
  }
}

async function signAndStore(deps: SendDependencies, wallet: Wallet, nonce: OpenNonce, fees: Fees): Promise<void> {
  const { raw, hash } = await deps.relayer.sign({
    type: 'eip1559',
    chainId: deps.chainId,
    nonce: nonce.nonce,
    to: nonce.to,
    data: nonce.data,
    gas: nonce.gas,
    ...fees,
  });
  await wallet.store(nonce.nonce, hash, raw, fees);
}

/** Sends stored bytes. "Already known", "nonce too low" and every transport error leave it to the next look. */
async function broadcast(deps: SendDependencies, raw: Hex): Promise<void> {
  try {
    await deps.chain.sendRawTransaction({ serializedTransaction: raw });
  } catch (error) {
    const poor = error instanceof BaseError && error.walk((cause) => cause instanceof InsufficientFundsError) !== null;
    if (poor || (error instanceof Error && /insufficient funds/i.test(error.message))) {
      deps.alert('relayer-cannot-pay', { relayer: deps.relayer.address });
      throw failure('relayer-cannot-pay');
    }
  }
}

async function marketFees(chain: PublicClient): Promise<{ baseFee: bigint; tip: bigint }> {
  const block = await reachable(() => chain.getBlock({ blockTag: 'latest' }));
  const tip = await reachable(() => chain.estimateMaxPriorityFeePerGas());
  return { baseFee: block.baseFeePerGas ?? 0n, tip };
}
