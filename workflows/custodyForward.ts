/** Beyond the point of no return: everything goes forward, and the chain says when it is done. */
import { ParentClosePolicy, startChild, WorkflowIdReusePolicy } from '@temporalio/workflow';
import { ActivityFailure, WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import type { CustodyStep, StepProof } from '../activities/custody/create.ts';
import { TENANT_ID } from './attributes.ts';
import { retireKeyId } from './ids.ts';
import { retireKey } from './retireKey.ts';
import {
  acceptWithin,
  certificate,
  disableOldKey,
  endMigration,
  handoverStanding,
  holdLog,
  learnSuccession,
  logStanding,
  nudgeWallet,
  signWithin,
  tellCustodyStuck,
  unsignedSeals,
} from './custodyActivities.ts';
import { isAccepted, isDead, lookUntil } from './custodyChain.ts';
import { ids, mayComeLater, note, reasonOf, say, takeStep, type Saga } from './custodySaga.ts';

const CLOUD = 1;
const FOR_THE_CHAIN = 30;
/** Seconds: how long a signer is asked at once. */
const ATTEMPT = 60;
/** Seals that one activity signs, as in a seal. */
const SIGN_AT_ONCE = 50;
const LAST_SEQ = 2 ** 24 - 1;

/**
 * Follows the acceptance until it is final, whoever sent it. If we do not know that it is signed, it is signed first: it may have been
 * begun.
 * @returns null when it is final, else how the handover died: only then is anything undone
 */
export async function follow(saga: Saga): Promise<'handover-cancelled' | 'handover-lapsed' | null> {
  let died: 'handover-cancelled' | 'handover-lapsed' | null = null;
  const sentence = `Waiting until the acceptance by \`${saga.newSigner}\` is final on Base. It cannot be undone any more.`;
  await takeStep(saga, 'final', sentence, async () => {
    await nudged();
    const standing = await lookUntil(
      saga.told,
      async () => {
        const seen = await handoverStanding(ids(saga));
        if (isAccepted(seen) || isDead(seen)) return seen;
        if (!saga.accepted && !seen?.accepted) await acceptAgain(saga);
        return null;
      },
      { summary: 'The acceptance is not final yet', slowest: FOR_THE_CHAIN },
    );
    if (isDead(standing)) died = standing?.lapsed === true ? 'handover-lapsed' : 'handover-cancelled';
    return { ...standing };
  });
  return died;
}

async function acceptAgain(saga: Saga): Promise<void> {
  try {
    await acceptWithin(ATTEMPT)(ids(saga));
    saga.accepted = true;
    await nudged();
  } catch (error) {
    if (!(error instanceof ActivityFailure)) throw error;
    // Refused for good means that the chain is about to say why.
    if (!mayComeLater(error)) saga.accepted = true;
  }
}

/** What follows from a final acceptance. A step that fails for good is an alert and wants a person; the next ones are taken. */
export async function finish(saga: Saga): Promise<void> {
  const { tenantId, migrationId, epochTo } = saga;
  await orTell(saga, 'cut-over', 'The directory learns who signs now.', async () => {
    const standing = await lookUntil(
      saga.told,
      async () => {
        const seen = await logStanding({ tenantId });
        return seen.epoch >= epochTo ? seen : null;
      },
      { summary: 'The directory has not cut over yet', slowest: FOR_THE_CHAIN },
    );
    const { epoch } = await learnSuccession({ tenantId });
    await holdLog.executeWithOptions({ summary: 'Let the log go on' }, [{ migrationId, hold: false }]);
    return { epoch, signedSeq: standing?.signedSeq };
  });
  await orTell(saga, 'catch-up', `The new signer \`${saga.newSigner}\` signs what was held back.`, () => catchUp(saga));
  if (saga.custodyBefore === CLOUD) {
    await orTell(saga, 'disable-old-key', 'The key administrator disables the old key.', async () => ({
      ...(await disableOldKey.executeWithOptions({ summary: 'Disable the old key; see that it refuses' }, [ids(saga)])),
    }));
  }
  await orTell(saga, 'certificate', 'The signer puts the certificate together.', async () => ({
    ...(await certificate(ids(saga))),
  }));
  await endMigration({ migrationId, reason: null });
  if (saga.custodyBefore === CLOUD) await retireLater(saga);
}

/** Signs the held seals at once. Who is away now is waited for by the seals themselves, as always. */
async function catchUp(saga: Saga): Promise<StepProof> {
  const { tenantId, periodSeconds } = saga;
  const open = await unsignedSeals({ tenantId, throughSeq: LAST_SEQ });
  try {
    for (let from = 0; from < open.length; from += SIGN_AT_ONCE) {
      const seqs = open.slice(from, from + SIGN_AT_ONCE);
      await signWithin(Math.max(periodSeconds, ATTEMPT)).executeWithOptions(
        { summary: `Sign ${seqs.length} held seals` },
        [{ tenantId, seqs }],
      );
    }
  } catch (error) {
    if (!mayComeLater(error)) throw error;
    return { held: open.length, level: 'awaiting-signer' };
  }
  await nudged();
  return { held: open.length };
}

/** The replaced key of ours is looked after by a workflow of its own. */
async function retireLater({ tenantId, migrationId, epochTo, policy, deleteOldKey }: Saga): Promise<void> {
  try {
    await startChild(retireKey, {
      workflowId: retireKeyId(tenantId, epochTo - 1),
      workflowIdReusePolicy: WorkflowIdReusePolicy.REJECT_DUPLICATE,
      parentClosePolicy: ParentClosePolicy.ABANDON,
      args: [{ tenantId, migrationId, observationSeconds: policy.observation, deleteOldKey }],
      typedSearchAttributes: [{ key: TENANT_ID, value: tenantId }],
      staticSummary: `Old key of ${tenantId}, epoch ${epochTo - 1}`,
    });
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
  }
}

async function orTell(saga: Saga, step: CustodyStep, sentence: string, run: () => Promise<StepProof>): Promise<void> {
  try {
    await takeStep(saga, step, sentence, run);
  } catch (error) {
    if (!(error instanceof ActivityFailure)) throw error;
    say(saga, `${step} failed; it wants a person. The migration goes on.`);
    await note(saga, step, 'failed', { reason: reasonOf(error) });
    await tellCustodyStuck.executeWithOptions({ summary: `Alert: ${step} failed` }, [
      { tenantId: saga.tenantId, step },
    ]);
  }
}

async function nudged(): Promise<void> {
  try {
    await nudgeWallet();
  } catch (error) {
    if (!(error instanceof ActivityFailure)) throw error; // the wallet finds it at its next look
  }
}
