/** What the parts of a custody migration share: its facts, what it tells the operator and the tenant, and how it fails. */
import { custodyName } from './attributes.ts';
import { setCurrentDetails, upsertSearchAttributes } from '@temporalio/workflow';
import {
  ActivityFailure,
  ApplicationFailure,
  CancelledFailure,
  TemporalFailure,
  TimeoutFailure,
} from '@temporalio/common';
import type { CustodyStep, OpenedMigration, StepProof } from '../activities/custody/create.ts';
import { LEVEL } from './attributes.ts';
import { noteStep } from './custodyActivities.ts';
import type { Told } from './custodyChain.ts';

export interface Saga extends OpenedMigration {
  tenantId: string;
  migrationId: string;
  told: Told;
  /** Registered before the step that it undoes. */
  undo: Undo[];
  /** The step that it is at. */
  at: CustodyStep;
  newSigner: string | null;
  /** The acceptance is signed, as far as we know. */
  accepted: boolean;
}

interface Undo {
  step: CustodyStep;
  /** @returns `forward` when it found that the acceptance is signed: nothing is undone then */
  run: () => Promise<void | 'forward'>;
}

/** What the activities are asked by: ids only. */
export const ids = ({ tenantId, migrationId }: Saga) => ({ tenantId, migrationId });

/** What the operator reads: which migration it is, and in one sentence what it waits for. */
export function say(saga: Saga, text: string): void {
  const { tenantId, custodyBefore, custody, epochTo } = saga;
  setCurrentDetails(
    `**${tenantId}**: custody from ${custodyName(custodyBefore)} to ${custodyName(custody)}, epoch ${epochTo}\n\n${text}`,
  );
}

/**
 * Takes a step: says so to the operator, and writes for the tenant when it begins and what came of it.
 * @param sentence what it waits for, for whom, until when
 */
export async function takeStep(
  saga: Saga,
  step: CustodyStep,
  sentence: string,
  run: () => Promise<StepProof>,
): Promise<void> {
  saga.at = step;
  upsertSearchAttributes([{ key: LEVEL, value: step }]);
  say(saga, sentence);
  await note(saga, step, 'begun');
  await note(saga, step, 'done', await run());
}

/** Writes how a step goes where the tenant reads it. */
export function note(
  { migrationId }: Saga,
  step: CustodyStep,
  state: 'begun' | 'waiting' | 'done' | 'failed' | 'undone',
  proof?: StepProof,
): Promise<void> {
  return noteStep.executeWithOptions({ summary: `${step}: ${state}` }, [
    { migrationId, step, state, ...(proof && { proof }) },
  ]);
}

/** Ends the way through the gates: the migration is undone for this reason, a fixed word. */
export function refuse(reason: string): ApplicationFailure {
  return ApplicationFailure.nonRetryable('The migration cannot go on; it is undone.', reason);
}

/** The fixed word for a failure: its type at the bottom. */
export function reasonOf(failure: unknown): string {
  if (failure instanceof CancelledFailure) return 'cancelled';
  if (failure instanceof TimeoutFailure) return 'timed-out';
  if (failure instanceof ApplicationFailure) return failure.type ?? 'failed';
  return failure instanceof TemporalFailure && failure.cause !== undefined ? reasonOf(failure.cause) : 'failed';
}

/** An activity did not get through in its time, and another try may: nobody answered, or what answered could not yet. */
export function mayComeLater(error: unknown): boolean {
  if (!(error instanceof ActivityFailure)) return false;
  const { cause } = error;
  return cause instanceof TimeoutFailure || (cause instanceof ApplicationFailure && cause.nonRetryable !== true);
}
