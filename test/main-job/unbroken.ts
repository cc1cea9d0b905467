/** What must hold of every log after every fault: each period sealed once, in order, on chain and in the database alike. */
import assert from 'node:assert/strict';
import type { LocalTenant } from '../../dev/tenant.ts';
import { PERIOD_SECONDS, type LocalStack } from './local-stack.ts';

export interface StoredSeal {
  seq: number;
  period: string;
  tree_size: string;
  level: string;
  root: Buffer;
  prev: Buffer;
  signature: Buffer | null;
}

export function storedSeals(local: LocalStack, tenant: LocalTenant): Promise<StoredSeal[]> {
  return local.sql<StoredSeal>(
    `SELECT seq, period, tree_size, level, root, prev, signature FROM kiff_t_${tenant.id}.seals ORDER BY seq`,
  );
}

/** Every period sealed once, without a gap, on chain and in the database alike. */
export async function assertUnbroken(local: LocalStack, tenant: LocalTenant): Promise<void> {
  const events = await local.sealedEvents(tenant);
  assert.ok(events.length > 0);
  for (const [index, event] of events.entries()) {
    assert.equal(event.seq, index + 1, 'each seq stands once, in order');
    assert.equal(event.period, events[0]!.period + index * PERIOD_SECONDS, 'each period stands once, in order');
  }
  const stored = await storedSeals(local, tenant);
  for (const event of events) {
    const row = stored[event.seq - 1]!;
    assert.deepEqual(
      [row.seq, Number(row.period), Number(row.tree_size)],
      [event.seq, event.period, event.treeSize],
      'the chain has what the database has',
    );
  }
}
