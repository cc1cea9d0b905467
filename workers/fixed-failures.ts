/**
 * The last gate before a failure enters a workflow's history: only our own failures, with their fixed texts, pass.
 * Anything else (a driver's message may quote a row) is logged here and becomes `unexpected`.
 */
import type { ActivityInterceptorsFactory } from '@temporalio/worker';
import { CancelledFailure } from '@temporalio/common';
import { CompleteAsyncError } from '@temporalio/activity';
import type { Logger } from 'pino';
import { databaseFailure } from '../activities/database.ts';
import { failure, failureType, type Alert } from '../activities/failures.ts';

/** A database that takes no writes is told again after this long, and not at every retry of every log. */
const ALERT_AGAIN_MS = 60 * 60 * 1000;

export function fixedFailures(log: Logger, alert: Alert): ActivityInterceptorsFactory {
  let quietUntil = 0;
  return (context) => ({
    inbound: {
      async execute(input, next) {
        try {
          return await next(input);
        } catch (error) {
          if (error instanceof CancelledFailure || error instanceof CompleteAsyncError) throw error;
          if (failureType(error) === 'incarnation-differs') {
            alert('incarnation-differs', { activity: context.info.activityType });
          }
          const own = failureType(error) ?? failureType(databaseFailure(error));
          if (own === 'database-refuses-writes' && performance.now() >= quietUntil) {
            quietUntil = performance.now() + ALERT_AGAIN_MS;
            alert(own, { activity: context.info.activityType });
          }
          if (failureType(error) !== undefined) throw error;
          const translated = databaseFailure(error);
          if (translated !== undefined) {
            const type = failureType(translated);
            // What the database itself refuses for good has not been told by anybody yet.
            if (type !== undefined && translated.nonRetryable === true)
              alert(type, { activity: context.info.activityType });
            throw translated;
          }
          const { activityType, attempt, workflowExecution } = context.info;
          log.error({ activityType, attempt, workflow: workflowExecution, ...factsOf(error) }, 'unexpected');
          throw failure('unexpected');
        }
      },
    },
  });
}

/** Class, code and place of an error. Its text stays out: a driver's may quote a row. */
function factsOf(error: unknown): object {
  if (!(error instanceof Error)) return { error: typeof error };
  const code = 'code' in error ? String(error.code) : undefined;
  return { error: error.name, code, at: (error.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line)) };
}
