/**
 * Verifies a promise: that it was made, and with the record's receipt whether it was kept. A promise that was made and not
 * kept is evidence against the operator: a failed `leaf` or `kept` beside a `signature` that held is what shows it.
 */
import { CheckFailed, held, type Check, type Outcome } from './checks.ts';
import { leafHash } from './entry.ts';
import { timeOf } from './findings.ts';
import { periodEnd } from './period.ts';
import type { Policy } from './policy.ts';
import { parsePromiseText, verifyPromise, type SealPromise } from './promise.ts';
import { parseReceiptText } from './receipt.ts';
import { passes, runCheck, unreadReport, type Report } from './report.ts';
import { FormatError } from './shape.ts';
import { verifyReceiptText, type Verification, type VerifyOptions } from './verify.ts';

/** In order. Names are stable, as those of a receipt's checks. */
export const PROMISE_CHECK_NAMES = ['format', 'policy', 'signature', 'receipt', 'leaf', 'kept'] as const;

export type PromiseCheckName = (typeof PROMISE_CHECK_NAMES)[number];

export interface PromiseOptions extends Pick<VerifyOptions, 'rpc' | 'offline'> {
  /** The text of the record's receipt; without it only the promise itself is verified. */
  readonly receipt?: string;
}

const NO_RECEIPT: Outcome = { status: 'waived', detail: "the record's receipt was not given" };

function checkPolicy({ origin }: SealPromise, policy: Policy): Outcome {
  if (!policy.logs.some((log) => log.origin === origin)) {
    throw new CheckFailed(`the policy does not know the log ${origin}`);
  }
  return held(`the policy knows ${origin}`);
}

function checkSignature(promise: SealPromise, policy: Policy): Outcome {
  const keys = policy.logs.filter((log) => log.origin === promise.origin).flatMap((log) => log.promiseKeys ?? []);
  if (keys.length === 0) throw new CheckFailed('the policy names no key that promises of this log are signed with');
  const key = keys.find((candidate) => verifyPromise(promise, candidate));
  if (key === undefined) throw new CheckFailed("it is signed by none of the policy's promise keys");
  return held(`signed with the key ${key}`);
}

function checkReceipt({ ok, checks, rpcUnreachable }: Verification): Outcome {
  const named = (status: string): string =>
    checks
      .filter((check) => check.status === status)
      .map(({ name }) => name)
      .join(', ');
  if (ok) {
    const waived = named('waived');
    return held(waived === '' ? 'every check of it held' : `it holds, without ${waived}`);
  }
  const failed = named('failed');
  if (failed !== '') throw new CheckFailed(`it does not hold: ${failed}`);
  const reason = rpcUnreachable ? ': the RPC is unreachable' : '';
  return { status: 'not-run', detail: `not run were ${named('not-run')}${reason}` };
}

/** Whether the receipt is of the promised place, and what stands there is what was promised. */
function checkLeaf(promise: SealPromise, receiptText: string): Outcome {
  const receipt = parseReceiptText(receiptText);
  const { origin, leafIndex } = promise;
  if (receipt.origin !== origin) throw new CheckFailed(`the receipt is of the log ${receipt.origin}, not of ${origin}`);
  if (receipt.leafIndex !== leafIndex) {
    throw new CheckFailed(`the receipt is of leaf ${receipt.leafIndex}; leaf ${leafIndex} was promised`);
  }
  if (leafHash(receipt.entry) !== promise.leafHash) {
    throw new CheckFailed(`leaf ${leafIndex} of the log is another one than was promised`);
  }
  return held(`leaf ${leafIndex} of the log is the one that was promised`);
}

/**
 * Whether the seal came in time. What can be shown is when it stood on chain: that bounds the time of its signature from
 * above, and the end of its period from below.
 */
