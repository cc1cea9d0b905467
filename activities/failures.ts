/**
 * Every way an activity may fail, by name. The names are part of stored histories: they are added to, never renamed.
 * Texts are fixed sentences, so that nothing of a tenant's content can reach a history through an error; what varies is
 * put into `details`: numbers and hashes only.
 */
import { ApplicationFailure } from '@temporalio/common';

interface Kind {
  /** What the operator reads in the Temporal UI: what happened, and what to do. */
  readonly text: string;
  /** Set only where another try provably cannot succeed. */
  readonly final?: true;
}

const KINDS = {
  // Waits: the retry policy is the answer.
  'database-unavailable': { text: 'The database did not answer; it will be asked again.' },
  'chain-unavailable': { text: 'The Base RPC did not answer; it will be asked again.' },
  'kms-unavailable': { text: 'KMS did not answer or throttled; it will be asked again.' },
  'period-not-over': { text: 'The database clock says that the period is not over yet; the cut waits for it.' },
  'out-of-order': { text: 'An earlier seal of this log is not signed yet; this one waits for it.' },
  'log-unregistered': { text: 'The contract does not know this log yet; the anchoring worker registers it.' },
  'wallet-held': { text: 'Another run holds the relayer wallet; this one waits until its lease runs out.' },
  'key-observed': { text: "The replaced key's time of observation is not over; its deletion waits for that." },
  'custody-alive': { text: 'A signed handover of this migration is not dead yet; its end waits for that.' },
  'not-final': { text: 'What stands on chain for this log is not final yet; its end waits for that.' },
  'relayer-cannot-pay': { text: 'The node refused the transaction for lack of funds; fund the relayer.' },
  held: { text: 'An acceptance of this log is on its way to a final block; nothing new is signed before it stands.' },
  'acceptance-early': {
    text: 'The acceptance waits: the cooling-off is not over, the proposal not final, or a signed seal in no block yet.',
  },
  'handover-live': {
    text: 'Another handover to this epoch may still be accepted; this one waits until that is cancelled on chain or expired.',
  },
  unexpected: { text: 'An unexpected error; the worker log of this moment has it.' },
  // Wants a person, and goes on by itself once the cause is gone.
  'database-refuses-writes': { text: 'The database takes no writes: it is read-only, or its disk is full.' },
  'incarnation-differs': {
    text: 'The database is not the one that this process is configured for (a restored backup, a lost journal); nothing is read or written until `kiff recover` has compared it.',
  },
  'kms-refused': { text: 'KMS refused the key: disabled, pending deletion, or gone; ingest is not affected.' },
  'kms-denied': { text: 'KMS denied access: the key policy or IAM has changed; ingest is not affected.' },
  'policy-drift': { text: 'The key policy differs from the template; nothing is signed until it is put right.' },
  'foreign-signature': { text: "KMS answered with a signature that is not this log's key's; it was thrown away." },
  'signer-declined': {
    text: "The tenant's own signer declined to sign; why, it has said in the tenant's requests. It is asked again.",
  },
  'signer-absent': { text: "The log's key is the tenant's own, and we cannot call it; its seals wait for the tenant." },
  'chain-disagrees': { text: 'The Base RPC endpoints contradict each other; nothing is believed until they agree.' },
  // Facts that no retry changes: the log is frozen until a person has looked.
  'record-missing': {
    text: 'A stored record is missing: the index is in the details. Nothing was signed.',
    final: true,
  },
  'record-altered': {
    text: 'A stored record is not what its leaf says: the index is in the details. Nothing was signed.',
    final: true,
  },
  'tile-altered': {
    text: 'A stored tile is not what lies below it, or was sealed: its place is in the details. Nothing was signed.',
    final: true,
  },
  'seal-altered': {
    text: 'A stored seal is not what the records or the journal say: its seq is in the details. Nothing was signed.',
    final: true,
  },
  'seal-conflict': {
    text: 'The product database holds another signed statement for this seq. The journal has the true one.',
    final: true,
  },
  'root-conflict': { text: 'Another root stands for this seal already. Nothing was signed.', final: true },
  'statement-conflict': {
    text: 'The journal holds another statement for this seq; this one is refused for good.',
    final: true,
  },
  'not-an-extension': { text: "The tree does not extend the journal's last one; refused.", final: true },
  'database-behind': {
    text: 'Journal and chain hold another seal for this seq: the product database looks like an old backup; refused.',
    final: true,
  },
  'chain-ahead': { text: 'The chain is ahead of the journal: this looks like an old backup; refused.', final: true },
  'chain-differs': { text: 'The chain holds another seal or signer than the journal; refused.', final: true },
  diverged: {
    text: "A key that is the tenant's own has anchored what this journal has never stated; the log is frozen and can only end.",
    final: true,
  },
  'final-reorged': { text: 'A block that was final is no longer on the chain; the log is frozen.', final: true },
  'log-frozen': { text: 'The log is frozen; `kiff recover` says why, and the ways on.', final: true },
  'log-ended': { text: 'The log has ended; nothing is signed for it any more.', final: true },
  'end-not-ordered': {
    text: 'No operator has ordered this end, or it names another seal than the last good one; refused.',
    final: true,
  },
  'custody-refused': {
    text: 'The evidence does not suffice for this step of the migration; the signer signed nothing.',
    final: true,
  },
  'handover-dead': { text: 'This handover was cancelled or has expired; it cannot be accepted any more.', final: true },
  'past-no-return': { text: 'The acceptance was signed: the migration only goes forward from here.', final: true },
  'log-not-active': { text: 'The tenant has no active log.', final: true },
  'log-identity-conflict': { text: 'The tenant already has a log of another identity.', final: true },
  'tenant-in-use': {
    text: 'The tenant was active, or records or seals are there: nothing of it is taken away.',
    final: true,
  },
  'custody-active': { text: 'Another migration of this log is under way; there is one at a time.', final: true },
  'custody-stopped': {
    text: 'The migration was vetoed, cancelled or given up; nothing more is signed for it.',
    final: true,
  },
  'custody-conflict': { text: 'Another new signer stands for this migration; it is not replaced.', final: true },
  'key-in-use': { text: 'The database does not say that this key may go; it is left alone.', final: true },
  'seal-unknown': { text: 'There is no such seal to sign.', final: true },
  'foreign-nonce': {
    text: "The relayer's nonce was used by a transaction that is not ours; the wallet stops.",
    final: true,
  },
} as const satisfies Record<string, Kind>;

