/**
 * The last gate before a failure enters a workflow's history: only our own failures, with their fixed texts, pass.
 * Anything else (a driver's message may quote a row) is logged here and becomes `unexpected`.
 */
import type { ActivityInterceptorsFactory } from '@temporalio/worker';
import { CancelledFailure } from '@temporalio/common';
import { CompleteAsyncError } from '@temporalio/activity';
import type { Logger } from 'pino';
import { databaseFailure } from '../activities/database.ts';
import { failure, failureType } from '../activities/failures.ts';

export function fixedFailures(log: Logger): ActivityInterceptorsFactory {
  return (context) => ({
    inbound: {
      async execute(input, next) {
        try {
          return await next(input);
        } catch (error) {
          if (error instanceof CancelledFailure || error instanceof CompleteAsyncError) throw error;
          if (failureType(error) !== undefined) throw error;
          const translated = databaseFailure(error);
          if (translated !== undefined) throw translated;
          const { activityType, attempt, workflowExecution } = context.info;
          const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
          log.error(
            { activityType, attempt, workflow: workflowExecution, error: { name, message, stack } },
            'unexpected',
          );
          throw failure('unexpected');
        }
      },
    },
  });
}
