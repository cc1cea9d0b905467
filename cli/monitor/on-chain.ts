/** What the chain says of one log since the last look: seals that are late or missing, signers that change, history that does not fit. */
import {
  blockTimes,
  CheckFailed,
  decodeHandoverCancelled,
  decodeHandoverProposed,
  eventsBetween,
  HANDOVER_CANCELLED_TOPIC,
  HANDOVER_PROPOSED_TOPIC,
  isBefore,
  periodAt,
  readChainRecord,
  sealBy,
  type ChainReader,
  type ChainRecord,
  type EventPlace,
  type HandoverProposedEvent,
  type Log,
  type LogState,
  type Policy,
  type PolicyLog,
} from '../../protocol/index.ts';
import type { Event, Finding } from './findings.ts';
import type { LogMemory, Tree } from './memory.ts';

export interface Watched {
  readonly policy: Policy;
  readonly log: PolicyLog;
  readonly logId: `0x${string}`;
}

/** A look at the chain. `record` is null when the chain's history does not fit: then nothing else can be judged by it. */
export interface ChainLook {
  readonly record: ChainRecord | null;
  readonly findings: readonly Finding[];
  readonly events: readonly Event[];
}

const timeOf = (seconds: number): string => new Date(seconds * 1000).toISOString().replace('.000Z', 'Z');

/** A node that tells of more between two looks is not believed. */
const MOST_PROPOSALS = 10_000;

/** A node whose newest block is this old holds something back, or has stopped. Base makes a block every two seconds. */
const BEHIND_SECONDS = 10 * 60;

/**
 * @param now Unix seconds, by the monitor's own clock
 * @throws RpcUnreachable, RpcRefused, RpcMalformed
 */
export async function lookOnChain(
  chain: ChainReader,
  watched: Watched,
  memory: LogMemory,
  now: number,
): Promise<ChainLook> {
  const { policy, logId } = watched;
  let record: ChainRecord;
  let events: Event[];
  try {
    record = await readChainRecord(chain, policy, logId, { state: memory.state, place: memory.place });
    events = [
      ...(await lateSeals(chain, watched, memory, record)),
      ...newSigners(watched, record),
      ...(await proposals(chain, watched, memory, record)),
    ];
  } catch (error) {
    if (!(error instanceof CheckFailed)) throw error;
    return {
      record: null,
      findings: [{ name: 'chain-differs', key: '', says: `${error.message}.`, facts: {} }],
      events: [],
    };
  }
  return { record, findings: [...overdue(watched, record), ...behind(record, now)], events };
}

/** The next seal was due before the newest block was made. Nothing is known of a log's first one: it begins when it likes. */
function overdue({ policy }: Watched, { state, latest }: ChainRecord): Finding[] {
  const { periodSeconds } = policy.registry;
  if (state.seq === 0) return [];
  const next = state.period + periodSeconds;
  if (latest.timestamp <= sealBy(next, periodSeconds)) return [];
  const missing = (periodAt(latest.timestamp, periodSeconds) - periodSeconds - state.period) / periodSeconds;
  return [
    {
      name: 'seal-overdue',
      key: String(next),
      says: `The seal of the period from ${timeOf(next)} was due by ${timeOf(sealBy(next, periodSeconds))} and is not on chain.`,
      facts: { period: next, seq: state.seq + 1, missing },
    },
  ];
}

function behind({ latest }: ChainRecord, now: number): Finding[] {
  if (now - latest.timestamp <= BEHIND_SECONDS) return [];
  const says = `The node's newest block, ${latest.number}, is of ${timeOf(latest.timestamp)}.`;
  return [{ name: 'rpc-behind', key: '', says, facts: { block: latest.number } }];
}

/** Seals that came after they were due. A log's past, before the first look, is left to `kiff verify`. */
async function lateSeals(
  chain: ChainReader,
  { policy }: Watched,
  { since }: LogMemory,
  { seals }: ChainRecord,
): Promise<Event[]> {
  if (since === null) return [];
  const { periodSeconds } = policy.registry;
  const fresh = [...seals.values()].filter(({ place }) => place.blockNumber > since);
  const times = await blockTimes(
    chain,
    fresh.map(({ place }) => place),
  );
  return fresh.flatMap(({ seq, period, place: { blockNumber, txHash } }): Event[] => {
    const at = times.get(blockNumber);
    const due = sealBy(period, periodSeconds);
    if (at === undefined || at <= due) return [];
    const says = `Seal ${seq} came at ${timeOf(at)}; it was due by ${timeOf(due)}.`;
    return [{ name: 'seal-late', key: String(seq), says, facts: { seq, period, txHash }, blockNumber }];
  });
}

