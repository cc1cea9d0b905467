/**
 * A tenant comes to life: schema and logins → KMS key → the log's identity → registered on Base → active. Every step finds
 * what an earlier try has done. If it fails or is cancelled before the tenant is active, everything is undone in reverse; a
 * log that Base knows already stays known there, which binds nobody, since its key is gone.
 */
import { CancellationScope, proxyActivities, setCurrentDetails, sleep } from '@temporalio/workflow';
import { ActivityFailure, ApplicationFailure, TemporalFailure } from '@temporalio/common';
import type { AnchoringActivities } from '../activities/anchoring/create.ts';
import type { KeyAdminActivities } from '../activities/keyadmin/create.ts';
import type { LogActivities } from '../activities/log/create.ts';
import type { MigrationActivities } from '../activities/migration/create.ts';
import { ANCHORING_QUEUE, KEYADMIN_QUEUE, MIGRATION_QUEUE, SEALING_QUEUE } from './ids.ts';

export interface OnboardingResult {
  genesisSigner: string;
  /** First second of the first period that will be sealed, Unix time. */
  firstPeriod: number;
}

interface Undo {
  step: string;
  run: () => Promise<void>;
}

const retry = { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '30s' } as const;

/** Reads. */
const sealing = { taskQueue: SEALING_QUEUE, startToCloseTimeout: '10s', retry } as const;
const { logRegistered } = proxyActivities<LogActivities>({ ...sealing, summary: 'Does the contract know the log' });

/** Writes that find what an earlier try has done. */
const migration = { taskQueue: MIGRATION_QUEUE, startToCloseTimeout: '60s', retry } as const;
const { beginTenant } = proxyActivities<MigrationActivities>({ ...migration, summary: 'Make schema and logins' });
const keyadmin = { taskQueue: KEYADMIN_QUEUE, startToCloseTimeout: '30s', retry } as const;
const { createTenantKey } = proxyActivities<KeyAdminActivities>({
  ...keyadmin,
  summary: 'Make the signing key in KMS',
});
const { openLog } = proxyActivities<LogActivities>({ ...sealing, summary: "Fix the log's identity" });
const { activateTenant } = proxyActivities<LogActivities>({ ...sealing, summary: 'Activate: fix the first period' });

/** A wish: the wallet also looks by itself. */
const { nudgeWallet } = proxyActivities<AnchoringActivities>({
  taskQueue: ANCHORING_QUEUE,
  startToCloseTimeout: '10s',
  retry,
  summary: 'Wake the wallet',
});

/** Undoing, tried for an hour: what is still there then wants a person. Each one asks the database whether it may. */
const undoing = { scheduleToCloseTimeout: '1h' } as const;
const { abandonOnboarding } = proxyActivities<LogActivities>({ ...sealing, summary: 'Give the onboarding up' });
const { closeLog } = proxyActivities<LogActivities>({ ...sealing, ...undoing, summary: "Forget the log's identity" });
const { retireTenantKey } = proxyActivities<KeyAdminActivities>({
  ...keyadmin,
  ...undoing,
  summary: 'Take the signing key away',
});
const { dropTenant } = proxyActivities<MigrationActivities>({
  ...migration,
  ...undoing,
  summary: 'Take schema and logins away',
});
const { tellUndoFailed } = proxyActivities<LogActivities>({ ...sealing, summary: 'Alert: an undo failed' });

/** Looks at the chain's answer every second at first, then more and more seldom. */
const QUICK_LOOKS = 20;
const SLOWEST_LOOK = 300;

export async function tenantOnboarding({ tenantId }: { tenantId: string }): Promise<OnboardingResult> {
  const undo: Undo[] = [];
  let genesisSigner = '';
  try {
    setCurrentDetails(`**${tenantId}**: making schema and logins.`);
    undo.push({ step: 'schema', run: () => dropTenant({ tenantId }) });
    const { ended, active } = await beginTenant({ tenantId });
    if (ended) {
      undo.length = 0;
      throw ApplicationFailure.nonRetryable('The tenant has ended; it is not onboarded again.', 'tenant-ended');
    }
    if (active !== null) {
      setCurrentDetails(`**${tenantId}** was active already.`);
      return active;
    }

    setCurrentDetails(`**${tenantId}**: making the signing key in KMS.`);
    undo.push({ step: 'key', run: () => retireTenantKey({ tenantId }) });
    ({ genesisSigner } = await createTenantKey({ tenantId }));

    undo.push({ step: 'log', run: () => closeLog({ tenantId }) });
    await openLog({ tenantId, genesisSigner: genesisSigner as `0x${string}` });

    setCurrentDetails(`**${tenantId}**: waiting until the contract on Base knows the log.`);
    await nudgeWallet();
    for (let looks = 1; !(await logRegistered({ tenantId })); looks++) {
      const seconds = Math.min(2 ** Math.max(0, looks - QUICK_LOOKS), SLOWEST_LOOK);
      await sleep(seconds * 1000, { summary: 'The log is not registered on Base yet' });
    }

    const { firstPeriod } = await activateTenant({ tenantId });
    return activated(tenantId, genesisSigner, firstPeriod);
  } catch (error) {
    if (!(error instanceof TemporalFailure) || undo.length === 0) throw error;
    const firstPeriod = await CancellationScope.nonCancellable(() => undoAll(tenantId, undo));
    // It became active before it could be given up: it stays, and the failure came too late.
    if (firstPeriod !== null) return activated(tenantId, genesisSigner, firstPeriod);
    setCurrentDetails(`**${tenantId}**: given up, and everything undone.`);
    throw error;
  }
}

function activated(tenantId: string, genesisSigner: string, firstPeriod: number): OnboardingResult {
  setCurrentDetails(`**${tenantId}** is active; its signer is \`${genesisSigner}\`.`);
  return { genesisSigner, firstPeriod };
}

/**
 * Undoes the steps in reverse. First the tenant is given up in the database, which every single undo asks before it acts.
 * @returns the first period when the tenant is active and nothing was undone
 * @throws ApplicationFailure undo-failed, after an alert; what came before the failed step is still there
 */
async function undoAll(tenantId: string, undo: readonly Undo[]): Promise<number | null> {
  setCurrentDetails(`**${tenantId}**: giving up, undoing ${undo.length} steps.`);
  const { firstPeriod } = await abandonOnboarding({ tenantId });
  if (firstPeriod !== null) return firstPeriod;
  for (const { step, run } of undo.toReversed()) {
    try {
      await run();
    } catch (error) {
      if (!(error instanceof ActivityFailure)) throw error;
      await tellUndoFailed({ tenantId, step });
      setCurrentDetails(`**${tenantId}**: given up, but the undo of its ${step} failed. What is left wants a person.`);
      throw ApplicationFailure.nonRetryable(
        'An undo failed; what is left of the tenant wants a person.',
        'undo-failed',
      );
    }
  }
  return null;
}
