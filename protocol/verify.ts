/**
 * Verifies a receipt (design section 8): every check in order, each with its own outcome. One that fails does not stop the
 * later ones, so that a report says everything that is wrong.
 */
import { checkAnchor, checkFinality, periodLengthOnChain } from './chain.ts';
import { CHECK_NAMES, CheckFailed, type Check, type CheckName, type Outcome } from './checks.ts';
import { notProvedBy, provedBy, type Evidence } from './findings.ts';
import { checkPolicy, policyLogOf } from './policy-check.ts';
import { parsePolicy, type Policy } from './policy.ts';
import {
  checkCommitment,
  checkHandovers,
  checkInclusion,
  checkLeaf,
  checkLogId,
  checkPeriod,
  checkSignature,
} from './receipt-checks.ts';
import { parseReceipt, parseReceiptText, type Receipt } from './receipt.ts';
import { passes, unreadReport, type Report } from './report.ts';
import { createChainReader, RpcMalformed, RpcRefused, RpcUnreachable, type ChainReader, type Rpc } from './rpc.ts';
import { FormatError } from './shape.ts';

export interface VerifyOptions {
  /** Answers JSON-RPC calls. Without it `anchor` and `finality` are waived. */
  readonly rpc?: Rpc;
  /** Waives `policy` when no policy is given. */
  readonly trustReceipt?: boolean;
  /** Waives `anchor` and `finality`, even when there is an `rpc`. */
  readonly offline?: boolean;
}

/** What became of a receipt. `anchoredAt`: time of the anchor's block, Unix seconds; null unless the anchor was proved. */
export interface Verification extends Report<CheckName> {
  readonly anchoredAt: number | null;
}

const NO_POLICY =
  'there is no policy to say whose log this is: anybody can register a log of their own under this origin. ' +
  'Give a policy, or say that the receipt itself is to be trusted';

/** Runs one check and turns what it throws into its outcome. What is none of these is a bug and goes on. */
async function outcomeOf(check: () => Promise<Outcome>): Promise<Outcome> {
  try {
    return await check();
  } catch (error) {
    if (error instanceof CheckFailed || error instanceof RpcMalformed)
      return { status: 'failed', detail: error.message };
    if (error instanceof RpcRefused) {
      return { status: 'failed', detail: `the RPC answered with an error (${error.code}): ${error.message}` };
    }
    if (error instanceof RpcUnreachable) {
      return { status: 'not-run', detail: `the RPC is unreachable: ${error.message}` };
    }
    throw error;
  }
}

/** A policy, null for none, or what is wrong with it. */
function readPolicy(value: unknown): Policy | null | FormatError {
  if (value === null) return null;
  try {
    return parsePolicy(value);
  } catch (error) {
    if (error instanceof FormatError) return error;
    throw error;
  }
}

function policyOutcome(receipt: Receipt, policy: Policy | null | FormatError, trustReceipt: boolean): Outcome {
  if (policy instanceof FormatError) throw new CheckFailed(`the policy is unusable: ${policy.message}`);
  if (policy !== null) return checkPolicy(receipt, policy);
  if (!trustReceipt) throw new CheckFailed(NO_POLICY);
  return { status: 'waived', detail: 'the receipt itself is trusted to name the right log and contract' };
}

/** Why nothing is asked of a chain, or the reader to ask. */
function chainOf({ rpc, offline }: VerifyOptions): ChainReader | string {
  if (offline === true) return 'offline: no chain was asked';
  return rpc === undefined ? 'no RPC was given: no chain was asked' : createChainReader(rpc);
}

/** The log's period length in seconds: the policy's, else the contract's, else not known. */
async function periodLengthOf(
  receipt: Receipt,
  policy: Policy | null,
  chain: ChainReader | string,
): Promise<number | undefined> {
  if (policy !== null) return policy.registry.periodSeconds;
  if (typeof chain === 'string') return undefined;
  return periodLengthOnChain(chain, receipt);
}

