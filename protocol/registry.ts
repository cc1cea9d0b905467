/** What a verifier reads from SealRegistry: its events, `logState` and `PERIOD`, decoded strictly (design section 5). */
import { keccak_256 } from '@noble/hashes/sha3.js';
import { toHex, utf8, type Hex } from './hex.ts';
import { abiWords, wordAddress, wordHex, wordUint, type ChainReader, type Log } from './rpc.ts';

function topic(signature: string): Hex {
  return toHex(keccak_256(utf8(signature)));
}

function selector(signature: string): Hex {
  return toHex(keccak_256(utf8(signature)).subarray(0, 4));
}

/** First topics of the events. */
export const SEALED_TOPIC = topic('Sealed(bytes32,uint32,uint64,uint48,bytes32,bytes32)');
export const HANDOVER_PROPOSED_TOPIC = topic(
  'HandoverProposed(bytes32,uint32,bytes32,address,address,uint8,uint64,uint64)',
);
export const HANDOVER_ACCEPTED_TOPIC = topic(
  'HandoverAccepted(bytes32,uint32,bytes32,address,address,uint8,uint32,bytes32)',
);
export const HANDOVER_CANCELLED_TOPIC = topic('HandoverCancelled(bytes32,uint32,bytes32,address)');

const LOG_STATE = selector('logState(bytes32)');
const PERIOD = selector('PERIOD()');

/** A log's standing in the contract. `epoch` counts successions, `head` is the last Seal's or HandoverAccept's hash. */
export interface LogState {
  readonly signer: Hex;
  readonly epoch: number;
  readonly seq: number;
  readonly period: number;
  readonly treeSize: number;
  readonly head: Hex;
}

export interface SealedEvent {
  readonly logId: Hex;
  readonly seq: number;
  readonly period: number;
  readonly treeSize: number;
  readonly root: Hex;
  readonly sealHash: Hex;
}

export interface HandoverProposedEvent {
  readonly logId: Hex;
  readonly epochTo: number;
  readonly handoverHash: Hex;
  readonly from: Hex;
  readonly to: Hex;
  readonly custody: number;
  readonly eta: number;
  readonly expiresAt: number;
}

export interface HandoverAcceptedEvent {
  readonly logId: Hex;
  readonly epoch: number;
  readonly handoverHash: Hex;
  readonly from: Hex;
  readonly to: Hex;
  readonly custody: number;
  readonly seq: number;
  readonly head: Hex;
}

export interface HandoverCancelledEvent {
  readonly logId: Hex;
  readonly epochTo: number;
  readonly handoverHash: Hex;
  /** The key that cancelled. */
  readonly by: Hex;
}

/** The contract's view of a log at a block. All zero for a log that was never registered. */
export async function readLogState(chain: ChainReader, contract: Hex, logId: Hex, block: number): Promise<LogState> {
  const method = 'eth_call logState';
  const output = await chain.call(contract, `${LOG_STATE}${logId.slice(2)}`, block);
  const [signer = '', epoch = '', seq = '', period = '', treeSize = '', head = ''] = abiWords(method, output, 6);
  return {
    signer: wordAddress(method, signer),
    epoch: wordUint(method, epoch),
    seq: wordUint(method, seq),
    period: wordUint(method, period),
    treeSize: wordUint(method, treeSize),
    head: wordHex(head),
  };
}

/** The contract's period length in seconds. */
export async function readPeriodLength(chain: ChainReader, contract: Hex, block: number): Promise<number> {
  const method = 'eth_call PERIOD';
  const [length = ''] = abiWords(method, await chain.call(contract, PERIOD, block), 1);
  return wordUint(method, length);
}

/** The four topics and the data of an event, or undefined when the log is another event's. */
function partsOf(log: Log, firstTopic: Hex, topics: number, words: number): readonly string[] | undefined {
  if (log.topics[0] !== firstTopic || log.topics.length !== topics) return undefined;
  return [...log.topics.slice(1).map((item) => item.slice(2)), ...abiWords('an event', log.data, words)];
}

/** Decodes a Sealed event; undefined when the log is another event's. */
export function decodeSealed(log: Log): SealedEvent | undefined {
  const words = partsOf(log, SEALED_TOPIC, 3, 4);
  if (words === undefined) return undefined;
  const [logId = '', seq = '', period = '', treeSize = '', root = '', sealHash = ''] = words;
  const what = 'a Sealed event';
  return {
    logId: wordHex(logId),
    seq: wordUint(what, seq),
    period: wordUint(what, period),
    treeSize: wordUint(what, treeSize),
    root: wordHex(root),
    sealHash: wordHex(sealHash),
  };
}

/** Decodes a HandoverProposed event; undefined when the log is another event's. */
export function decodeHandoverProposed(log: Log): HandoverProposedEvent | undefined {
  const words = partsOf(log, HANDOVER_PROPOSED_TOPIC, 4, 5);
  if (words === undefined) return undefined;
  const [logId = '', epochTo = '', handoverHash = '', from = '', to = '', custody = '', eta = '', expiresAt = ''] =
    words;
  const what = 'a HandoverProposed event';
  return {
    logId: wordHex(logId),
    epochTo: wordUint(what, epochTo),
    handoverHash: wordHex(handoverHash),
    from: wordAddress(what, from),
    to: wordAddress(what, to),
    custody: wordUint(what, custody),
    eta: wordUint(what, eta),
    expiresAt: wordUint(what, expiresAt),
  };
}

/** Decodes a HandoverAccepted event; undefined when the log is another event's. */
export function decodeHandoverAccepted(log: Log): HandoverAcceptedEvent | undefined {
  const words = partsOf(log, HANDOVER_ACCEPTED_TOPIC, 4, 5);
  if (words === undefined) return undefined;
  const [logId = '', epoch = '', handoverHash = '', from = '', to = '', custody = '', seq = '', head = ''] = words;
  const what = 'a HandoverAccepted event';
  return {
    logId: wordHex(logId),
    epoch: wordUint(what, epoch),
    handoverHash: wordHex(handoverHash),
    from: wordAddress(what, from),
    to: wordAddress(what, to),
    custody: wordUint(what, custody),
    seq: wordUint(what, seq),
    head: wordHex(head),
  };
}

/** Decodes a HandoverCancelled event; undefined when the log is another event's. */
export function decodeHandoverCancelled(log: Log): HandoverCancelledEvent | undefined {
  const words = partsOf(log, HANDOVER_CANCELLED_TOPIC, 4, 1);
  if (words === undefined) return undefined;
  const [logId = '', epochTo = '', handoverHash = '', by = ''] = words;
  const what = 'a HandoverCancelled event';
  return {
    logId: wordHex(logId),
    epochTo: wordUint(what, epochTo),
    handoverHash: wordHex(handoverHash),
    by: wordAddress(what, by),
  };
}
