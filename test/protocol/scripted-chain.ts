/**
 * A chain for one receipt, as JSON-RPC shows it: honest unless a test tampers with an answer. Events and call results
 * are encoded by viem from the contract's ABI, so the verifier's decoding is checked against it.
 */
import assert from 'node:assert/strict';
import { encodeAbiParameters, encodeEventTopics, encodeFunctionData, encodeFunctionResult, numberToHex } from 'viem';
import { registryAbi } from '../../contracts/registry-abi.ts';
import type { ChainPosition, Hex, Receipt, Rpc } from '../../protocol/index.ts';
import { RpcRefused } from '../../protocol/rpc.ts';
import { bytesOf, CODE, PERIOD, PERIOD_SECONDS, structHash } from './receipt-factory.ts';

/** Replaces answers: gets the call and the honest answer. */
export type Tamper = (method: string, params: readonly unknown[], honest: unknown) => unknown;

/** A log's state after some event. */
export interface State {
  readonly signer: Hex;
  readonly epoch: number;
  readonly seq: number;
  readonly period: number;
  readonly treeSize: number;
  readonly head: Hex;
}

interface ChainEvent {
  readonly position: ChainPosition;
  readonly topics: readonly (Hex | null)[];
  readonly data: Hex;
  readonly state: State | undefined;
}

export interface ScriptOptions {
  readonly tamper?: Tamper;
  /** Seals and handovers after the receipt's seal, in the blocks said. */
  readonly later?: readonly ({ readonly blockNumber: number } & ({ seal: true } | { handoverTo: Hex }))[];
  readonly finalized?: number;
  /** State of blocks before this one is refused, as a node does that no longer has it. */
  readonly stateFrom?: number;
  /** A range of more blocks is refused by eth_getLogs. */
  readonly maxRange?: number;
}

const UNKNOWN: State = {
  signer: `0x${'00'.repeat(20)}`,
  epoch: 0,
  seq: 0,
  period: 0,
  treeSize: 0,
  head: `0x${'00'.repeat(32)}`,
};

/** The words of an event: all its arguments, in order, with the indexed ones left to the topics. */
function dataOf(types: readonly string[], values: readonly unknown[]): Hex {
  return encodeAbiParameters(
    types.map((type) => ({ type })),
    values as unknown[],
  );
}

function sealedEvent(receipt: Receipt, position: ChainPosition, state: State, root: Hex): ChainEvent {
  const { seq, period, treeSize, head } = state;
  return {
    position,
    topics: encodeEventTopics({
      abi: registryAbi,
      eventName: 'Sealed',
      args: { logId: receipt.seal.logId, seq },
    }) as Hex[],
    data: dataOf(['uint64', 'uint48', 'bytes32', 'bytes32'], [BigInt(period), treeSize, root, head]),
    state,
  };
}

function acceptedEvent(
  receipt: Receipt,
  position: ChainPosition,
  state: State,
  terms: { handoverHash: Hex; from: Hex; custody: number },
): ChainEvent {
  const { handoverHash, from, custody } = terms;
  const args = { logId: receipt.seal.logId, epoch: state.epoch, handoverHash };
  return {
    position,
    topics: encodeEventTopics({ abi: registryAbi, eventName: 'HandoverAccepted', args }) as Hex[],
    data: dataOf(
      ['address', 'address', 'uint8', 'uint32', 'bytes32'],
      [from, state.signer, custody, state.seq, state.head],
    ),
    state,
  };
}

/** The events of a receipt's log, in order. Between an acceptance and what follows it, seals fill the missing seqs. */
function eventsOf(receipt: Receipt, options: ScriptOptions): ChainEvent[] {
  const { seal, anchor, handovers } = receipt;
  const events: ChainEvent[] = [];
  for (const { handover, accept, proposed, accepted } of handovers) {
    const { logId, epochTo, from, to, custody, expiresAt } = handover;
    const handoverHash = accept.handoverHash;
    const args = { logId, epochTo, handoverHash };
    events.push({
      position: proposed,
      topics: encodeEventTopics({ abi: registryAbi, eventName: 'HandoverProposed', args }) as Hex[],
      data: dataOf(
        ['address', 'address', 'uint8', 'uint64', 'uint64'],
        [from, to, custody, BigInt(PERIOD - 90_000), BigInt(expiresAt)],
      ),
      state: undefined,
    });
    const head = structHash('HandoverAccept', accept);
    const state = { signer: to, epoch: epochTo, seq: accept.seq, period: PERIOD - PERIOD_SECONDS, treeSize: 1, head };
    events.push(acceptedEvent(receipt, accepted, state, { handoverHash, from, custody }));
  }
  const { signer, epoch, seq, period, treeSize, root } = seal;
  let state: State = { signer, epoch, seq, period, treeSize, head: structHash('Seal', seal) };
  events.push(sealedEvent(receipt, anchor, state, root));
  let logIndex = anchor.logIndex;
  for (const next of options.later ?? []) {
    const { blockNumber } = next;
    logIndex += 2;
    const position = {
      txHash: bytesOf(`tx ${logIndex}`),
      blockNumber,
      blockHash: bytesOf(`block ${blockNumber}`),
      logIndex,
    };
    if ('seal' in next) {
      const statement = {
        logId: seal.logId,
        seq: state.seq + 1,
        period: state.period + PERIOD_SECONDS,
        treeSize: state.treeSize + 1,
        root: bytesOf(`root ${state.seq + 1}`),
        prev: state.head,
      };
      state = { ...state, ...statement, head: structHash('Seal', statement) };
      events.push(sealedEvent(receipt, position, state, statement.root));
    } else {
      const terms = { handoverHash: bytesOf(`handover ${state.epoch + 1}`), from: state.signer, custody: 1 };
      const statement = {
        logId: seal.logId,
        epochTo: state.epoch + 1,
        handoverHash: terms.handoverHash,
        seq: state.seq,
        head: state.head,
      };
      const head = structHash('HandoverAccept', statement);
      state = { ...state, epoch: statement.epochTo, signer: next.handoverTo, head };
      events.push(acceptedEvent(receipt, position, state, terms));
    }
  }
  return events;
}

