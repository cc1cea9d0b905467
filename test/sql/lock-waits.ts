/** Waiting until sessions of a tenant's login wait for the log's head (or no longer do). */
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import type { ProductDatabase, TestTenant } from '../product-database.ts';

/** Waits until exactly `count` sessions of the tenant's login wait for a lock. */
export async function untilWaiting(db: ProductDatabase, tenant: TestTenant, count: number): Promise<void> {
  for (;;) {
    const waiting = await db.sql(`SELECT FROM pg_stat_activity WHERE usename = $1 AND wait_event_type = 'Lock'`, [
      tenant.role,
    ]);
    if (waiting.length === count) return;
    await delay(10);
  }
}

/** Holds the log's head until the answer is called; whoever wants to write waits. */
export async function holdHead(db: ProductDatabase, tenant: TestTenant): Promise<() => Promise<void>> {
  const holder: pg.Client = await db.connect(db.superuserUrl);
  await holder.query('BEGIN');
  await holder.query(`SELECT FROM ${tenant.role}.log_head FOR UPDATE`);
  return async () => {
    await holder.query('ROLLBACK');
    await holder.end();
  };
}
