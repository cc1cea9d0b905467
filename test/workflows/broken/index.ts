/** A `seal` that was changed incompatibly, on purpose: it looks for unsigned seals before it has collected and hashed. */
import { proxyActivities } from '@temporalio/workflow';
import type { LogActivities } from '../../../activities/log/create.ts';

const { collect, unsignedSeals } = proxyActivities<LogActivities>({ taskQueue: 'sealing', startToCloseTimeout: '10s' });

export async function seal({ tenantId, period }: { tenantId: string; period: number }): Promise<number> {
  const [first = 0] = await unsignedSeals({ tenantId, throughSeq: 1 });
  await collect({ tenantId, period });
  return first;
}
