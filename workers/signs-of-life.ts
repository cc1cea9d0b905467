/**
 * For activities that take seconds: Temporal hears of them as long as their process lives, so that those of a killed one are taken
 * over within seconds and not only after their time-out. Not for long ones, whose heartbeats speak of progress.
 */
import type { ActivityInterceptorsFactory } from '@temporalio/worker';

/** The wallet's activities are given up after three of these (workflows/anchorWallet.ts). */
const BEAT_MS = 2_000;

export const signsOfLife: ActivityInterceptorsFactory = (context) => ({
  inbound: {
    async execute(input, next) {
      const beat = setInterval(() => context.heartbeat(), BEAT_MS);
      try {
        return await next(input);
      } finally {
        clearInterval(beat);
      }
    },
  },
});
