/**
 * Once per period, started by the schedule: finds the tenants and starts a seal for each.
 *
 * Which period it is comes from the time that the schedule meant, never from a clock, so that a late, caught-up or
 * backfilled run seals the period that it was meant for.
 */
import {
  continueAsNew,
  ParentClosePolicy,
  proxyActivities,
  setCurrentDetails,
  startChild,
  upsertSearchAttributes,
  WorkflowIdReusePolicy,
  workflowInfo,
} from '@temporalio/workflow';
import { ApplicationFailure, defineSearchAttributeKey, WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import type { LogActivities } from '../activities/log/create.ts';
import { LEVEL, PERIOD, TENANT_ID } from './attributes.ts';
import { hour, sealId } from './ids.ts';
import { seal } from './seal.ts';

export interface SealHourInput {
  /** P, seconds. */
  periodSeconds: number;
  /** The seals of one period start spread over this many seconds. */
  spreadSeconds: number;
  /** Set when a run continues as new: where it was. */
  resume?: { period: number; after: string; started: number };
}

/** Tenants started by one run; the next ones get a run (and a history) of their own. */
const TENANTS_PER_RUN = 1_000;
const PAGE = 100;

const SCHEDULED_START = defineSearchAttributeKey('TemporalScheduledStartTime', 'DATETIME');

/** Reads: retried for as long as it takes. */
const { listTenants } = proxyActivities<LogActivities>({
  startToCloseTimeout: '10s',
  retry: { initialInterval: '1s', maximumInterval: '30s' },
  summary: 'Read a page of active tenants',
});

export async function sealHour(input: SealHourInput): Promise<{ period: number; seals: number }> {
  const period = input.resume?.period ?? scheduledPeriod(input.periodSeconds);
  let after = input.resume?.after ?? '';
  let started = input.resume?.started ?? 0;
  upsertSearchAttributes([{ key: PERIOD, value: period }]);

  for (let here = 0; here < TENANTS_PER_RUN; here += PAGE) {
    const tenants = await listTenants({ after, limit: PAGE });
    for (const tenantId of tenants) started += await startSeal(tenantId, period, input);
    setCurrentDetails(`Period **${hour(period)}**: ${started} seals started.`);
    after = tenants.at(-1) ?? after;
    if (tenants.length < PAGE) return { period, seals: started };
  }
  return continueAsNew<typeof sealHour>({ ...input, resume: { period, after, started } });
}

/** The period that ended when the schedule meant this run to start. */
function scheduledPeriod(periodSeconds: number): number {
  const scheduled = workflowInfo().typedSearchAttributes.get(SCHEDULED_START);
  if (scheduled === undefined) {
    throw ApplicationFailure.nonRetryable('sealHour is started by its schedule only.', 'not-scheduled');
  }
  const seconds = Math.floor(scheduled.getTime() / 1000);
  return Math.floor(seconds / periodSeconds) * periodSeconds - periodSeconds;
}

/** One seal per tenant and period, ever: a second start (a schedule that fired twice, a backfill) finds the first. */
async function startSeal(tenantId: string, period: number, input: SealHourInput): Promise<0 | 1> {
  try {
    await startChild(seal, {
      workflowId: sealId(tenantId, period),
      workflowIdReusePolicy: WorkflowIdReusePolicy.REJECT_DUPLICATE,
      parentClosePolicy: ParentClosePolicy.ABANDON,
      args: [
        { tenantId, period, periodSeconds: input.periodSeconds, delaySeconds: delay(tenantId, input.spreadSeconds) },
      ],
      typedSearchAttributes: [
        { key: TENANT_ID, value: tenantId },
        { key: PERIOD, value: period },
        { key: LEVEL, value: 'accepted' },
      ],
      staticSummary: `Seal of ${tenantId}, ${hour(period)}`,
    });
    return 1;
  } catch (error) {
    if (error instanceof WorkflowExecutionAlreadyStartedError) return 0;
    throw error;
  }
}

/** A tenant's place in the spread: the same in every period, so that its seals stay a period apart. */
function delay(tenantId: string, spreadSeconds: number): number {
  let mixed = 0;
  for (const character of tenantId) mixed = (mixed * 31 + character.charCodeAt(0)) % 1_000_003;
  return spreadSeconds === 0 ? 0 : mixed % spreadSeconds;
}
