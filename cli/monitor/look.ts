/** One look at one log: chain first, then what is published, then what is new since the last look. */
import {
  logId,
  RpcMalformed,
  RpcRefused,
  RpcUnreachable,
  unsealed,
  type ChainReader,
  type Policy,
  type PolicyLog,
} from '../../protocol/index.ts';
import { isLasting, type Event, type Finding } from './findings.ts';
import type { LogMemory, OpenFinding } from './memory.ts';
import { finalStanding, lookOnChain } from './on-chain.ts';
import { PublicLogUnreachable, type PublicLog } from './public-log.ts';
import { lookAtPublished } from './published.ts';

/** What is told: a finding that begins or ends, or something that happened. */
export interface Report {
  readonly time: string;
  readonly log: string;
  readonly finding: string;
  readonly state: 'open' | 'closed' | 'happened';
  readonly says: string;
  readonly facts: Finding['facts'];
}

export interface Sources {
  readonly chain: ChainReader;
  /** null when the chain alone is watched. */
  readonly published: PublicLog | null;
  readonly policy: Policy;
  readonly log: PolicyLog;
}

/** A log that was never looked at. */
export function unknownLog({ registry }: Policy, { genesisSigner }: PolicyLog): LogMemory {
  const place = { blockNumber: registry.fromBlock, logIndex: 0 };
  return {
    since: null,
    place,
    state: unsealed(genesisSigner),
    sealed: null,
    shown: null,
    ahead: [],
    told: [],
    open: [],
  };
}

/** @param now by the monitor's own clock */
export async function lookAt(
  { chain, published, policy, log }: Sources,
  memory: LogMemory,
  now: Date,
): Promise<{ memory: LogMemory; reports: Report[] }> {
  const id = logId(log.genesisSigner, log.origin);
  const findings: Finding[] = [];
  let events: readonly Event[] = [];
  let next = memory;
  try {
    const look = await lookOnChain(chain, { policy, log, logId: id }, memory, Math.floor(now.getTime() / 1000));
    findings.push(...look.findings);
    events = look.events;
    if (look.record !== null) {
      next = finalStanding(memory, look.record);
      if (published !== null) {
        const seen = await lookAtPublished(log, published, memory, look.record);
        findings.push(...seen.findings);
        next = { ...next, shown: seen.shown, ahead: seen.ahead };
      }
    }
  } catch (error) {
    const finding = unreachable(error);
    if (finding === null) throw error;
    findings.push(finding);
  }
  return tell(log.origin, memory, next, findings, events, now.toISOString());
}

function unreachable(error: unknown): Finding | null {
  if (error instanceof PublicLogUnreachable) {
    return { name: 'public-log-unreachable', key: '', says: `The published log: ${error.message}.`, facts: {} };
  }
  if (error instanceof RpcUnreachable || error instanceof RpcRefused || error instanceof RpcMalformed) {
    return { name: 'rpc-unreachable', key: '', says: `The RPC: ${error.message}.`, facts: {} };
  }
  return null;
}

/** While a source is away, what it would have said stays as it was. */
const UNKNOWN_WHILE: Readonly<Record<string, (name: string) => boolean>> = {
  'rpc-unreachable': () => true,
  'chain-differs': () => true,
  'public-log-unreachable': (name) =>
    name.startsWith('checkpoint') || name === 'not-an-extension' || name === 'public-log-behind',
};

const is =
  (open: OpenFinding) =>
  (finding: Finding): boolean =>
    finding.name === open.name && finding.key === open.key;

function tell(
  log: string,
  before: LogMemory,
  next: LogMemory,
  findings: readonly Finding[],
  events: readonly Event[],
  time: string,
): { memory: LogMemory; reports: Report[] } {
  const begun = findings.filter((finding) => !before.open.some((open) => is(open)(finding)));
  const blind = (name: string): boolean => findings.some((finding) => UNKNOWN_WHILE[finding.name]?.(name) === true);
  const ended = before.open.filter((open) => !findings.some(is(open)) && !isLasting(open.name) && !blind(open.name));
  const news = events.filter(({ name, key }) => !before.told.some((told) => told.key === `${name} ${key}`));
  const final = next.place.blockNumber;
  const told = [
    ...before.told,
    ...news.map(({ name, key, blockNumber }) => ({ key: `${name} ${key}`, blockNumber })),
  ].filter(({ blockNumber }) => blockNumber > final);
  return {
    memory: {
      ...next,
      told,
      open: [
        ...before.open.filter((open) => !ended.includes(open)),
        ...begun.map(({ name, key }) => ({ name, key, since: time })),
      ],
    },
    reports: [
      ...news.map(({ name, says, facts }) => report('happened', name, says, facts)),
      ...begun.map(({ name, says, facts }) => report('open', name, says, facts)),
      ...ended.map(({ name, since }) => report('closed', name, `No longer so; it was since ${since}.`, {})),
    ],
  };

  function report(state: Report['state'], finding: string, says: string, facts: Finding['facts']): Report {
    return { time, log, finding, state, says, facts };
  }
}
