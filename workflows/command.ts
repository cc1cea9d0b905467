/**
 * One command: what the application plane asked for in a row. Its id follows from the row's, so that a command runs once,
 * however often the inbox takes it; what it asks for runs under an id of its own, as the operator knows it.
 */
import {
  CancellationScope,
  executeChild,
  ParentClosePolicy,
  proxyActivities,
  setCurrentDetails,
  WorkflowIdReusePolicy,
} from '@temporalio/workflow';
import {
  ApplicationFailure,
  CancelledFailure,
  ChildWorkflowFailure,
  TemporalFailure,
  WorkflowExecutionAlreadyStartedError,
} from '@temporalio/common';
import type { CommandActivities } from '../activities/commands/create.ts';
import type { Ask } from '../activities/commands/judge.ts';
import { TENANT_ID } from './attributes.ts';
import { onboardingId } from './ids.ts';
import { tenantOnboarding } from './tenantOnboarding.ts';

export interface CommandInput {
  /** The row's id. */
  commandId: number;
  ask: Ask;
}

/** Writes that find what an earlier try has done. */
const { finishCommand } = proxyActivities<CommandActivities>({
  startToCloseTimeout: '10s',
  retry: { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '30s' },
  summary: 'Tell the issuer what came of it',
});

export async function command({ commandId, ask }: CommandInput): Promise<{ reason: string | null }> {
  setCurrentDetails(`Command **${commandId}**: ${ask.kind} of **${ask.tenantId}**.`);
  const reason = await outcome(ask);
  // Also of one that was cancelled: whoever asked waits for an answer.
  await CancellationScope.nonCancellable(() => finishCommand({ commandId, reason }));
  setCurrentDetails(
    `Command **${commandId}**: ${ask.kind} of **${ask.tenantId}** ${reason === null ? 'is done' : `failed: ${reason}`}.`,
  );
  return { reason };
}

/** Null when it was done, else a fixed word. */
async function outcome(ask: Ask): Promise<string | null> {
  try {
    await executeChild(tenantOnboarding, {
      workflowId: onboardingId(ask.tenantId),
      // An onboarding that failed has undone itself and may be tried again; one that stands is never begun twice.
      workflowIdReusePolicy: WorkflowIdReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
      parentClosePolicy: ParentClosePolicy.ABANDON,
      args: [{ tenantId: ask.tenantId }],
      typedSearchAttributes: [{ key: TENANT_ID, value: ask.tenantId }],
      staticSummary: `Onboarding of ${ask.tenantId}`,
    });
    return null;
  } catch (error) {
    if (error instanceof WorkflowExecutionAlreadyStartedError) return 'already-started';
    if (!(error instanceof ChildWorkflowFailure)) throw error;
    return reasonOf(error.cause);
  }
}

/** The type of the failure at the bottom: an activity's failure has the one that counts as its cause. */
function reasonOf(failure: unknown): string {
  if (failure instanceof CancelledFailure) return 'cancelled';
  if (failure instanceof ApplicationFailure) return failure.type ?? 'failed';
  return failure instanceof TemporalFailure && failure.cause !== undefined ? reasonOf(failure.cause) : 'failed';
}
