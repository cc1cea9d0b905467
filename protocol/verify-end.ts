/**
 * Verifies the statement that a log has ended, and says how receipts stand to it: which of the ended log's are covered by its
 * last good seal, and that a receipt of the next log continues nothing.
 */
import { CheckFailed, held, type Check, type Outcome } from './checks.ts';
import { parseEnd, placeAtEnd, relatePlaces, verifyEnd, type EndStatement, type PlaceInLog } from './ending.ts';
import { logId } from './logid.ts';
import type { Policy, PolicyLog } from './policy.ts';
import { parseReceiptText } from './receipt.ts';
import { passes, runCheck, unreadReport, type Report } from './report.ts';
import { sealHash } from './seal.ts';
import { verifyReceiptText, type Verification, type VerifyOptions } from './verify.ts';

/** In order. Names are stable, as those of a receipt's checks. */
export const END_CHECK_NAMES = ['format', 'policy', 'signature', 'receipts', 'last seal', 'discontinuity'] as const;

export type EndCheckName = (typeof END_CHECK_NAMES)[number];

export interface EndOptions extends Pick<VerifyOptions, 'rpc' | 'offline'> {
  /** Texts of receipts, of the log that ended and of the one that came after it. */
  readonly receipts?: readonly string[];
}

function endedLog({ origin, logId: id }: EndStatement, policy: Policy): PolicyLog {
  const named = policy.logs.filter((log) => log.origin === origin);
  const log = named.find(({ genesisSigner }) => logId(genesisSigner, origin) === id);
  if (log === undefined) {
    throw new CheckFailed(
      named.length === 0
        ? `the policy does not know the log ${origin}`
        : `the policy knows ${origin} with another genesis signer: the statement is about somebody else's log`,
    );
  }
  return log;
}

function checkSignature(note: string, end: EndStatement, policy: Policy): Outcome {
  const keys = endedLog(end, policy).checkpointKeys ?? [];
  if (keys.length === 0) throw new CheckFailed(`the policy names no key of the operator for ${end.origin}`);
  const key = keys.find((candidate) => verifyEnd(note, candidate) !== undefined);
  if (key === undefined) throw new CheckFailed("it is signed by none of the policy's checkpoint keys");
  return held(`signed by the operator with the key ${key}`);
}

function checkReceipts(verified: readonly Verification[]): Outcome {
  const bad = verified.find(({ checks }) => checks.some(({ status }) => status === 'failed'));
  if (bad !== undefined) {
    const failed = bad.checks.filter(({ status }) => status === 'failed').map(({ name }) => name);
    throw new CheckFailed(`receipt ${verified.indexOf(bad) + 1} does not hold: ${failed.join(', ')}`);
  }
  const open = verified.find(({ ok }) => !ok);
  if (open !== undefined) {
    return { status: 'not-run', detail: `receipt ${verified.indexOf(open) + 1}: the RPC is unreachable` };
  }
  return held(verified.length === 1 ? 'the receipt holds' : `all ${verified.length} receipts hold`);
}

/** Where the leaf of a receipt that holds was sealed. */
function placeOf(receiptText: string): PlaceInLog {
  const { origin, seal } = parseReceiptText(receiptText);
  return { origin, logId: seal.logId, seq: seal.seq, sealHash: sealHash(seal) };
}

function checkLastSeal(places: readonly PlaceInLog[], end: EndStatement): Outcome {
  const { last, origin } = end;
  const beyond = places.find((place) => placeAtEnd(place, end) === 'beyond-end');
  if (beyond !== undefined) {
    throw new CheckFailed(
      beyond.seq > last.seq
        ? `seal ${beyond.seq} of ${origin} lies beyond its end: its last good seal is ${last.seq}`
        : `seal ${beyond.seq} of ${origin} is not the last good one that the end names`,
    );
  }
  const before = places.filter((place) => placeAtEnd(place, end) === 'before-end');
  if (before.length === 0) return { status: 'waived', detail: `no receipt of ${origin} was given` };
  return held(`covered by the last good seal, ${last.seq}: ${before.map(({ seq }) => `seal ${seq}`).join(', ')}`);
}

function checkDiscontinuity(places: readonly PlaceInLog[], end: EndStatement): Outcome {
  const stray = places.find((place) => placeAtEnd(place, end) === 'elsewhere');
  if (stray !== undefined) {
    throw new CheckFailed(
      `${stray.origin} is neither the log that ended nor the one after it: the end says nothing of it`,
    );
  }
  const apart = places.some((a) => places.some((b) => relatePlaces(a, b, end) === 'discontinuity'));
  const { origin, successor, last, reason } = end;
  const where = `${origin} ended after seal ${last.seq} (${reason}); ${successor} begins anew and does not continue it`;
  return apart
    ? held(`DISCONTINUITY between the receipts: ${where}`)
    : { status: 'waived', detail: `not receipts of both logs were given; ${where}` };
}

function proved(
  end: EndStatement,
  checks: readonly Check<EndCheckName>[],
): Pick<Report<string>, 'proved' | 'notProved'> {
  const has = (name: EndCheckName): boolean => checks.some((check) => check.name === name && check.status === 'held');
  const { origin, successor, last, reason } = end;
  const notProved = [
    `That ${successor} continues ${origin}: nothing proves that, and nothing can.`,
    `What became of records that ${origin} took after its last good seal.`,
  ];
  if (!has('policy') || !has('signature')) return { proved: [], notProved: ['That the log has ended.', ...notProved] };
  return {
    proved: [
      `The operator says that ${origin} ended after seal ${last.seq} over ${last.treeSize} leaves, for the reason ${reason}.`,
    ],
    notProved: [`That the reason is true: it is the operator's word.`, ...notProved],
  };
}

/**
 * Verifies an end statement, a signed note's text, against a policy. It reports; what it throws besides NotJsonError is a bug.
 * @throws NotJsonError when a receipt is not JSON at all
 */
export async function verifyEndText(
  note: string,
  policy: Policy,
  { receipts = [], ...options }: EndOptions = {},
): Promise<Report<EndCheckName>> {
  let end: EndStatement;
  try {
    end = parseEnd(note);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return unreadReport(END_CHECK_NAMES, 'the end of a log', error.message);
  }

  const checks: Check<EndCheckName>[] = [];
  const run = (name: EndCheckName, check: () => Outcome): void => runCheck(checks, name, check);
  run('format', () => held('kiff.end/1'));
  run('policy', () => {
    endedLog(end, policy);
    return held(`the policy knows ${end.origin} with this log's genesis signer`);
  });
  run('signature', () => checkSignature(note, end, policy));

  const verified: Verification[] = [];
  for (const receipt of receipts) verified.push(await verifyReceiptText(receipt, policy, options));
  if (receipts.length === 0) {
    const none = { status: 'waived', detail: 'no receipt was given' } as const;
    for (const name of ['receipts', 'last seal', 'discontinuity'] as const) run(name, () => none);
  } else {
    run('receipts', () => checkReceipts(verified));
    const hold = checks.at(-1)?.status === 'held';
    const unproved: Outcome = { status: 'not-run', detail: 'receipts did not hold' };
    run('last seal', () => (hold ? checkLastSeal(receipts.map(placeOf), end) : unproved));
    run('discontinuity', () => (hold ? checkDiscontinuity(receipts.map(placeOf), end) : unproved));
  }
  return {
    ok: passes(checks),
    checks,
    ...proved(end, checks),
    rpcUnreachable: verified.some((verification) => verification.rpcUnreachable),
  };
}
