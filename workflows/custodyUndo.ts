/** The way back, while there is one: what was done is undone in reverse, and nothing signed is forgotten while it lives. */
import { ActivityFailure } from '@temporalio/common';
import { hour } from './ids.ts';
import {
  answerStops,
  dropCustodyKey,
  endMigration,
  giveUp,
  handoverCancel,
  handoverStanding,
  nudgeWallet,
  tellCustodyStuck,
} from './custodyActivities.ts';
import { isAccepted, isDead, lookUntil } from './custodyChain.ts';
import { ids, note, reasonOf, say, type Saga } from './custodySaga.ts';

/**
 * Undoes the steps in reverse, and ends the migration. First it is given up in the directory, which every single undo asks. An undo that
 * fails is an alert, and what it left behind wants a person; the others are done.
 * @returns `forward` when the acceptance is signed: then nothing is undone any more
 */
export async function undoAll(saga: Saga, reason: string): Promise<'undone' | 'forward'> {
  const { tenantId, migrationId } = saga;
  say(saga, `Being undone (${reason}).`);
  await note(saga, saga.at, 'failed', { reason });
  if (!(await giveUp({ migrationId, reason }))) return 'forward';
  let stuck = '';
  for (const { step, run } of saga.undo.toReversed()) {
    try {
      if ((await run()) === 'forward') return 'forward';
      await note(saga, step, 'undone');
    } catch (error) {
      if (!(error instanceof ActivityFailure)) throw error;
      stuck = ` The undo of ${step} failed; what is left wants a person.`;
      await tellCustodyStuck.executeWithOptions({ summary: `Alert: the undo of ${step} failed` }, [{ tenantId, step }]);
    }
  }
  await endMigration({ migrationId, reason });
  await answerStops.executeWithOptions({ summary: 'Answer who wanted it stopped' }, [{ migrationId, reason: null }]);
  say(saga, `Undone (${reason}): the log's signer is \`${saga.fromSigner}\` as before.${stuck}`);
  return 'undone';
}

/** Takes the fresh key of ours away again. */
export const dropFreshKey = (saga: Saga): Promise<void> => dropCustodyKey(ids(saga));

/**
 * Kills a handover that may be signed: one of its keys signs the cancellation, and the chain makes it final. When neither key can be
 * called it lives until it expires, and so long this waits.
 * @returns `forward` when the new key has accepted
 */
export async function killHandover(saga: Saga): Promise<void | 'forward'> {
  const { tenantId, migrationId } = saga;
  try {
    if ((await handoverCancel(ids(saga))) === null) return undefined;
    await nudgeWallet();
  } catch (error) {
    if (!(error instanceof ActivityFailure)) throw error;
    if (reasonOf(error) === 'past-no-return') return 'forward';
    await tellCustodyStuck.executeWithOptions({ summary: 'Alert: the handover could not be cancelled' }, [
      { tenantId, step: 'hand-over' },
    ]);
  }
  const end = await lookUntil(
    saga.told,
    async () => {
      const standing = await handoverStanding({ tenantId, migrationId });
      if (isAccepted(standing)) return 'forward';
      if (standing !== null) {
        say(
          saga,
          `Being undone: waiting until the handover is cancelled on Base, or expires at ${hour(standing.expiresAt)}.`,
        );
      }
      return standing === null || isDead(standing) ? 'dead' : null;
    },
    { summary: 'The handover is not dead yet', slowest: 60 },
  );
  return end === 'forward' ? 'forward' : undefined;
}
