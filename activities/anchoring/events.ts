/** The contract's `Sealed` events: the only thing that says where a seal stands. */
import { getAbiItem, parseEventLogs, type Log, type PublicClient, type TransactionReceipt } from 'viem';
import { outcomes, registryAbi, type Outcome } from '../../contracts/registry.ts';
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
  return decode(receipt.logs, contract);
}

/** What the contract refused of a transaction that went through. */
export function refusals(
  receipt: TransactionReceipt,
  contract: Hex,
): { logId: Hex; seq: number; outcome: Outcome | undefined }[] {
  const logs = receipt.logs.filter((log) => log.address.toLowerCase() === contract);
  return parseEventLogs({ abi: registryAbi, eventName: 'SealRefused', logs, strict: true }).map(
    ({ args: { logId, seq, outcome } }) => ({ logId, seq, outcome: outcomes[outcome] }),
  );
}

/** The key that `findSealed` answers by. */
export const placeOf = ({ logId, seq }: { logId: Hex; seq: number }): string => `${logId}/${seq}`;

/**
 * Looks for seals that stand on chain, whoever anchored them, from the newest block back until all are found, or to where none can be: a
 * seal is never older than its period.
 */
export async function findSealed(
  client: PublicClient,
  contract: Hex,
  wanted: readonly { logId: Hex; seq: number; period: number }[],
  fromBlock: bigint,
): Promise<Map<string, SealedEvent>> {
  const missing = new Set(wanted.map(placeOf));
  const found = new Map<string, SealedEvent>();
  const oldest = Math.min(...wanted.map((seal) => seal.period));
  const args = {
    logId: [...new Set(wanted.map((seal) => seal.logId))],
    seq: [...new Set(wanted.map(({ seq }) => seq))],
  };
  for await (const { from, to } of rangesBack(client, fromBlock)) {
    const range = { address: contract, event: SEALED, args, fromBlock: from, toBlock: to };
    const logs = await reachable(() => client.getLogs(range));
    for (const event of decode(logs, contract)) {
      if (missing.delete(placeOf(event))) found.set(placeOf(event), event);
    }
    if (missing.size === 0) break;
    const { timestamp } = await reachable(() => client.getBlock({ blockNumber: from }));
    if (Number(timestamp) < oldest) break;
  }
  return found;
}

/** Block ranges that a provider answers for, from the newest block back to `fromBlock`; both ends included. */
export async function* rangesBack(
  client: PublicClient,
  fromBlock: bigint,
): AsyncGenerator<{ from: bigint; to: bigint }> {
  let to = await reachable(() => client.getBlockNumber({ cacheTime: 0 }));
  while (to >= fromBlock) {
    const from = to - BLOCK_RANGE + 1n > fromBlock ? to - BLOCK_RANGE + 1n : fromBlock;
    yield { from, to };
    to = from - 1n;
  }
}

const SEALED = getAbiItem({ abi: registryAbi, name: 'Sealed' });

function decode(logs: readonly Log[], contract: Hex): SealedEvent[] {
  const ours = logs.filter((log) => log.address.toLowerCase() === contract);
  return parseEventLogs({ abi: registryAbi, eventName: 'Sealed', logs: ours, strict: true }).map((log) => ({
    logId: log.args.logId,
    seq: log.args.seq,
    period: Number(log.args.period),
    sealHash: log.args.sealHash,
    anchor: {
      txHash: log.transactionHash,
      blockNumber: Number(log.blockNumber),
      blockHash: log.blockHash,
      logIndex: log.logIndex,
    },
  }));
}
