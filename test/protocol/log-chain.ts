/** A chain that holds one made log (bundle-factory.ts), as JSON-RPC shows it: honest unless an option says otherwise. */
import { encodeAbiParameters, encodeEventTopics, encodeFunctionData, encodeFunctionResult, numberToHex } from 'viem';
import { registryAbi } from '../../contracts/registry-abi.ts';
import type { ChainPosition, Hex, Rpc } from '../../protocol/index.ts';
import { RpcRefused } from '../../protocol/rpc.ts';
import type { MadeLog } from './bundle-factory.ts';
import { bytesOf, CODE, PERIOD, structHash, ZERO } from './receipt-factory.ts';

export interface LogChainOptions {
  /** How many seals the contract has taken; all unless given. */
  readonly seals?: number;
  readonly finalized?: number;
  readonly latest?: number;
  /** By seq: how many seconds after its block's usual time it came on chain. */
  readonly delay?: Readonly<Record<number, number>>;
  /** Seqs of seals whose events are not shown. */
  readonly hide?: readonly number[];
  /** Shows one seal more than there is. */
  readonly invent?: boolean;
  readonly chainId?: number;
  readonly code?: Hex;
  /** A range of more blocks is refused by eth_getLogs. */
  readonly maxRange?: number;
  /** Time of the last block; that of its number unless given. */
  readonly now?: number;
}

interface State {
  signer: Hex;
  epoch: number;
  seq: number;
  period: number;
  treeSize: number;
  head: Hex;
}

interface Event {
  position: ChainPosition;
  topics: Hex[];
  data: Hex;
  seq: number;
  state: State;
}

const words = (types: readonly string[], values: readonly unknown[]): Hex =>
  encodeAbiParameters(
    types.map((type) => ({ type })),
    values as unknown[],
  );

function sealed(logId: Hex, position: ChainPosition, state: State, root: Hex): Event {
  const { seq, period, treeSize, head } = state;
  const topics = encodeEventTopics({ abi: registryAbi, eventName: 'Sealed', args: { logId, seq } }) as Hex[];
  const data = words(['uint64', 'uint48', 'bytes32', 'bytes32'], [BigInt(period), treeSize, root, head]);
  return { position, topics, data, seq, state };
}

function eventsOf({ logId, genesisSigner, hours }: MadeLog, seals: number): Event[] {
  const events: Event[] = [];
  let state: State = { signer: genesisSigner, epoch: 0, seq: 0, period: 0, treeSize: 0, head: ZERO };
  for (const { seal: line, handover } of hours.slice(0, seals)) {
    const { seq, period, treeSize, root } = line.seal;
    state = { ...state, seq, period, treeSize, head: structHash('Seal', line.seal) };
    events.push(sealed(logId, line.anchor!, state, root));
    if (handover === undefined || seq === seals) continue;
    const { accept, accepted } = handover;
    const { from, to, custody, epochTo } = handover.handover;
    state = { ...state, epoch: epochTo, signer: to, head: structHash('HandoverAccept', accept) };
    const args = { logId, epoch: epochTo, handoverHash: accept.handoverHash };
    events.push({
      position: accepted,
      topics: encodeEventTopics({ abi: registryAbi, eventName: 'HandoverAccepted', args }) as Hex[],
      data: words(['address', 'address', 'uint8', 'uint32', 'bytes32'], [from, to, custody, seq, state.head]),
      seq: 0,
      state,
    });
  }
  return events;
}

/** Answers of a node that knows this log and no other. */
export function logChain(log: MadeLog, options: LogChainOptions = {}): Rpc {
  const {
    seals = log.hours.length,
    latest = 1200,
    finalized = latest - 2,
    delay = {},
    hide = [],
    maxRange = Infinity,
  } = options;
  const { contract, chainId } = log.registry;
  const events = eventsOf(log, seals);
  const shown = events.filter(({ seq }) => !hide.includes(seq));
  if (options.invent === true) {
    const last = events.at(-1)!.state;
    const blockNumber = latest - 5;
    const position = {
      txHash: bytesOf('invented'),
      blockNumber,
      blockHash: bytesOf(`block ${blockNumber}`),
      logIndex: 0,
    };
    const state = { ...last, seq: last.seq + 1, period: last.period + 3600 };
    shown.push(sealed(log.logId, position, state, bytesOf('invented root')));
  }
  const numberOf = (tag: unknown): number =>
    tag === 'finalized' ? finalized : tag === 'latest' ? latest : Number(tag);
  const timeOf = (number: number): number => {
    const event = events.find(({ position, seq }) => seq > 0 && position.blockNumber === number);
    if (number === latest && options.now !== undefined) return options.now;
    if (event === undefined) return PERIOD + number;
    return event.state.period + 3600 + 60 + (delay[event.seq] ?? 0);
  };
  const stateAt = (tag: unknown): State => {
    const number = numberOf(tag);
    return (
      events.findLast(({ position }) => position.blockNumber <= number)?.state ?? {
        signer: log.genesisSigner,
        epoch: 0,
        seq: 0,
        period: 0,
        treeSize: 0,
        head: ZERO,
      }
    );
  };
  return async (method, params) => {
    const [first, second] = params;
    switch (method) {
      case 'eth_chainId':
        return numberToHex(options.chainId ?? chainId);
      case 'eth_getCode':
        return options.code ?? CODE;
      case 'eth_getBlockByNumber': {
        const number = numberOf(first);
        return {
          number: numberToHex(number),
          hash: bytesOf(`block ${number}`),
          timestamp: numberToHex(timeOf(number)),
        };
      }
      case 'eth_call': {
        const asked = encodeFunctionData({ abi: registryAbi, functionName: 'logState', args: [log.logId] });
        if ((first as { data: Hex }).data !== asked) throw new RpcRefused(3, 'execution reverted');
        const { signer, epoch, seq, period, treeSize, head } = stateAt(second);
        const result = [signer, epoch, seq, BigInt(period), treeSize, head] as const;
        return encodeFunctionResult({ abi: registryAbi, functionName: 'logState', result });
      }
      case 'eth_getLogs': {
        const filter = first as { fromBlock: Hex; toBlock: Hex; topics: [Hex[], Hex] };
        const [from, to] = [Number(filter.fromBlock), Number(filter.toBlock)];
        if (to - from + 1 > maxRange) throw new RpcRefused(-32602, 'block range too large');
        if (filter.topics[1] !== log.logId) return [];
        return shown
          .filter(({ position: { blockNumber } }) => blockNumber >= from && blockNumber <= to)
          .map(({ position, topics, data }) => ({
            address: contract,
            topics,
            data,
            blockNumber: numberToHex(position.blockNumber),
            blockHash: position.blockHash,
            transactionHash: position.txHash,
            logIndex: numberToHex(position.logIndex),
            removed: false,
          }));
      }
      default:
        throw new RpcRefused(-32601, `no method ${method}`);
    }
  };
}
