/**
 * Logs' histories as the contract's events tell them, in the chain's order: what a journal is rebuilt from, and what tells an
 * operator where journal and chain part. Read forward in ranges that every provider allows.
 */
import { formatLog, getAbiItem, numberToHex, parseEventLogs, toEventSelector, type PublicClient } from 'viem';
import { registryAbi } from '../../contracts/registry.ts';
import type { Hex } from '../../protocol/hex.ts';
import { reachable } from './registry.ts';

/** Where an event stands on chain. */
interface EventPosition {
  txHash: Hex;
  blockNumber: number;
  blockHash: Hex;
  logIndex: number;
}

export interface SealedLogEvent {
  kind: 'sealed';
  logId: Hex;
  seq: number;
  period: number;
  treeSize: number;
  root: Hex;
  sealHash: Hex;
  at: EventPosition;
}

export interface HandoverLogEvent {
  kind: 'handover';
  logId: Hex;
  epoch: number;
  handoverHash: Hex;
  from: Hex;
  signer: Hex;
  custody: number;
  /** The log's last seq before it. */
  seq: number;
  /** The acceptance's struct hash: the log's head from here on. */
  head: Hex;
  at: EventPosition;
}

export type LogEvent = SealedLogEvent | HandoverLogEvent;

/** Providers refuse wider ranges; this is the narrowest common limit. */
const BLOCK_RANGE = 10_000n;

/** Logs asked for in one request. */
const LOGS_AT_ONCE = 500;

/**
 * Events of these logs in blocks `from` to `to`, both included, range by range and in order within a range.
 * @throws failure chain-unavailable
 */
export async function* readLogEvents(
  client: PublicClient,
  contract: Hex,
  logIds: readonly Hex[],
  range: { from: bigint; to: bigint },
): AsyncGenerator<LogEvent[]> {
  for (let from = range.from; from <= range.to; from += BLOCK_RANGE) {
    const to = from + BLOCK_RANGE - 1n < range.to ? from + BLOCK_RANGE - 1n : range.to;
    const events: LogEvent[] = [];
    for (let at = 0; at < logIds.length; at += LOGS_AT_ONCE) {
      events.push(...(await eventsBetween(client, contract, logIds.slice(at, at + LOGS_AT_ONCE), from, to)));
    }
    yield events.toSorted((a, b) => a.at.blockNumber - b.at.blockNumber || a.at.logIndex - b.at.logIndex);
  }
}

const KINDS = [
  toEventSelector(getAbiItem({ abi: registryAbi, name: 'Sealed' })),
  toEventSelector(getAbiItem({ abi: registryAbi, name: 'HandoverAccepted' })),
];

/** By topics, since anybody may use the contract: other people's logs are not even fetched. */
async function eventsBetween(
  client: PublicClient,
  address: Hex,
  logIds: readonly Hex[],
  from: bigint,
  to: bigint,
): Promise<LogEvent[]> {
  const filter = { address, topics: [KINDS, [...logIds]], fromBlock: numberToHex(from), toBlock: numberToHex(to) };
  const raw = await reachable(() => client.request({ method: 'eth_getLogs', params: [filter] }));
  const ours = new Set<string>(logIds);
  const logs = raw.map((log) => formatLog(log)).filter((log) => log.address.toLowerCase() === address);
  const parsed = parseEventLogs({ abi: registryAbi, eventName: ['Sealed', 'HandoverAccepted'], logs, strict: true });
  return parsed
    .filter(({ args }) => ours.has(args.logId))
    .map((event) => {
      const { transactionHash: txHash, blockNumber, blockHash, logIndex } = event;
      const at = { txHash, blockNumber: Number(blockNumber), blockHash, logIndex };
      if (event.eventName === 'Sealed') {
        const { logId, seq, period, treeSize, root, sealHash } = event.args;
        return { kind: 'sealed', logId, seq, period: Number(period), treeSize, root, sealHash, at } as const;
      }
      const { logId, epoch, handoverHash, custody, seq, head } = event.args;
      const parties = { from: event.args.from.toLowerCase() as Hex, signer: event.args.to.toLowerCase() as Hex };
      return { kind: 'handover', logId, epoch, handoverHash, ...parties, custody, seq, head, at } as const;
    });
}
