/** Verifies a transparency-log proof of a record's leaf against a policy. It needs no chain, and proves the less for it. */
import { CheckFailed, held, type Check, type Outcome } from './checks.ts';
import { leafHash, parseEntry } from './entry.ts';
import { parseCheckpoint, verifyCheckpoint } from './note.ts';
import type { Policy, PolicyLog } from './policy.ts';
import { verifyInclusion } from './proof.ts';
import type { SignedSeal } from './receipt.ts';
import { passes, runCheck, unreadReport, type Report } from './report.ts';
import { parsePublishedCheckpoint, sealIsSigned } from './seal-line.ts';
import { parseTlogProof, type TlogProof } from './tlog-proof.ts';

/** In order. Names are stable, as those of a receipt's checks. */
export const TLOG_PROOF_CHECK_NAMES = ['format', 'policy', 'checkpoint', 'inclusion', 'seal'] as const;

export type TlogProofCheckName = (typeof TLOG_PROOF_CHECK_NAMES)[number];

function checkCheckpoint({ checkpoint }: TlogProof, { origin, checkpointKeys = [] }: PolicyLog): Outcome {
  if (checkpointKeys.length === 0) throw new CheckFailed(`the policy names no key of the operator for ${origin}`);
  const key = checkpointKeys.find((publicKey) => verifyCheckpoint(checkpoint, { origin, publicKey }) !== undefined);
  if (key === undefined) throw new CheckFailed("it is signed by none of the policy's checkpoint keys");
  return held(`signed by the operator with the key ${key}`);
}

function checkInclusion({ entry, leafIndex, inclusion, checkpoint }: TlogProof): Outcome {
  const { size: treeSize, root } = parseCheckpoint(checkpoint);
  if (!verifyInclusion({ leafHash: leafHash(entry), leafIndex, treeSize, inclusion, root })) {
    throw new CheckFailed("the path does not lead from the entry to the checkpoint's root");
  }
  return held(`leaf ${leafIndex} of ${treeSize}`);
}

/** Whether the checkpoint carries a seal of this log, good or bad. */
function carriesSealOf({ checkpoint }: TlogProof, log: PolicyLog): boolean {
  try {
    return parsePublishedCheckpoint(checkpoint, log).seal !== undefined;
  } catch (error) {
    if (error instanceof TypeError) return true;
    throw error;
  }
}

/** The line that carries the tenant's seal is ours and nobody must keep it; where it is, it has to be good. */
function checkSeal({ checkpoint }: TlogProof, log: PolicyLog, { registry }: Policy): Outcome {
  let seal: SignedSeal | undefined;
  try {
    ({ seal } = parsePublishedCheckpoint(checkpoint, log));
  } catch (error) {
    if (error instanceof TypeError) throw new CheckFailed(error.message);
    throw error;
  }
  if (seal === undefined) return { status: 'waived', detail: 'the checkpoint carries no seal of this log' };
  if (!sealIsSigned(seal, registry, log.genesisSigner)) throw new CheckFailed('the seal is not signed by its signer');
  return held(`seal ${seal.seq}, signed by ${seal.signer}`);
}

/** Verifies a proof's text. It reports; what it throws is a bug. */
export function verifyTlogProofText(text: string, policy: Policy): Report<TlogProofCheckName> {
  let proof: TlogProof;
  try {
    proof = parseTlogProof(text);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return unreadReport(TLOG_PROOF_CHECK_NAMES, "a proof of a record's leaf", error.message);
  }
  const { origin } = parseCheckpoint(proof.checkpoint);
  // Anybody can register a log under an origin; the one that the checkpoint's seal is of comes first.
  const named = policy.logs.filter((each) => each.origin === origin);
  const log = named.find((each) => carriesSealOf(proof, each)) ?? named[0];
  const checks: Check<TlogProofCheckName>[] = [];
  const unknown: Outcome = { status: 'not-run', detail: 'the log is not known' };
  runCheck(checks, 'format', () => held(`c2sp.org/tlog-proof@v1 of record ${parseEntry(proof.entry).id}`));
  runCheck(checks, 'policy', () => {
    if (log === undefined) throw new CheckFailed(`the policy does not know the log ${origin}`);
    return held(`the policy knows ${origin}`);
  });
  runCheck(checks, 'checkpoint', () => (log === undefined ? unknown : checkCheckpoint(proof, log)));
  runCheck(checks, 'inclusion', () => checkInclusion(proof));
  runCheck(checks, 'seal', () => (log === undefined ? unknown : checkSeal(proof, log, policy)));
  const ok = passes(checks);
  const sealed = checks.some(({ name, status }) => name === 'seal' && status === 'held');
  return {
    ok,
    checks,
    proved: ok
      ? [
          `The operator signed a tree of ${origin} in which this entry is leaf ${proof.leafIndex}.`,
          ...(sealed ? ["The seal's signer, which the checkpoint names, signed the same tree."] : []),
        ]
      : [],
    notProved: [
      'What the record says: the proof does not hold it, and its receipt does.',
      'That the seal stands on chain, and since when it existed: its receipt shows it.',
      `That nobody was shown another log under the name ${origin}: whoever follows the log and the chain sees that.`,
    ],
    rpcUnreachable: false,
  };
}