/** Successions that the policy does not know of. */
function newSigners({ log }: Watched, { handovers }: ChainRecord): Event[] {
  return [...handovers.values()]
    .filter(({ epoch, signer }) => !log.succession?.some((entry) => entry.epoch === epoch && entry.signer === signer))
    .map(({ epoch, signer, seq, handoverHash, place: { blockNumber, txHash } }) => ({
      name: 'signer-changed',
      key: String(epoch),
      says: `Since seal ${seq} the log's signer is ${signer} (epoch ${epoch}).`,
      facts: { epoch, signer, afterSeq: seq, handoverHash, txHash },
      blockNumber,
    }));
}

/** Handovers that are on their way, before they take effect: whoever knows that one is wrong has until `eta` to say so. */
async function proposals(
  chain: ChainReader,
  { policy, logId }: Watched,
  { since, place }: LogMemory,
  { state, latest }: ChainRecord,
): Promise<Event[]> {
  const { contract } = policy.registry;
  const topics = [[HANDOVER_PROPOSED_TOPIC, HANDOVER_CANCELLED_TOPIC], logId];
  const told: Event[] = [];
  for await (const event of eventsBetween(chain, contract, topics, place.blockNumber, latest.number)) {
    if (!isBefore(place, event)) continue;
    if (told.length >= MOST_PROPOSALS) throw new CheckFailed('the RPC tells of more handovers than a log can have');
    const proposed = decodeHandoverProposed(event);
    // At the first look, of all that ever was on its way only what still is.
    const isPast =
      since === null && (proposed?.epochTo !== state.epoch + 1 || (proposed?.expiresAt ?? 0) < latest.timestamp);
    const news = proposed === undefined ? cancellation(event) : proposal(event, proposed);
    if (news !== undefined && !isPast) told.push(news);
  }
  return told;
}

function proposal(
  { blockNumber, txHash }: Log,
  { epochTo, handoverHash, to, eta, expiresAt }: HandoverProposedEvent,
): Event {
  return {
    name: 'handover-proposed',
    key: handoverHash,
    says: `${to} is to become the log's signer (epoch ${epochTo}), from ${timeOf(eta)} on.`,
    facts: { epochTo, signer: to, handoverHash, eta, expiresAt, txHash },
    blockNumber,
  };
}

function cancellation(event: Log): Event | undefined {
  const cancelled = decodeHandoverCancelled(event);
  if (cancelled === undefined) return undefined;
  const { epochTo, handoverHash, by } = cancelled;
  return {
    name: 'handover-cancelled',
    key: handoverHash,
    says: `A handover to epoch ${epochTo} was cancelled by ${by}.`,
    facts: { epochTo, handoverHash, by, txHash: event.txHash },
    blockNumber: event.blockNumber,
  };
}

/** The log at the end of a block that is final, from what was known before and the record that leads beyond it. */
export function finalStanding(memory: LogMemory, { seals, handovers, latest, finalized }: ChainRecord): LogMemory {
  let { place, state, sealed } = memory;
  const steps: { place: EventPlace; state: (before: LogState) => LogState; tree: Tree | null }[] = [
    ...Array.from(seals.values(), ({ seq, period, treeSize, root, sealHash, signer, epoch, place: at }) => ({
      place: at,
      state: () => ({ signer, epoch, seq, period, treeSize, head: sealHash }),
      tree: { size: treeSize, root },
    })),
    ...Array.from(handovers.values(), ({ epoch, signer, head, place: at }) => ({
      place: at,
      state: (before: LogState) => ({ ...before, signer, epoch, head }),
      tree: null,
    })),
  ];
  for (const step of steps.toSorted((a, b) => (isBefore(a.place, b.place) ? -1 : 1))) {
    if (step.place.blockNumber > finalized.number) break;
    place = { blockNumber: step.place.blockNumber, logIndex: step.place.logIndex };
    state = step.state(state);
    sealed = step.tree ?? sealed;
  }
  return { ...memory, since: memory.since ?? latest.number, place, state, sealed };
}
