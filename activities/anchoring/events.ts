/** The contract's `Sealed` events: the only thing that says where a seal stands. */
import { decodeEventLog, parseEventLogs, type PublicClient, type TransactionReceipt } from 'viem';
import { registryAbi } from '../../contracts/registry.ts';
import type { Hex } from '../../protocol/hex.ts';
import { reachable } from '../chain/registry.ts';
import type { Anchor } from './queue.ts';

export interface SealedEvent {
  logId: Hex;
  seq: number;
  period: number;
  sealHash: Hex;
  anchor: Anchor;
}

/** Providers refuse wider ranges; this is the narrowest common limit. */
const BLOCK_RANGE = 10_000n;

/** All `Sealed` events of our contract in a transaction's receipt. */
export function sealedEvents(receipt: TransactionReceipt, contract: Hex): SealedEvent[] {
  const logs = receipt.logs.filter((log) => log.address.toLowerCase() === contract);
  return parseEventLogs({ abi: registryAbi, eventName: 'Sealed', logs, strict: true }).map((log) => ({
    logId: log.args.logId,
    seq: log.args.seq,
    period: Number(log.args.period),
    sealHash: log.args.sealHash,
    anchor: {
      txHash: receipt.transactionHash,
      blockNumber: Number(receipt.blockNumber),
      blockHash: receipt.blockHash,
      logIndex: log.logIndex,
    },
  }));
}

/** Looks for a seal that somebody else anchored, from the newest block back to `fromBlock`. */
export async function findSealed(
  client: PublicClient,
  contract: Hex,
  logId: Hex,
  seq: number,
  fromBlock: bigint,
): Promise<SealedEvent | null> {
  const event = registryAbi.find((item) => item.type === 'event' && item.name === 'Sealed');
  if (event === undefined) throw new TypeError('the ABI has no Sealed event');
  let to = await reachable(() => client.getBlockNumber({ cacheTime: 0 }));
  while (to >= fromBlock) {
    const from = to - BLOCK_RANGE + 1n > fromBlock ? to - BLOCK_RANGE + 1n : fromBlock;
    const range = { fromBlock: from, toBlock: to };
    const logs = await reachable(() => client.getLogs({ address: contract, event, args: { logId, seq }, ...range }));
    const log = logs[0];
    if (log !== undefined) {
      const { args } = decodeEventLog({ abi: registryAbi, eventName: 'Sealed', data: log.data, topics: log.topics });
      return {
        logId,
        seq,
        period: Number(args.period),
        sealHash: args.sealHash,
        anchor: {
          txHash: log.transactionHash,
          blockNumber: Number(log.blockNumber),
          blockHash: log.blockHash,
          logIndex: log.logIndex,
        },
      };
    }
    to = from - 1n;
  }
  return null;
}
