/**
 * A log's custody passes to another key (design section 7): identify → authorise → snapshot → register → prove → trial → hand over →
 * propose → cooling-off → accept → final → cut over → catch up → disable the old key → certificate.
 *
 * Up to the acceptance everything can be undone, and is: whoever stops it, whatever fails, whoever stays away. The signing of the
 * acceptance is the point of no return; from there only the handover's death on chain undoes, and everything else goes forward. The
 * workflow decides nothing that matters: the signer judges all evidence itself, and the chain says who signs.
 */
import {
  CancellationScope,
  defineSignal,
  condition,
  isCancellation,
  setHandler,
  upsertSearchAttributes,
} from '@temporalio/workflow';
import { ApplicationFailure, TemporalFailure } from '@temporalio/common';
import { CUSTODY, custodyName, TENANT_ID } from './attributes.ts';
import { answerStops, openMigration } from './custodyActivities.ts';
import { finish, follow } from './custodyForward.ts';
import { throughTheGates } from './custodyGates.ts';
import { reasonOf, say, type Saga } from './custodySaga.ts';
import { undoAll } from './custodyUndo.ts';

export interface CustodyMigrationInput {
  tenantId: string;
  /** The `custody.start` that asks for it. */
  commandId: number;
  /** That command's own word for it. */
  migrationId: string;
}

export interface CustodyMigrationResult {
  epoch: number;
}

/** Something arrived or changed: evidence of an admin, a word of the chain. It carries nothing; the workflow looks for itself. */
export const evidence = defineSignal('evidence');

/** An admin or the security contact wants it stopped, by the signer's word. Before the acceptance it is; later it is told so. */
export const stop = defineSignal<[Stop]>('stop');
export type Stop = 'vetoed' | 'cancelled';

export async function custodyMigration(input: CustodyMigrationInput): Promise<CustodyMigrationResult> {
  const told = { changed: false };
  const gates = new CancellationScope();
  const stops = { count: 0, first: null as Stop | null };
  setHandler(evidence, () => {
    told.changed = true;
  });
  setHandler(stop, (by) => {
    stops.count++;
    stops.first ??= by;
    gates.cancel();
  });

  // Not interrupted: a migration that was begun has to be ended.
  const { commandId, migrationId, tenantId } = input;
  const opened = await CancellationScope.nonCancellable(() =>
    openMigration.executeWithOptions({ summary: 'Begin the migration' }, [{ commandId }]),
  );
  upsertSearchAttributes([
    { key: TENANT_ID, value: tenantId },
    { key: CUSTODY, value: custodyName(opened.custody) },
  ]);
  const saga: Saga = { ...input, ...opened, told, undo: [], at: 'identify', newSigner: null, accepted: false };

  let failure: TemporalFailure | null = null;
  try {
    await gates.run(() => throughTheGates(saga));
  } catch (error) {
    if (!(error instanceof TemporalFailure)) throw error;
    // Also of an activity that was cancelled on its way, which says so in its cause.
    failure = stops.first !== null && isCancellation(error) ? stoppedBy(stops.first) : error;
  }

  // What is irreversible, and what undoes, is not interrupted by anybody.
  await CancellationScope.nonCancellable(async () => {
    for (;;) {
      if (failure !== null && (await undoAll(saga, reasonOf(failure))) === 'undone') throw failure;
      const answering = answerLate(migrationId, stops);
      const dead = await follow(saga);
      if (dead === null) await finish(saga);
      await answering.end();
      if (dead === null) return;
      failure = ApplicationFailure.nonRetryable('The handover died on chain before it was accepted.', dead);
    }
  });
  say(saga, `Done: the log's signer is \`${saga.newSigner}\` from epoch ${saga.epochTo} on.`);
  return { epoch: saga.epochTo };
}

function stoppedBy(by: Stop): ApplicationFailure {
  return ApplicationFailure.nonRetryable('The migration was stopped and undone.', by);
}

/** Beyond the point of no return whoever wants it stopped is told that it is too late, also who came just before. */
function answerLate(migrationId: string, stops: { count: number }): { end(): Promise<void> } {
  const state = { over: false };
  const answer = () => answerStops({ migrationId, reason: 'too-late' });
  const running = (async () => {
    for (let answered = 0; ;) {
      await condition(() => stops.count > answered || state.over);
      if (stops.count === answered) return;
      answered = stops.count;
      await answer();
    }
  })();
  return {
    async end() {
      state.over = true;
      await running;
    },
  };
}
