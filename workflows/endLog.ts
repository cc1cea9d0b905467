/**
 * The end of a log, as far as keys have a part in it: the signer states and signs the end that an operator has ordered in its
 * journal, and the tenant's next log gets a key. What follows from that in the databases is the operator's recovery's (`kiff
 * recover`), which started this and waits for it.
 */
import { proxyActivities, setCurrentDetails } from '@temporalio/workflow';
import type { KeyAdminActivities } from '../activities/keyadmin/create.ts';
import type { EndActivities } from '../activities/signing/end.ts';
import { KEYADMIN_QUEUE, SIGNING_QUEUE } from './ids.ts';

export interface EndLogInput {
  tenantId: string;
  /** Which of the tenant's logs ends. */
  ordinal: number;
}

export interface EndLogResult {
  /** The operator's signed note (protocol/ending.ts). */
  note: string;
  /** Of the next log. */
  genesisSigner: `0x${string}`;
}

const retry = { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '30s' } as const;

/** Signs at most one statement, however often it runs. */
const { signEnd } = proxyActivities<EndActivities>({
  taskQueue: SIGNING_QUEUE,
  startToCloseTimeout: '10m',
  retry,
  summary: 'State and sign the end of the log',
});

/** Finds what an earlier try has made. */
const { createTenantKey } = proxyActivities<KeyAdminActivities>({
  taskQueue: KEYADMIN_QUEUE,
  startToCloseTimeout: '30s',
  retry,
  summary: "Make the next log's signing key in KMS",
});

export async function endLog({ tenantId, ordinal }: EndLogInput): Promise<EndLogResult> {
  setCurrentDetails(`**${tenantId}**: stating the end of its log ${ordinal}.`);
  const { note } = await signEnd({ tenantId, ordinal });
  setCurrentDetails(`**${tenantId}**: log ${ordinal} has ended; making the key of log ${ordinal + 1}.`);
  const { genesisSigner } = await createTenantKey({ tenantId, ordinal: ordinal + 1 });
  setCurrentDetails(`**${tenantId}**: log ${ordinal} has ended. The operator's recovery opens log ${ordinal + 1}.`);
  return { note, genesisSigner };
}
