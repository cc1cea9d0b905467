/** What a migration waits for, in a sentence for the people whose key it is. */
import type { HandoverRecord, Migration, Step } from './migrations.ts';

export interface Standing {
  says: string;
  /** Whether a veto or a cancellation can still undo it: until the new key has signed that it accepts. */
  stoppable: boolean;
}

const at = (unixSeconds: number): string =>
  `${new Date(unixSeconds * 1000).toISOString().slice(0, 16).replace('T', ' ')} UTC`;

/** @param approvals how many different admins have approved, as far as is known here */
export function standingOf(
  migration: Migration,
  steps: readonly Step[],
  handover: HandoverRecord | undefined,
  approvals: number,
): Standing {
  const stoppable = migration.endedAt === null && migration.givenUp === null && (handover?.accept ?? null) === null;
  return { says: sentence(migration, steps, handover, approvals), stoppable };
}

function sentence(
  { outcome, reason, givenUp, approvalsExpireAt }: Migration,
  steps: readonly Step[],
  handover: HandoverRecord | undefined,
  approvals: number,
): string {
  if (outcome === 'completed') return 'The log has its new signer.';
  if (outcome === 'undone') return `It was undone (${words(reason)}); the log’s signer is who it was.`;
  if (givenUp !== null) {
    return handover?.fromSignature == null
      ? `It is being undone (${words(givenUp)}).`
      : `It is being undone (${words(givenUp)}); this waits until the signed handover is cancelled on chain for good, or expires.`;
  }
  switch (steps.at(-1)?.step) {
    case undefined:
    case 'identify':
      return 'The new key is being looked at; nobody has to do anything.';
    case 'authorise':
      return `It waits for two different admins to approve with their passkeys, until ${at(approvalsExpireAt)}; ${counted(approvals)} so far.`;
    case 'snapshot':
    case 'register':
      return 'The old key is being written down and the new one is being checked.';
    case 'prove':
      return `It waits for the new key to show that it can sign, until ${at(approvalsExpireAt)}.`;
    case 'trial':
      return 'The new key signs seals on trial, beside the old one; these count for nothing.';
    case 'hand-over':
      return 'Both keys sign the handover, the new one first.';
    case 'propose':
      return 'The handover is on its way to the chain; this waits until it is final there.';
    case 'cooling-off':
      return handover?.eta == null
        ? 'It cools off; everybody has been told, and any admin can stop it.'
        : `It cools off until ${at(handover.eta)}; everybody has been told, and any admin can stop it.`;
    case 'accept':
      return handover?.accept == null
        ? 'The last seals of the old key are being anchored; then the new key accepts, and nothing can be undone any more.'
        : 'The new key has accepted: from here on it only goes forward. The acceptance is on its way to the chain.';
    case 'final':
      return 'The acceptance is in a block; this waits until it is final.';
    case 'cut-over':
    case 'catch-up':
      return 'The new key signs what waited for it.';
    case 'disable-old-key':
      return 'The old key is being disabled.';
    case 'certificate':
      return 'The certificate is being made.';
    case 'retire-key':
      return 'The old key is disabled and will be deleted when its time of observation is over.';
  }
}

const words = (reason: string | null): string => (reason ?? 'stopped').replaceAll('-', ' ');

const counted = (approvals: number): string =>
  approvals === 0 ? 'nobody has' : approvals === 1 ? 'one has' : `${approvals} have`;
