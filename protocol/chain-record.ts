/**
 * What the contract has of one log, whole: every seal and every succession since a known state, as a line of events that ends
 * in the contract's own head. So nobody's word is taken for what exists, nor for what does not.
 */
import { keccak_256 } from '@noble/hashes/sha3.js';
import { claim, differingMember } from './anchored-event.ts';
import type { Hex } from './hex.ts';
import { fromHex, toHex } from './hex.ts';
import { eventsBetween, headTopics, isBefore, readState, stateAfter, type EventPlace } from './log-history.ts';
import type { Policy } from './policy.ts';
import type { ChainPosition } from './receipt.ts';
import { decodeHandoverAccepted, decodeSealed, readLogState, type LogState } from './registry.ts';
import type { Block, ChainReader } from './rpc.ts';
import { NO_HEAD } from './seal.ts';

/** A seal as the contract took it. */
export interface SealOnChain {
  readonly seq: number;
  readonly period: number;
  readonly treeSize: number;
  readonly root: Hex;
  readonly sealHash: Hex;
  readonly signer: Hex;
  readonly epoch: number;
  readonly place: ChainPosition;
}

/** A succession as the contract took it, and the head that it made. */
interface HandoverOnChain {
  readonly epoch: number;
  readonly handoverHash: Hex;
  readonly head: Hex;
  readonly signer: Hex;
  /** The last seal before it. */
  readonly seq: number;
  readonly place: ChainPosition;
}

export interface ChainRecord {
  /** By seq. */
  readonly seals: ReadonlyMap<number, SealOnChain>;
  /** By epoch. */
  readonly handovers: ReadonlyMap<number, HandoverOnChain>;
  /** Where the log stands after the last block. */
  readonly state: LogState;
  readonly latest: Block;
  readonly finalized: Block;
}

/** From where a log's events are followed. */
export interface RecordStart {
  readonly state: LogState;
  readonly place: EventPlace;
}

/** More than twenty years of hours. A node that tells of more is not believed: what it says has to be held. */
const MAX_EVENTS = 200_000;

/** A log that has no seal yet. */
export function unsealed(genesisSigner: Hex): LogState {
  return { signer: genesisSigner, epoch: 0, seq: 0, period: 0, treeSize: 0, head: NO_HEAD };
}

/**
 * Reads a log's record from a state on. The contract must be the policy's, by chain, address and code.
 * @throws CheckFailed when it is another, or when the events do not lead to the contract's own state; what the reader throws
 */
export async function readChainRecord(
  chain: ChainReader,
  { registry }: Policy,
  logId: Hex,
  start: RecordStart,
): Promise<ChainRecord> {
  const { contract } = registry;
  const chainId = await chain.chainId();
  claim(chainId === registry.chainId, `the RPC is of chain ${chainId}, the policy of chain ${registry.chainId}`);
  const [latest, finalized] = [await chain.block('latest'), await chain.block('finalized')];
  claim(latest !== null && finalized !== null, 'the chain has no finalized block yet');
  const code = await chain.code(contract, latest.number);
  claim(
    toHex(keccak_256(fromHex(code))) === registry.codeHash,
    "the code at the contract's address is not the policy's",
  );

  const seals = new Map<number, SealOnChain>();
  const handovers = new Map<number, HandoverOnChain>();
  let state = start.state;
  for await (const event of eventsBetween(chain, contract, headTopics(logId), start.place.blockNumber, latest.number)) {
    if (!isBefore(start.place, event)) continue;
    claim(seals.size + handovers.size < MAX_EVENTS, `the RPC tells of more than ${MAX_EVENTS} events of this log`);
    state = stateAfter(state, logId, event);
    const { txHash, blockNumber, blockHash, logIndex } = event;
    const place = { txHash, blockNumber, blockHash, logIndex };
    const { signer, epoch, seq, head } = state;
    const sealed = decodeSealed(event);
    if (sealed === undefined) {
      const { handoverHash } = decodeHandoverAccepted(event)!;
      handovers.set(epoch, { epoch, handoverHash, head, signer, seq, place });
    } else {
      const { period, treeSize, root } = sealed;
      seals.set(seq, { seq, period, treeSize, root, sealHash: head, signer, epoch, place });
    }
  }
  const { value: now, block } = await readState(chain, latest.number, (number) =>
    readLogState(chain, contract, logId, number),
  );
  claim(block === latest.number, `the RPC has no state after block ${latest.number}`);
  const differs = differingMember(
    now,
    state.seq === 0 && state.epoch === 0 ? { seq: 0, epoch: 0, head: NO_HEAD } : state,
  );
  claim(
    differs === undefined,
    `the events that the RPC tells of do not lead to the contract's own ${differs} for the log after block ${block}`,
  );
  return { seals, handovers, state, latest, finalized };
}

/** How many blocks are asked for at the same time. */
const AT_ONCE = 8;

/**
 * Times (Unix seconds) of the blocks that places name, by number.
 * @throws CheckFailed when a block is not the canonical one; what the reader throws
 */
export async function blockTimes(
  chain: ChainReader,
  places: readonly ChainPosition[],
): Promise<ReadonlyMap<number, number>> {
  const blocks = new Map(places.map(({ blockNumber, blockHash }) => [blockNumber, blockHash]));
  const times = new Map<number, number>();
  const waiting = [...blocks];
  const ask = async (): Promise<void> => {
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      const [number, hash] = next;
      const block = await chain.block(number);
      claim(block?.hash === hash, `block ${number} of the chain is not the one that the log's events name`);
      times.set(number, block.timestamp);
    }
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, waiting.length) }, ask));
  return times;
}
