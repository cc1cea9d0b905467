/** The one Schedule, and the search attributes that the UI searches by: seen to when the sealing worker starts. */
import { ScheduleAlreadyRunning, ScheduleOverlapPolicy, type Client, type ScheduleOptions } from '@temporalio/client';
import type { Pool } from 'pg';
import { SEARCH_ATTRIBUTES } from '../../workflows/attributes.ts';
import { SCHEDULE_ID, SEALING_QUEUE } from '../../workflows/ids.ts';
import type { sealHour } from '../../workflows/sealHour.ts';

/** temporal.api.enums.v1.IndexedValueType */
const INDEXED_VALUE_TYPE: Readonly<Record<'Keyword' | 'Int', number>> = { Keyword: 2, Int: 3 };

/** @throws Error that gives the commands which register what is missing */
export async function requireSearchAttributes(client: Client): Promise<void> {
  const namespace = client.options.namespace;
  const { customAttributes } = await client.connection.operatorService.listSearchAttributes({ namespace });
  const missing = Object.entries(SEARCH_ATTRIBUTES).filter(
    ([name, type]) => Number(customAttributes[name]) !== INDEXED_VALUE_TYPE[type],
  );
  if (missing.length === 0) return;
  const commands = missing.map(
    ([name, type]) =>
      `temporal operator search-attribute create --namespace ${namespace} --name ${name} --type ${type}`,
  );
  throw new Error(`search attributes are missing; register them with:\n${commands.join('\n')}`);
}

/**
 * Creates the Schedule, or brings it to what this version says. Overlap and catch-up are explicit: Temporal's defaults
 * skip a period while the last one runs, and forget what was missed a minute ago.
 */
export async function ensureSealSchedule(client: Client, periodSeconds: number, spreadSeconds: number): Promise<void> {
  const schedule = {
    spec: { intervals: [{ every: periodSeconds * 1000 }] },
    action: {
      type: 'startWorkflow',
      workflowType: 'sealHour',
      workflowId: SCHEDULE_ID,
      taskQueue: SEALING_QUEUE,
      args: [{ periodSeconds, spreadSeconds }] satisfies Parameters<typeof sealHour>,
      staticSummary: 'Starts a seal for every active tenant',
    },
    policies: { overlap: ScheduleOverlapPolicy.ALLOW_ALL, catchupWindow: '24h' },
  } satisfies Omit<ScheduleOptions, 'scheduleId'>;

  try {
    await client.schedule.create({ scheduleId: SCHEDULE_ID, ...schedule });
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error;
    await client.schedule.getHandle(SCHEDULE_ID).update((previous) => ({ ...previous, ...schedule }));
  }
}

/** P of this deployment. @throws Error when the migration job has not run */
export async function deployedPeriod(pool: Pool): Promise<number> {
  const { rows } = await pool.query<{ period_seconds: number }>('SELECT period_seconds FROM kiff.deployment');
  const periodSeconds = rows[0]?.period_seconds;
  if (periodSeconds === undefined) throw new Error('the database has no deployment row: run the migration job first');
  return periodSeconds;
}
