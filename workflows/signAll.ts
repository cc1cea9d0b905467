/**
 * KMS-sign, as a seal sees it: every unsigned seal of the log in order. An absent signer is waited for, a key that refuses is
 * shown and tried again calmly, both for one period at most; the next seal catches up.
 */
import { ActivityFailure, proxyActivities, sleep, TimeoutFailure, upsertSearchAttributes } from '@temporalio/workflow';
import { ApplicationFailure } from '@temporalio/common';
import type { LogActivities } from '../activities/log/create.ts';
import type { BlockedReason } from '../activities/signing/blocked.ts';
import type { SigningActivities } from '../activities/signing/create.ts';
import { LEVEL } from './attributes.ts';
import { SEALING_QUEUE, SIGNING_QUEUE } from './ids.ts';

/** Why a seal was not signed within a period. */
export interface Unsigned {
  level: 'awaiting-signer' | 'signing-blocked';
  /** For the operator, a part of a sentence. */
  why: string;
}

/** Seals that one activity signs: an outage's worth in few steps, each well within its time. */
const SIGN_AT_ONCE = 50;

/** A key that refused is tried again this calmly, at most: a person has to put it right first. */
const TRY_BLOCKED_KEY_SECONDS = 300;

/** What of a signer's failures no retry by itself changes: the key has to be put right. */
const BLOCKING: Readonly<Record<BlockedReason, string>> = {
  'kms-refused': 'KMS refuses the key: it is disabled, pending deletion, or gone',
  'kms-denied': 'KMS denies access: the key policy or IAM has changed',
  'policy-drift': "the key's policy differs from the template",
  'foreign-signature': "KMS answers with a signature that is not this log's key's",
};

const retry = { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '60s' } as const;

/** A read. */
const { unsignedSeals } = proxyActivities<LogActivities>({
  taskQueue: SEALING_QUEUE,
  startToCloseTimeout: '10s',
  retry,
  summary: 'Which seals have no signature yet',
});

/**
 * Signs what is open, in order. A key that refuses is shown at once and tried again calmly.
 * @returns null when all is signed, else why a signature did not come for one period. A refusal that no retry can change
 *   fails the workflow.
 */
export async function signAll(
  { tenantId, periodSeconds }: { tenantId: string; periodSeconds: number },
  throughSeq: number,
  say: (text: string) => void,
): Promise<Unsigned | null> {
  const deadline = Date.now() + periodSeconds * 1000;
  let blocked: Unsigned | null = null;
  for (let left = periodSeconds * 1000; ; left = deadline - Date.now()) {
    const unsigned = await signOpen(tenantId, throughSeq, left, say);
    if (unsigned === null) return null;
    // A last try that ran out of time is no news of a key that refused before.
    if (unsigned.level === 'awaiting-signer') return blocked ?? unsigned;
    blocked = unsigned;
    upsertSearchAttributes([{ key: LEVEL, value: 'signing-blocked' }]);
    say(`Seal ${throughSeq}: **signing is blocked**, ${unsigned.why}. An alert was raised.`);
    // Spread: what blocks one key may block all.
    const pause = Math.min(TRY_BLOCKED_KEY_SECONDS, periodSeconds) * 1000 * (0.5 + Math.random() / 2);
    if (Date.now() + pause >= deadline) return unsigned;
    await sleep(pause, { summary: 'The key refused; try again calmly' });
  }
}

/** One try to sign every unsigned seal up to `throughSeq`. */
async function signOpen(
  tenantId: string,
  throughSeq: number,
  withinMs: number,
  say: (text: string) => void,
): Promise<Unsigned | null> {
  const { signSeals } = proxyActivities<SigningActivities>({
    taskQueue: SIGNING_QUEUE,
    // A signer reads every new entry: a million take seconds, and it says how far it has come.
    startToCloseTimeout: '6h',
    heartbeatTimeout: '60s',
    scheduleToCloseTimeout: withinMs,
    retry: { ...retry, nonRetryableErrorTypes: Object.keys(BLOCKING) },
  });
  const open = await unsignedSeals({ tenantId, throughSeq });
  for (let from = 0; from < open.length; from += SIGN_AT_ONCE) {
    const seqs = open.slice(from, from + SIGN_AT_ONCE);
    const waiting = open.length - from;
    if (waiting > 1) say(`Seal ${throughSeq}: waiting for the signer, for whom ${waiting} seals wait by now.`);
    const what = seqs.length === 1 ? `seal ${seqs[0]}` : `seals ${seqs[0]} to ${seqs.at(-1)}`;
    try {
      await signSeals.executeWithOptions({ summary: `KMS-sign ${what}` }, [{ tenantId, seqs }]);
    } catch (error) {
      const unsigned = unsignedBecause(error, waiting);
      if (unsigned === null) throw error;
      return unsigned;
    }
  }
  return null;
}

/**
 * Nobody answered in time, or a signer answered, until time ran out, that it could not sign yet, or its key refused; null for
 * anything else.
 */
function unsignedBecause(error: unknown, waiting: number): Unsigned | null {
  if (!(error instanceof ActivityFailure)) return null;
  const { cause } = error;
  if (cause instanceof TimeoutFailure) return { level: 'awaiting-signer', why: 'the signer was away' };
  if (!(cause instanceof ApplicationFailure) || cause.nonRetryable === true) return null;
  const { type } = cause;
  return isBlocking(type)
    ? { level: 'signing-blocked', why: BLOCKING[type] }
    : { level: 'awaiting-signer', why: `the last failure was ${type}; ${waiting} seals wait` };
}

function isBlocking(type: string | null | undefined): type is BlockedReason {
  return typeof type === 'string' && Object.hasOwn(BLOCKING, type);
}