export type FailureType = keyof typeof KINDS;

/** Numbers and hashes that make a failure findable; never content. */
export type FailureDetails = Readonly<Record<string, number | `0x${string}`>>;

/** Makes the failure of one kind, with its fixed text. */
export function failure(type: FailureType, details?: FailureDetails): ApplicationFailure {
  const kind: Kind = KINDS[type];
  return ApplicationFailure.create({
    type,
    message: kind.text,
    nonRetryable: kind.final === true,
    ...(details ? { details: [details] } : {}),
  });
}

/** The kind of a failure made here; undefined for any other error. */
export function failureType(error: unknown): FailureType | undefined {
  return error instanceof ApplicationFailure && typeof error.type === 'string' && Object.hasOwn(KINDS, error.type)
    ? (error.type as FailureType)
    : undefined;
}

/** What must wake a person. The name is stable: alert rules match on it. */
export type Alert = (name: FailureType | AlertName, fields: Readonly<Record<string, string | number>>) => void;
type AlertName =
  | 'seal-refused'
  | 'handover-refused'
  | 'handover-unknown'
  | 'refused-after-simulation'
  | 'reorg'
  | 'anchor-unproved'
  | 'transaction-reverted'
  | 'fee-ceiling'
  | 'relayer-low'
  | 'undo-failed'
  | 'onboarding-given-up'
  | 'custody-stuck'
  | 'notice-undeliverable'
  | 'signer-answer-refused';
