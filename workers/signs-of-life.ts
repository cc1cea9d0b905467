/**
 * For activities that take seconds: Temporal hears of them as long as their process lives, so that those of a killed one are taken
 * over within seconds and not only after their time-out. Not for long ones, whose heartbeats speak of progress.
 */
import type { ActivityInterceptorsFactory } from '@temporalio/worker';

const BEAT_MS = 2_000;
/** Such activities are given up after three beats (`heartbeatTimeout` in workflows/); longer ones speak for themselves. */
const GIVEN_UP_MS = 3 * BEAT_MS;

export const signsOfLife: ActivityInterceptorsFactory = (context) => ({
  inbound: {
    async execute(input, next) {
      if ((context.info.heartbeatTimeoutMs ?? 0) > GIVEN_UP_MS) return next(input);
      const beat = setInterval(() => context.heartbeat(), BEAT_MS);
      try {
        return await next(input);
      } finally {
        clearInterval(beat);
      }
    },
  },
});