function checkKept(promise: SealPromise, policy: Policy, receiptText: string, anchoredAt: number | null): Outcome {
  const { seal } = parseReceiptText(receiptText);
  const { sealBy } = promise;
  const earliest = periodEnd(seal.period, policy.registry.periodSeconds);
  if (earliest > sealBy) {
    throw new CheckFailed(`sealed by ${timeOf(sealBy)} was promised, and its period lasted until ${timeOf(earliest)}`);
  }
  if (anchoredAt === null) {
    return { status: 'waived', detail: `no chain was asked whether the seal was there by ${timeOf(sealBy)}` };
  }
  if (anchoredAt > sealBy) {
    throw new CheckFailed(
      `sealed by ${timeOf(sealBy)} was promised; the seal is on chain since ${timeOf(anchoredAt)}, ${anchoredAt - sealBy} s later`,
    );
  }
  return held(`sealed by ${timeOf(sealBy)} was promised; the seal is on chain since ${timeOf(anchoredAt)}`);
}

function proved(
  promise: SealPromise,
  checks: readonly Check<PromiseCheckName>[],
): Pick<Report<string>, 'proved' | 'notProved'> {
  const has = (name: PromiseCheckName): boolean =>
    checks.some((check) => check.name === name && check.status === 'held');
  const { origin, leafIndex, leafHash: leaf, sealBy } = promise;
  const yes: string[] = [];
  const no: string[] = [];
  if (has('signature')) {
    yes.push(
      `It was promised that leaf ${leafIndex} of ${origin} is ${leaf}, and that it is sealed by ${timeOf(sealBy)}.`,
    );
  } else {
    no.push('That this was ever promised.');
  }
  if (has('receipt') && has('leaf')) yes.push(`Leaf ${leafIndex} of the log is that one.`);
  if (has('kept')) yes.push('The promise was kept.');
  else if (checks.some((check) => check.name === 'kept' && check.status !== 'failed')) {
    no.push('Whether the promise was kept.');
  }
  if (!has('leaf')) no.push('Which record it is about: its receipt shows that.');
  return { proved: yes, notProved: no };
}

/**
 * Verifies a promise's text (a promise, or an answer that carries one) against a policy. It reports; what it throws besides
 * NotJsonError is a bug.
 * @throws NotJsonError when the promise or the receipt is not JSON at all.
 */
export async function verifyPromiseText(
  source: string,
  policy: Policy,
  { receipt, ...options }: PromiseOptions = {},
): Promise<Report<PromiseCheckName>> {
  let promise: SealPromise;
  try {
    promise = parsePromiseText(source);
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    return unreadReport(PROMISE_CHECK_NAMES, 'a promise', error.message);
  }

  const checks: Check<PromiseCheckName>[] = [];
  const run = (name: PromiseCheckName, check: () => Outcome): void => runCheck(checks, name, check);
  /** Runs a check that needs what an earlier one established. */
  const runAfter = (needed: PromiseCheckName, name: PromiseCheckName, check: () => Outcome): void => {
    const before = checks.find((done) => done.name === needed);
    run(name, before?.status === 'held' ? check : () => ({ status: 'not-run', detail: `${needed} did not hold` }));
  };

  run('format', () => held('a promise'));
  run('policy', () => checkPolicy(promise, policy));
  run('signature', () => checkSignature(promise, policy));
  let rpcUnreachable = false;
  if (receipt === undefined) {
    for (const name of ['receipt', 'leaf', 'kept'] as const) run(name, () => NO_RECEIPT);
  } else {
    const verification = await verifyReceiptText(receipt, policy, options);
    rpcUnreachable = verification.rpcUnreachable;
    run('receipt', () => checkReceipt(verification));
    runAfter('receipt', 'leaf', () => checkLeaf(promise, receipt));
    runAfter('leaf', 'kept', () => checkKept(promise, policy, receipt, verification.anchoredAt));
  }
  return {
    ok: passes(checks),
    checks,
    ...proved(promise, checks),
    rpcUnreachable,
  };
}