async function verify(read: () => Receipt, policyValue: unknown, options: VerifyOptions): Promise<Verification> {
  const givenPolicy = readPolicy(policyValue);
  const policy = givenPolicy instanceof FormatError ? null : givenPolicy;
  const chain = chainOf(options);
  const checks: Check[] = [];
  let rpcUnreachable = false;

  const run = async (name: CheckName, check: () => Outcome | Promise<Outcome>): Promise<void> => {
    const outcome = await outcomeOf(async () => {
      try {
        return await check();
      } catch (error) {
        if (error instanceof RpcUnreachable) rpcUnreachable = true;
        throw error;
      }
    });
    const forbidden = outcome.status === 'waived' && policy !== null && policy.require.includes(name);
    checks.push({
      name,
      status: forbidden ? 'failed' : outcome.status,
      detail: forbidden ? `the policy requires this check, but ${outcome.detail}` : outcome.detail,
    });
  };

  let receipt: Receipt;
  try {
    receipt = read();
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    return { ...unreadReport(CHECK_NAMES, 'a receipt', error.message), rpcUnreachable, anchoredAt: null };
  }
  const log = policyLogOf(policy, receipt);
  let evidence: Evidence = {};

  await run('format', () => ({ status: 'held', detail: receipt.format }));
  await run('policy', () => policyOutcome(receipt, givenPolicy, options.trustReceipt === true));
  await run('commitment', () => checkCommitment(receipt));
  await run('leaf', () => checkLeaf(receipt));
  await run('period', async () => {
    const periodLength = await periodLengthOf(receipt, policy, chain);
    if (periodLength !== undefined) evidence = { ...evidence, periodLength };
    return checkPeriod(receipt, periodLength);
  });
  await run('inclusion', () => checkInclusion(receipt));
  await run('log id', () => checkLogId(receipt));
  await run('signature', () => {
    const { checkpoint, ...outcome } = checkSignature(receipt, log);
    evidence = { ...evidence, checkpoint };
    return outcome;
  });
  await run('handovers', () => checkHandovers(receipt));
  await run('anchor', async () => {
    if (typeof chain === 'string') return { status: 'waived', detail: chain };
    const anchorBlock = await checkAnchor(chain, receipt, policy);
    evidence = { ...evidence, anchorBlock };
    return { status: 'held', detail: `the contract holds seal ${receipt.seal.seq} in block ${anchorBlock.number}` };
  });
  await run('finality', async () => {
    if (typeof chain === 'string') return { status: 'waived', detail: chain };
    const finalized = await checkFinality(chain, receipt);
    return {
      status: 'held',
      detail: `block ${receipt.anchor.blockNumber} is final: the finalized block is ${finalized.number}`,
    };
  });

  return {
    ok: passes(checks),
    checks,
    proved: provedBy(checks, receipt, log, evidence),
    notProved: notProvedBy(checks, receipt, log, evidence),
    rpcUnreachable,
    anchoredAt: evidence.anchorBlock?.timestamp ?? null,
  };
}

/**
 * Verifies a parsed receipt against a parsed policy (null for none). It reports; what it throws is a bug. An RPC that does
 * not answer leaves its checks `not-run` and sets `rpcUnreachable`; one that answers nonsense fails them. A policy that
 * breaks its own format fails the check `policy`.
 *
 * Without a policy the period's length comes from the contract when there is an `rpc`; without both, the entry's time is
 * only bounded by the longest period that exists, and the report says so.
 */
export async function verifyReceipt(
  receipt: unknown,
  policy: unknown,
  options: VerifyOptions = {},
): Promise<Verification> {
  return verify(() => parseReceipt(receipt), policy ?? null, options);
}

/**
 * As `verifyReceipt`, from the receipt's text: it also refuses duplicate names, which a parsed value no longer shows.
 * @throws NotJsonError when the text is not JSON at all.
 */
export async function verifyReceiptText(
  source: string,
  policy: unknown,
  options: VerifyOptions = {},
): Promise<Verification> {
  return verify(() => parseReceiptText(source), policy ?? null, options);
}
