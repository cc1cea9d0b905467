/**
 * One command: what the application plane asked for in a row. Its id follows from the row's, so that a command runs once,
 * however often the inbox takes it; what it asks for runs under an id of its own, as the operator knows it. What an admin sends
 * to a custody migration is judged by the signer first; the migration itself is only told that something arrived.
 */
import {
  CancellationScope,
  executeChild,
  getExternalWorkflowHandle,
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
import type { CustodySigningActivities } from '../activities/signing/custody/create.ts';
import { TENANT_ID } from './attributes.ts';
import { custodyMigration, evidence, stop } from './custodyMigration.ts';
import { custodyId, onboardingId, SIGNING_QUEUE } from './ids.ts';
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

/** A verdict: the signer reads what arrived itself, against the time when it arrived. */
const { checkEvidence } = proxyActivities<CustodySigningActivities>({
  taskQueue: SIGNING_QUEUE,
  startToCloseTimeout: '30s',
  retry: { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '30s' },
  summary: 'The signer checks what arrived',
});

export async function command({ commandId, ask }: CommandInput): Promise<{ reason: string | null }> {
  setCurrentDetails(`Command **${commandId}**: ${ask.kind} of **${ask.tenantId}**.`);
  const reason = await outcome(commandId, ask);
  if (reason === 'left-to-the-migration') {
    setCurrentDetails(
      `Command **${commandId}**: ${ask.kind} of **${ask.tenantId}** is with its migration, which answers it.`,
    );
    return { reason: null };
  }
  // Also of one that was cancelled: whoever asked waits for an answer.
  await CancellationScope.nonCancellable(() => finishCommand({ commandId, reason }));
  setCurrentDetails(
    `Command **${commandId}**: ${ask.kind} of **${ask.tenantId}** ${reason === null ? 'is done' : `failed: ${reason}`}.`,
  );
  return { reason };
}

/** Null when it was done, else a fixed word. */
async function outcome(commandId: number, ask: Ask): Promise<string | null> {
  try {
    if (ask.kind === 'tenant.onboard') return await onboard(ask.tenantId);
    const verdict = await checkEvidence({ tenantId: ask.tenantId, commandId });
    if (!verdict.ok) return verdict.reason;
    switch (ask.kind) {
      case 'custody.passkey':
      case 'custody.passkey.remove': // a migration that rests on it hears of it at its next gate
      case 'custody.contact':
        return null;
      case 'custody.start':
        return await migrate(commandId, ask);
      case 'custody.approve':
        return await tell(() => getExternalWorkflowHandle(custodyId(ask.tenantId)).signal(evidence), null);
      case 'custody.veto':
      case 'custody.cancel': {
        const by = ask.kind === 'custody.veto' ? 'vetoed' : 'cancelled';
        return await tell(
          () => getExternalWorkflowHandle(custodyId(ask.tenantId)).signal(stop, by),
          'left-to-the-migration',
        );
      }
    }
  } catch (error) {
    if (error instanceof WorkflowExecutionAlreadyStartedError) {
      return ask.kind === 'custody.start' ? 'custody-active' : 'already-started';
    }
    if (!(error instanceof TemporalFailure)) throw error;
    return reasonOf(error instanceof ChildWorkflowFailure ? error.cause : error);
  }
}

async function onboard(tenantId: string): Promise<null> {
  await executeChild(tenantOnboarding, {
    workflowId: onboardingId(tenantId),
    // An onboarding that failed has undone itself and may be tried again; one that stands is never begun twice.
    workflowIdReusePolicy: WorkflowIdReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
    parentClosePolicy: ParentClosePolicy.ABANDON,
    args: [{ tenantId }],
    typedSearchAttributes: [{ key: TENANT_ID, value: tenantId }],
    staticSummary: `Onboarding of ${tenantId}`,
  });
  return null;
}

/** One migration of a tenant at a time, by its id. */
async function migrate(commandId: number, ask: Extract<Ask, { kind: 'custody.start' }>): Promise<null> {
  const { tenantId, migrationId } = ask;
  await executeChild(custodyMigration, {
    workflowId: custodyId(tenantId),
    parentClosePolicy: ParentClosePolicy.ABANDON,
    args: [{ tenantId, commandId, migrationId }],
    typedSearchAttributes: [{ key: TENANT_ID, value: tenantId }],
    staticSummary: `Custody migration of ${tenantId}`,
  });
  return null;
}

/** Tells a migration. @returns `told`, or that there is none under way */
async function tell<T>(signal: () => Promise<void>, told: T): Promise<T | 'no-migration'> {
  try {
    await signal();
    return told;
  } catch (error) {
    if (error instanceof CancelledFailure || !(error instanceof TemporalFailure)) throw error;
    return 'no-migration';
  }
}

/** The type of the failure at the bottom: an activity's failure has the one that counts as its cause. */
function reasonOf(failure: unknown): string {
  if (failure instanceof CancelledFailure) return 'cancelled';
  if (failure instanceof ApplicationFailure) return failure.type ?? 'failed';
  return failure instanceof TemporalFailure && failure.cause !== undefined ? reasonOf(failure.cause) : 'failed';
}
