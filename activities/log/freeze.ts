/**
 * Freezing a log: what a worker does when it finds what no retry changes. A frozen log is neither hashed, nor signed, nor
 * anchored, until an operator's recovery has looked (`kiff recover`). Freezing only delays, so any worker may do it.
 */
import type { Pool } from 'pg';
import { END_REASONS, type EndReason } from '../../protocol/ending.ts';
import { databaseFailure } from '../database.ts';
import { failure, failureType, type Alert, type FailureType } from '../failures.ts';

/** A failure type that freezes the log it is about. */
export type FreezeReason = Extract<FailureType, EndReason>;

interface FreezeDependencies {
  /** The product database, with any worker's login. */
  pool: Pool;
  alert: Alert;
}

/**
 * Freezes a tenant's current log; the first reason stands. Alerts once, when it is this call that froze it.
 * @param facts numbers and hashes for the alert: which index, which seq
 */
export async function freezeLog(
  { pool, alert }: FreezeDependencies,
  tenantId: string,
  reason: FreezeReason,
  facts: Readonly<Record<string, number | string>> = {},
): Promise<void> {
  const { rows } = await pool.query<{ frozen: boolean }>('SELECT kiff.freeze_log($1, $2) AS frozen', [
    tenantId,
    reason,
  ]);
  if (rows[0]?.frozen === true) alert(reason, { ...facts, tenantId });
}

/** @throws failure log-frozen */
async function requireNotFrozen(pool: Pool, tenantId: string): Promise<void> {
  const { rows } = await pool.query('SELECT FROM kiff.logs WHERE tenant = $1 AND frozen_reason IS NOT NULL', [
    tenantId,
  ]);
  if (rows.length > 0) throw failure('log-frozen');
}

/**
 * Does a step of one log's life: not at all while the log is frozen, and what it is refused for good freezes the log.
 * @throws failure log-frozen; whatever `step` throws (what our own SQL refused is translated)
 */
export async function unlessFrozen<T>(deps: FreezeDependencies, tenantId: string, step: () => Promise<T>): Promise<T> {
  await requireNotFrozen(deps.pool, tenantId);
  try {
    return await step();
  } catch (error) {
    const told = failureType(error) === undefined ? (databaseFailure(error) ?? error) : error;
    const type = failureType(told);
    if (isFreezeReason(type)) await freezeLog(deps, tenantId, type, detailsOf(told));
    throw told;
  }
}

function isFreezeReason(type: FailureType | undefined): type is FreezeReason {
  return type !== undefined && (END_REASONS as readonly string[]).includes(type);
}

/** What a failure of ours says of itself: numbers and hashes. */
function detailsOf(error: unknown): Record<string, number | string> {
  const { details } = error as { details?: unknown[] | null };
  return (details?.[0] ?? {}) as Record<string, number | string>;
}
