/**
 * A tenant's log comes to life: KMS key → identity → registered on Base → active. The schema and login were made before
 * by the migration job. Every step finds what an earlier try has done.
 */
import { proxyActivities, setCurrentDetails, sleep } from '@temporalio/workflow';
import type { AnchoringActivities } from '../activities/anchoring/create.ts';
import type { KeyAdminActivities } from '../activities/keyadmin/create.ts';
import type { LogActivities } from '../activities/log/create.ts';
import { ANCHORING_QUEUE, KEYADMIN_QUEUE, SEALING_QUEUE } from './ids.ts';

export interface OnboardingResult {
  genesisSigner: string;
  /** First second of the first period that will be sealed, Unix time. */
  firstPeriod: number;
}

const retry = { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '30s' } as const;

/** Reads. */
const sealing = { taskQueue: SEALING_QUEUE, startToCloseTimeout: '10s', retry } as const;
const { logRegistered } = proxyActivities<LogActivities>({ ...sealing, summary: 'Does the contract know the log' });

/** Writes that find what an earlier try has done. */
const { openLog } = proxyActivities<LogActivities>({ ...sealing, summary: "Fix the log's identity" });
const { activateTenant } = proxyActivities<LogActivities>({ ...sealing, summary: 'Activate: fix the first period' });
const { createTenantKey } = proxyActivities<KeyAdminActivities>({
  taskQueue: KEYADMIN_QUEUE,
  startToCloseTimeout: '30s',
  retry,
  summary: 'Make the signing key in KMS',
});

/** A wish: the wallet also looks by itself. */
const { nudgeWallet } = proxyActivities<AnchoringActivities>({
  taskQueue: ANCHORING_QUEUE,
  startToCloseTimeout: '10s',
  retry,
  summary: 'Wake the wallet',
});

export async function tenantOnboarding({ tenantId }: { tenantId: string }): Promise<OnboardingResult> {
  setCurrentDetails(`**${tenantId}**: making the signing key in KMS.`);
  const { genesisSigner } = await createTenantKey({ tenantId });
  await openLog({ tenantId, genesisSigner });

  setCurrentDetails(`**${tenantId}**: waiting until the contract on Base knows the log.`);
  await nudgeWallet();
  for (let seconds = 1; !(await logRegistered({ tenantId })); seconds = Math.min(seconds * 2, 300)) {
    await sleep(seconds * 1000, { summary: 'The log is not registered on Base yet' });
  }

  const { firstPeriod } = await activateTenant({ tenantId });
  setCurrentDetails(`**${tenantId}** is active; its signer is \`${genesisSigner}\`.`);
  return { genesisSigner, firstPeriod };
}