/** Answers for one receipt. */
export function scriptedChain(receipt: Receipt, options: ScriptOptions = {}): Rpc {
  const {
    tamper = (_method, _params, honest) => honest,
    finalized = 2000,
    stateFrom = 0,
    maxRange = Infinity,
  } = options;
  const { contract, chainId } = receipt.registry;
  const events = eventsOf(receipt, options);
  const head = finalized + 20;

  const logOf = ({ position, topics, data }: ChainEvent) => ({
    address: contract,
    topics,
    data,
    blockNumber: numberToHex(position.blockNumber),
    blockHash: position.blockHash,
    transactionHash: position.txHash,
    transactionIndex: '0x0',
    logIndex: numberToHex(position.logIndex),
    removed: false,
  });
  const numberOf = (tag: unknown): number => {
    if (tag === 'finalized') return finalized;
    return tag === 'latest' ? head : Number(tag);
  };
  const stateAt = (tag: unknown): State => {
    const block = numberOf(tag);
    if (block < stateFrom) throw new RpcRefused(-32000, 'missing trie node');
    return (
      events.findLast(({ position, state }) => state !== undefined && position.blockNumber <= block)?.state ?? UNKNOWN
    );
  };
  const call = (data: unknown, tag: unknown): Hex => {
    const state = stateAt(tag);
    if (data === encodeFunctionData({ abi: registryAbi, functionName: 'PERIOD' })) {
      return encodeFunctionResult({ abi: registryAbi, functionName: 'PERIOD', result: PERIOD_SECONDS });
    }
    const asked = encodeFunctionData({ abi: registryAbi, functionName: 'logState', args: [receipt.seal.logId] });
    assert.equal(data, asked);
    const { signer, epoch, seq, period, treeSize } = state;
    return encodeFunctionResult({
      abi: registryAbi,
      functionName: 'logState',
      result: [signer, epoch, seq, BigInt(period), treeSize, state.head],
    });
  };

  const honestly = (method: string, params: readonly unknown[]): unknown => {
    const [first, second] = params;
    switch (method) {
      case 'eth_chainId':
        return numberToHex(chainId);
      case 'eth_getCode':
        stateAt(second);
        return first === contract ? CODE : '0x';
      case 'eth_getBlockByNumber': {
        const number = numberOf(first);
        const block = {
          number: numberToHex(number),
          hash: bytesOf(`block ${number}`),
          timestamp: numberToHex(PERIOD + number),
        };
        return number > head ? null : block;
      }
      case 'eth_getTransactionReceipt': {
        const own = events.filter(({ position }) => position.txHash === first);
        const [event] = own;
        if (event === undefined) return null;
        const { blockNumber, blockHash } = event.position;
        return {
          transactionHash: first,
          status: '0x1',
          blockNumber: numberToHex(blockNumber),
          blockHash,
          logs: own.map(logOf),
        };
      }
      case 'eth_call': {
        const { to, data } = first as { to: Hex; data: Hex };
        assert.equal(to, contract);
        return call(data, second);
      }
      case 'eth_getLogs': {
        const filter = first as { address: Hex; fromBlock: Hex; toBlock: Hex; topics: [Hex[], Hex] };
        assert.equal(filter.address, contract);
        assert.equal(filter.topics[1], receipt.seal.logId);
        const [from, to] = [Number(filter.fromBlock), Number(filter.toBlock)];
        if (to - from + 1 > maxRange) throw new RpcRefused(-32602, 'block range too large');
        return events
          .filter(({ position: { blockNumber } }) => blockNumber >= from && blockNumber <= to)
          .filter(({ topics: [topic] }) => typeof topic === 'string' && filter.topics[0].includes(topic))
          .map(logOf);
      }
      default:
        throw new RpcRefused(-32601, `no method ${method}`);
    }
  };
  return async (method, params) => tamper(method, params, honestly(method, params));
}
