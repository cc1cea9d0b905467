/** Spreads the retries of activities: each failure that is to be retried says by itself when. The policy is retry-delay.ts. */
import { ApplicationFailure, type RetryPolicy } from '@temporalio/common';
import type { ActivityInterceptorsFactory } from '@temporalio/worker';
import { retryDelay, type Backoff } from '../activities/retry-delay.ts';

/** Goes outside of whatever translates failures. */
export function jitteredRetries(random: () => number = Math.random): ActivityInterceptorsFactory {
  return ({ info }) => ({
    inbound: {
      async execute(input, next) {
        try {
          return await next(input);
        } catch (error) {
          if (!(error instanceof ApplicationFailure) || error.nonRetryable === true) throw error;
          const nextRetryDelay = retryDelay(info.attempt, backoffOf(info.retryPolicy), random());
          throw ApplicationFailure.fromError(error, { nextRetryDelay });
        }
      },
    },
  });
}

/** Temporal's defaults stand for what a policy leaves open. */
function backoffOf({ initialInterval, backoffCoefficient, maximumInterval }: RetryPolicy = {}): Backoff {
  const initialMs = milliseconds(initialInterval) ?? 1_000;
  return {
    initialMs,
    coefficient: backoffCoefficient ?? 2,
    maximumMs: milliseconds(maximumInterval) ?? 100 * initialMs,
  };
}

/** An activity is told its policy in milliseconds. */
function milliseconds(interval: RetryPolicy['initialInterval']): number | undefined {
  return typeof interval === 'number' ? interval : undefined;
}
