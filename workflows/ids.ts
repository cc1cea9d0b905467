/** Workflow ids and queues: what an operator types into the Temporal UI's search. */

export const SEALING_QUEUE = 'sealing';
export const SIGNING_QUEUE = 'signing';
export const ANCHORING_QUEUE = 'anchoring';
export const KEYADMIN_QUEUE = 'keyadmin';
export const MIGRATION_QUEUE = 'migration';

/** Seconds; a period is named by its first second. */
export const sealId = (tenantId: string, period: number): string => `seal/${tenantId}/${period}`;
export const commandId = (id: number): string => `command/${id}`;
export const onboardingId = (tenantId: string): string => `onboarding/${tenantId}`;
export const endId = (tenantId: string, ordinal: number): string => `ending/${tenantId}/${ordinal}`;
export const custodyId = (tenantId: string): string => `custody/${tenantId}`;
/** Of the key that signed in this epoch. */
export const retireKeyId = (tenantId: string, epoch: number): string => `retire-key/${tenantId}/${epoch}`;
export const walletId = (chainId: number, relayer: string): string => `anchor/${chainId}/${relayer}`;
export const SCHEDULE_ID = 'seal-hour';

/** A second, or the period that begins with it, as an operator reads it: `2026-11-23 19:00:00 UTC`. */
export function hour(second: number): string {
  return `${new Date(second * 1000).toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}
