/**
 * Transactions that the chain has and our table does not: it was restored from a backup, or written by another cluster. The
 * relayer's signature tells whose a transaction is, so no RPC can make one up; its call tells whether it is ours.
 */
import {
  decodeFunctionData,
  encodeFunctionData,
  keccak256,
  recoverTransactionAddress,
  serializeTransaction,
  TransactionNotFoundError,
  type PublicClient,
  type Transaction,
} from 'viem';
import { registryAbi } from '../../contracts/registry.ts';
import type { Hex } from '../../protocol/hex.ts';
import { reachable } from '../chain/registry.ts';
import { rangesBack } from './events.ts';
import type { OpenNonce, SignedTransaction } from './wallet.ts';

export interface AdoptDependencies {
  chain: PublicClient;
  chainId: number;
  contract: Hex;
  relayer: { address: Hex };
  /** First block that can hold an event of the contract. */
  fromBlock: bigint;
}

/** How far back is looked: 500,000 blocks, which is eleven days of Base. An older backup wants a person. */
const MAX_RANGES = 50;
/** Look-ups that run at once: enough to fill a JSON-RPC batch, few enough for any provider. */
const AT_ONCE = 50;

/**
 * The transaction of ours that used a nonce. It is looked for among those that left an event of our contract: every node
 * keeps those, while the count of a sender's transactions at an old block is an archive's.
 * @param since a block that it cannot be older than
 * @returns null when none is found: nobody used the nonce yet, or somebody whom we do not know
 */
export async function findOwnTransaction(
  deps: AdoptDependencies,
  nonce: number,
  since: bigint | null,
): Promise<{ nonce: OpenNonce; transaction: SignedTransaction } | null> {
  const { chain, contract, relayer } = deps;
  const fromBlock = since !== null && since > deps.fromBlock ? since : deps.fromBlock;
  let ranges = 0;
  for await (const { from, to } of rangesBack(chain, fromBlock)) {
    const logs = await reachable(() => chain.getLogs({ address: contract, fromBlock: from, toBlock: to }));
    const hashes = [...new Set(logs.map((log) => log.transactionHash))].toReversed();
    for (let next = 0; next < hashes.length; next += AT_ONCE) {
      const found = await Promise.all(hashes.slice(next, next + AT_ONCE).map((hash) => transactionOf(chain, hash)));
      const sent = found.filter((each) => each !== null).filter(({ from: by }) => by.toLowerCase() === relayer.address);
      const own = sent.find((each) => each.nonce === nonce);
      if (own !== undefined) return readOwn(deps, own);
      if (sent.some((each) => each.nonce < nonce)) return null; // what comes now is older still
    }
    if (++ranges === MAX_RANGES) break;
  }
  return null;
}

async function transactionOf(chain: PublicClient, hash: Hex): Promise<Transaction | null> {
  return reachable(async () => {
    try {
      return await chain.getTransaction({ hash });
    } catch (error) {
      if (error instanceof TransactionNotFoundError) return null;
      throw error;
    }
  });
}

/** Believes nothing of the RPC: the bytes are put together again and must give the hash, and the hash the signer. */
async function readOwn(
  deps: AdoptDependencies,
  transaction: Transaction,
): Promise<{ nonce: OpenNonce; transaction: SignedTransaction } | null> {
  if (transaction.type !== 'eip1559') return null;
  const { hash, nonce, to, input, gas, maxFeePerGas, maxPriorityFeePerGas, r, s, yParity } = transaction;
  const fees = { maxFeePerGas, maxPriorityFeePerGas };
  const raw = serializeTransaction(
    { type: 'eip1559', chainId: deps.chainId, nonce, to, data: input, gas, value: transaction.value, ...fees },
    { r, s, yParity },
  );
  if (keccak256(raw) !== hash) return null;
  if ((await recoverTransactionAddress({ serializedTransaction: raw })).toLowerCase() !== deps.relayer.address) {
    return null;
  }
  const kind = kindOf(input);
  if (to?.toLowerCase() !== deps.contract || kind === null) return null;
  return {
    nonce: { nonce, kind, to: deps.contract, data: input, gas, reopenedBlock: 0n },
    transaction: { hash, raw, ...fees, headBlock: transaction.blockNumber ?? 0n },
  };
}

const KINDS = new Map<string, OpenNonce['kind']>([
  ['anchor', 'anchor'],
  ['register', 'register'],
  ['proposeHandover', 'propose'],
  ['acceptHandover', 'accept'],
  ['cancelHandover', 'cancel'],
]);

/** What a call is, if it is one of those that the wallet makes. */
function kindOf(data: Hex): OpenNonce['kind'] | null {
  try {
    const call = decodeFunctionData({ abi: registryAbi, data });
    const kind = KINDS.get(call.functionName);
    return kind !== undefined && encodeFunctionData({ abi: registryAbi, ...call }) === data ? kind : null;
  } catch {
    return null; // no call of this contract
  }
}
