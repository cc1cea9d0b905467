/**
 * What should exist of a log, from the chain alone: every seal that the contract took, in order, and which periods since have
 * none. Whoever holds a bundle or a receipt can hold it against this list; nobody was asked but a node.
 */
import { Findings, type BundleCheckName, type Finding } from './bundle-findings.ts';
import { blockTimes, readChainRecord, unsealed, type ChainRecord, type SealOnChain } from './chain-record.ts';
import { CheckFailed, held, type Check, type Outcome } from './checks.ts';
import { timeOf } from './findings.ts';
import { logId } from './logid.ts';
import { sealBy } from './period.ts';
import type { Policy, PolicyLog } from './policy.ts';
import { passes, type Report } from './report.ts';
import { createChainReader, RpcMalformed, RpcRefused, RpcUnreachable, type Rpc } from './rpc.ts';

/** A subset of a bundle's checks, with the same meanings. */
export const LOG_CHECK_NAMES = [
  'policy',
  'anchor',
  'periods',
  'on time',
  'finality',
] as const satisfies BundleCheckName[];

export type LogCheckName = (typeof LOG_CHECK_NAMES)[number];

/** One seal as the chain has it. */
export interface ExpectedSeal extends SealOnChain {
  /** Of its block, Unix seconds. */
  readonly anchoredAt: number;
}

export interface LogReport extends Report<LogCheckName> {
  /** In order of seq; empty when the chain could not be read. */
  readonly seals: readonly ExpectedSeal[];
  readonly findings: readonly Finding[];
  readonly omitted: number;
}

/** @throws CheckFailed unless the policy names exactly one log with this origin */
function theLog(origin: string, policy: Policy): PolicyLog {
  const named = policy.logs.filter((log) => log.origin === origin);
  const [log, ...more] = named;
  if (log === undefined) throw new CheckFailed(`the policy does not know the log ${origin}`);
  if (more.length > 0) throw new CheckFailed(`the policy knows ${named.length} logs with the origin ${origin}`);
  return log;
}

/** The periods after the last seal that were promised by the last block's time, and are not there. */
function nameMissing({ state, latest }: ChainRecord, P: number, findings: Findings): void {
  if (state.seq === 0) return;
  const first = state.period + P;
  // `sealBy` of the n-th is first + n·P + 2·P.
  const count = Math.max(0, Math.ceil((latest.timestamp - first - 2 * P) / P));
  findings.addEach('periods', 'missing-period', count, (index) => {
    const period = first + index * P;
    return {
      detail: `the period ${timeOf(period)} has no seal, and one was promised by ${timeOf(sealBy(period, P))}`,
      period,
    };
  });
}

function judge(seals: readonly ExpectedSeal[], finalized: number, P: number, findings: Findings): void {
  for (const { seq, period, anchoredAt, place } of seals) {
    const promised = sealBy(period, P);
    if (anchoredAt > promised) {
      const detail = `seal ${seq} is on chain since ${timeOf(anchoredAt)}, ${anchoredAt - promised} s after ${timeOf(promised)}`;
      findings.add('on time', 'late', detail, { seq, period });
    }
    if (place.blockNumber > finalized) {
      findings.add('finality', 'not-final', `seal ${seq}: block ${place.blockNumber} is not final yet`, {
        seq,
        period,
      });
    }
  }
}

const numbered = (count: number, one: string): string => `${count} ${one}${count === 1 ? '' : 's'}`;

/** Lists a log's seals and names the periods that lack one. It reports; what it throws is a bug. */
export async function verifyLog(origin: string, policy: Policy, rpc: Rpc): Promise<LogReport> {
  const findings = new Findings();
  const P = policy.registry.periodSeconds;
  const chain = createChainReader(rpc);
  let seals: readonly ExpectedSeal[] = [];
  let trouble: { readonly name: LogCheckName; readonly outcome: Outcome } | undefined;
  let rpcUnreachable = false;
  let reached: LogCheckName = 'policy';
  try {
    const { genesisSigner } = theLog(origin, policy);
    reached = 'anchor';
    const id = logId(genesisSigner, origin);
    const place = { blockNumber: policy.registry.fromBlock, logIndex: -1 };
    const record = await readChainRecord(chain, policy, id, { state: unsealed(genesisSigner), place });
    const standing = [...record.seals.values()];
    const times = await blockTimes(
      chain,
      standing.map((seal) => seal.place),
    );
    seals = standing.map((seal) => ({ ...seal, anchoredAt: times.get(seal.place.blockNumber)! }));
    judge(seals, record.finalized.number, P, findings);
    nameMissing(record, P, findings);
  } catch (error) {
    if (error instanceof RpcUnreachable) {
      rpcUnreachable = true;
      trouble = { name: reached, outcome: { status: 'not-run', detail: `the RPC is unreachable: ${error.message}` } };
    } else if (error instanceof CheckFailed || error instanceof RpcMalformed || error instanceof RpcRefused) {
      trouble = { name: reached, outcome: { status: 'failed', detail: error.message } };
    } else {
      throw error;
    }
  }

  const outcome = (name: LogCheckName): Outcome => {
    if (trouble?.name === name) return trouble.outcome;
    if (trouble !== undefined && !(name === 'policy')) return { status: 'not-run', detail: 'the log was not read' };
    const found = findings.count(name);
    const first = findings.first(name)?.detail ?? '';
    if (found > 0) return { status: 'failed', detail: found === 1 ? first : `${found} findings; the first: ${first}` };
    return held(
      {
        policy: `the policy knows ${origin}`,
        anchor: `${numbered(seals.length, 'seal')}: the events lead to the contract’s own state`,
        periods: seals.length === 0 ? 'no period was sealed yet' : 'every period has its seal, up to those not yet due',
        'on time': 'every seal was on chain when it was promised',
        finality: 'every seal is final',
      }[name],
    );
  };
  const checks: Check<LogCheckName>[] = LOG_CHECK_NAMES.map((name) => ({ name, ...outcome(name) }));
  return {
    ok: passes(checks),
    checks,
    proved:
      trouble === undefined
        ? [`The contract holds ${numbered(seals.length, 'seal')} of ${origin}, and no others.`]
        : [],
    notProved: ['What the sealed trees hold: only a bundle or receipts show that.'],
    rpcUnreachable,
    seals,
    findings: findings.list,
    omitted: findings.omitted,
  };
}
