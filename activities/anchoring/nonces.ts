/** Which nonce comes next, and what became of those that were mined. */
import type { TransactionReceipt } from 'viem';
import { reachable } from '../chain/registry.ts';
import { findOwnTransaction } from './adopt.ts';
import { firstReceipt, requireNotForeign, type SendDependencies } from './send.ts';
import type { Mined, OpenNonce, Wallet } from './wallet.ts';

/**
 * The next nonce, or one that has to be looked after first: a mined one that a reorganisation freed again, or one that the
 * chain counts and the table has forgotten; null while that is not clear.
 * @throws failure foreign-nonce when the chain counts one, finally, that is not ours
 */
export async function nextNonce(deps: SendDependencies, wallet: Wallet): Promise<number | OpenNonce | null> {
  const { chain, relayer } = deps;
  const count = (blockTag: 'latest' | 'finalized') =>
    reachable(() => chain.getTransactionCount({ address: relayer.address, blockTag }));
  const last = await wallet.last();
  const onChain = await count('latest');
  // What is final and was before the table's first nonce is not its business.
  const next = last === null ? await count('finalized') : last.nonce + 1;
  if (onChain === next) return next;
  if (onChain < next) {
    await watchMined(deps, wallet);
    return (await wallet.openNonce()) ?? reopenFinal(deps, wallet, next);
  }
  const own = await findOwnTransaction(deps, next, last?.minedBlock ?? null);
  if (own !== null) {
    await wallet.adopt(own.nonce, own.transaction);
    deps.tell('tx.adopted', { nonce: next, hash: own.transaction.hash });
    return own.nonce;
  }
  await requireNotForeign(deps, next);
  return null; // not final yet: an event that the node has still to show, or a reorganisation, may explain it
}

/**
 * All nonces below `next` count as mined, and the node counts fewer. It may be behind; or the chain took back what was final, and
 * then the lowest nonce that is free again has to be filled before any later one. The same bytes do that. (What it means for the
 * logs is finality.ts's: they are frozen, and stay so.)
 * @returns null while the endpoints do not agree that it is free
 */
async function reopenFinal(deps: SendDependencies, wallet: Wallet, next: number): Promise<OpenNonce | null> {
  const { number } = await deps.agreed.newest('latest');
  const { address } = deps.relayer;
  const counted = await deps.agreed.read((endpoint) => endpoint.getTransactionCount({ address, blockNumber: number }));
  if (counted >= next) return null;
  await wallet.reopen(counted, number);
  deps.tell('tx.reopened', { nonce: counted });
  return wallet.openNonce();
}

/**
 * Looks again at mined nonces that are not final. One whose transaction is in another block now is noted with that; one whose
 * transactions are in none is open again, and the same bytes go out. (If the node is merely behind, nothing comes of that.)
 */
export async function watchMined(deps: SendDependencies, wallet: Wallet): Promise<void> {
  for (const { nonce, blockHash } of await wallet.minedNonces()) {
    const receipt = await firstReceipt(deps.chain, await wallet.transactions(nonce));
    if (receipt === null) {
      await wallet.reopen(nonce, await reachable(() => deps.chain.getBlockNumber({ cacheTime: 0 })));
      deps.tell('tx.reopened', { nonce });
    } else if (receipt.blockHash !== blockHash) {
      await wallet.mined(nonce, minedOf(receipt));
      deps.tell('tx.remined', { nonce, hash: receipt.transactionHash, block: Number(receipt.blockNumber) });
    }
  }
}

/** What a receipt says of its nonce. */
export function minedOf(receipt: TransactionReceipt): Mined {
  return {
    hash: receipt.transactionHash,
    block: { number: receipt.blockNumber, hash: receipt.blockHash },
    cost: receipt.gasUsed * receipt.effectiveGasPrice + dataFee(receipt),
  };
}

/** OP stacks charge for a transaction's data besides its gas, in a field that viem passes through as the node wrote it. */
function dataFee(receipt: TransactionReceipt): bigint {
  const { l1Fee } = receipt as { l1Fee?: unknown };
  return typeof l1Fee === 'string' && /^0x[0-9a-f]+$/i.test(l1Fee) ? BigInt(l1Fee) : 0n;
}
