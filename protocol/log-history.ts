/**
 * A log's history as the contract tells it: its state after a block, and the events that lead from one state to the next.
 * Every event is hashed into the head it makes, so a line of events that ends in the contract's own head is the true
 * one, whoever served it. That is why an ordinary node will do, which keeps only the last few minutes' states.
 */
import { claim } from './anchored-event.ts';
import { CheckFailed } from './checks.ts';
import { handoverAcceptHash } from './handover.ts';
import type { Hex } from './hex.ts';
import {
  decodeHandoverAccepted,
  decodeSealed,
  HANDOVER_ACCEPTED_TOPIC,
  SEALED_TOPIC,
  type LogState,
} from './registry.ts';
import { RpcRefused, RpcTooLarge, type ChainReader, type Log } from './rpc.ts';
import { sealHash } from './seal.ts';

/** A place in the chain's order of events. */
export interface EventPlace {
  readonly blockNumber: number;
  readonly logIndex: number;
}

/** Whether `a` comes before `b`. */
export function isBefore(a: EventPlace, b: EventPlace): boolean {
  return a.blockNumber < b.blockNumber || (a.blockNumber === b.blockNumber && a.logIndex < b.logIndex);
}

/** The place after everything in a block. */
export function endOf(blockNumber: number): EventPlace {
  return { blockNumber, logIndex: Number.POSITIVE_INFINITY };
}

/**
 * Reads state after `block` or, where the node refuses that (it no longer has it), after the finalized or the last block.
 * `block` of the answer says after which.
 * @throws RpcRefused, the first one, when the node refuses all of them.
 */
export async function readState<T>(
  chain: ChainReader,
  block: number,
  read: (block: number) => Promise<T>,
): Promise<{ readonly value: T; readonly block: number }> {
  try {
    return { value: await read(block), block };
  } catch (refusal) {
    if (!(refusal instanceof RpcRefused)) throw refusal;
    for (const tag of ['finalized', 'latest'] as const) {
      const later = await laterState(chain, tag, block, read);
      if (later !== undefined) return later;
    }
    throw refusal;
  }
}

async function laterState<T>(
  chain: ChainReader,
  tag: 'finalized' | 'latest',
  than: number,
  read: (block: number) => Promise<T>,
): Promise<{ readonly value: T; readonly block: number } | undefined> {
  try {
    const block = await chain.block(tag);
    if (block === null || block.number <= than) return undefined;
    return { value: await read(block.number), block: block.number };
  } catch (error) {
    if (error instanceof RpcRefused) return undefined;
    throw error;
  }
}

/** As `eth_getLogs` takes them: a list holds alternatives. */
type Topics = readonly (Hex | readonly Hex[])[];

/** The events that change a log's head. */
export const headTopics = (logId: Hex): Topics => [[SEALED_TOPIC, HANDOVER_ACCEPTED_TOPIC], logId];

/** Requests that one walk may take: 10,000 ranges of 500 blocks are four months of Base. */
const MAX_REQUESTS = 10_000;

/**
 * The contract's events with these topics in a range of blocks, as they come; halves a range that the node refuses as too large, or answers with too
 * much.
 * @throws CheckFailed when the node allows too few blocks a request; what the reader throws
 */
export async function* eventsBetween(
  chain: ChainReader,
  contract: Hex,
  topics: Topics,
  from: number,
  to: number,
): AsyncGenerator<Log> {
  let width = to - from + 1;
  for (let next = from, requests = 0; next <= to; requests++) {
    claim(
      requests < MAX_REQUESTS,
      `the RPC allows too few blocks a request to read the log's events up to block ${to}`,
    );
    const end = Math.min(to, next + width - 1);
    let events: readonly Log[];
    try {
      events = await chain.logs(contract, topics, next, end);
    } catch (error) {
      if (!(error instanceof RpcRefused || error instanceof RpcTooLarge) || end === next) throw error;
      width = Math.ceil((end - next + 1) / 2);
      continue;
    }
    yield* events;
    next = end + 1;
  }
}

/** The state after one more event; CheckFailed when the event cannot follow. */
export function stateAfter(state: LogState, logId: Hex, log: Log): LogState {
  const where = `event ${log.logIndex} of block ${log.blockNumber}`;
  const sealed = decodeSealed(log);
  if (sealed !== undefined) {
    const { seq, period, treeSize, root } = sealed;
    claim(sealed.logId === logId && seq === state.seq + 1, `${where} is not the log's next seal`);
    return {
      ...state,
      seq,
      period,
      treeSize,
      head: sealHash({ logId, seq, period, treeSize, root, prev: state.head }),
    };
  }
  const accepted = decodeHandoverAccepted(log);
  if (accepted === undefined) throw new CheckFailed(`${where} is neither a seal nor an accepted handover`);
  const { epoch, from, to, handoverHash } = accepted;
  claim(accepted.logId === logId && epoch === state.epoch + 1, `${where} is not the log's next handover`);
  claim(from === state.signer, `by ${where} the log's signer was ${from}, not ${state.signer}`);
  const accept = { logId, epochTo: epoch, handoverHash, seq: state.seq, head: state.head };
  return { ...state, epoch, signer: to, head: handoverAcceptHash(accept) };
}

/**
 * Follows the log's events between two places (neither included) from a known state; returns the state they lead to.
 * @throws CheckFailed when one does not follow the one before, or what the reader throws.
 */
export async function followLog(
  chain: ChainReader,
  log: { readonly contract: Hex; readonly logId: Hex },
  state: LogState,
  span: { readonly after: EventPlace; readonly before: EventPlace },
): Promise<LogState> {
  const { contract, logId } = log;
  let reached = state;
  for await (const event of eventsBetween(
    chain,
    contract,
    headTopics(logId),
    span.after.blockNumber,
    span.before.blockNumber,
  )) {
    if (isBefore(span.after, event) && isBefore(event, span.before)) reached = stateAfter(reached, logId, event);
  }
  return reached;
}
