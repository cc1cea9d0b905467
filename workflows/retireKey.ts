/**
 * The end of a key of ours that another one has replaced. It is disabled already; after a time of observation KMS deletes it, or it is kept
 * for good, as the tenant chose. Until then a deletion can be stopped: cancel this workflow, and the key stays disabled.
 */
import { proxyActivities, setCurrentDetails, sleep } from '@temporalio/workflow';
import type { CustodyActivities } from '../activities/custody/create.ts';
import type { CustodyKeyActivities } from '../activities/keyadmin/custody.ts';
import { hour, KEYADMIN_QUEUE, SEALING_QUEUE } from './ids.ts';

export interface RetireKeyInput {
  tenantId: string;
  /** The migration that replaced it. */
  migrationId: string;
  observationSeconds: number;
  deleteOldKey: boolean;
}

const retry = { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '60s' } as const;

/** Asks the database whether the time is over, and finds what an earlier try has done. */
const { deleteOldKey } = proxyActivities<CustodyKeyActivities>({
  taskQueue: KEYADMIN_QUEUE,
  startToCloseTimeout: '30s',
  retry,
  summary: 'Have KMS delete the old key',
});
const { noteStep } = proxyActivities<CustodyActivities>({
  taskQueue: SEALING_QUEUE,
  startToCloseTimeout: '10s',
  retry,
  summary: 'Tell the tenant',
});

export async function retireKey(input: RetireKeyInput): Promise<{ deletedAt: string | null }> {
  const { tenantId, migrationId } = input;
  const step = 'retire-key';
  if (!input.deleteOldKey) {
    await noteStep({ migrationId, step, state: 'done', proof: { kept: true } });
    setCurrentDetails(`**${tenantId}**: the old key is disabled and kept, as the tenant chose.`);
    return { deletedAt: null };
  }
  const from = Math.floor(Date.now() / 1000) + input.observationSeconds;
  setCurrentDetails(`**${tenantId}**: the old key is disabled and observed until ${hour(from)}; then KMS deletes it.`);
  await noteStep({ migrationId, step, state: 'waiting', proof: { until: from } });
  await sleep(input.observationSeconds * 1000, { summary: 'The old key is observed' });
  const { deletedAt, keyArn } = await deleteOldKey({ tenantId, migrationId });
  await noteStep({ migrationId, step, state: 'done', proof: { keyArn, deletedAt } });
  setCurrentDetails(`**${tenantId}**: KMS deletes the old key ${deletedAt === null ? 'now' : `at ${deletedAt}`}.`);
  return { deletedAt };
}
