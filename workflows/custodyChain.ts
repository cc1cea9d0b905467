/** What the chain says of a migration's handover, and how patiently it is asked. Whoever sent it there does not matter. */
import { condition } from '@temporalio/workflow';
import type { HandoverStanding } from '../activities/anchoring/handovers.ts';

/** Set by the signal that something changed. It carries nothing; the workflow looks for itself. */
export interface Told {
  changed: boolean;
}

/** Looks every second at first, then more and more seldom. */
const QUICK_LOOKS = 20;

/** It can never be accepted any more, or (if it was never recorded) never could. */
export const isDead = (standing: HandoverStanding | null): boolean =>
  standing !== null && (standing.cancelled?.level === 'final' || standing.lapsed);

export const isAccepted = (standing: HandoverStanding | null): boolean => standing?.accepted?.level === 'final';

/**
 * Looks until something comes of it: at once when told, else by itself.
 * @param slowest seconds between two looks in the end
 * @param until Unix milliseconds; it gives up then
 * @returns null when time ran out
 */
export async function lookUntil<T>(
  told: Told,
  look: () => Promise<T | null>,
  wait: { summary: string; slowest: number; until?: number },
): Promise<T | null> {
  for (let looks = 1; ; looks++) {
    told.changed = false;
    const seen = await look();
    if (seen !== null) return seen;
    const left = (wait.until ?? Infinity) - Date.now();
    if (left <= 0) return null;
    const pause = Math.min(2 ** Math.max(0, looks - QUICK_LOOKS), wait.slowest) * 1000;
    await condition(() => told.changed, Math.min(pause, left), { summary: wait.summary });
  }
}
