/** Whether a tenant can be served now, whoever asks. */
import { Problem } from '../http/problems.ts';
import type { Limits } from './limits.ts';
import type { Right } from './rights.ts';

/** The tenant schema that this code was written for; one that lags is refused, its neighbours are not. */
export const TENANT_SCHEMA_VERSION = 10;

/** Columns of `kiff.find_api_key` and `kiff.find_member`. */
export interface TenantState {
  tenant_status: 'onboarding' | 'active' | 'paused' | 'ended';
  schema_version: number;
  /** The organisation was deleted at Clerk: nobody could revoke its keys any more, so they write no more. */
  organisation_deleted: boolean;
  frozen_reason: string | null;
  /** Per second; null: no limit. */
  tenant_requests: number | null;
  tenant_records: number | null;
}

export function tenantLimits({ tenant_requests: requests, tenant_records: records }: TenantState): Limits {
  return { requests, records };
}

/** @throws Problem tenant-not-ready, tenant-ended, log-frozen */
export function admitTenant(
  { tenant_status: status, schema_version, organisation_deleted, frozen_reason }: TenantState,
  right: Right,
): void {
  if (status === 'onboarding' || schema_version < TENANT_SCHEMA_VERSION) {
    throw new Problem('tenant-not-ready', 'This tenant is being set up; try again in a moment.', { retryAfter: 5 });
  }
  if (right !== 'ingest') return;
  if (status === 'paused') {
    // Every acceptance carries a promise, and a paused log seals nothing.
    throw new Problem('tenant-not-ready', 'This tenant is paused and takes no records now.', { retryAfter: 60 });
  }
  if (status === 'ended') throw new Problem('tenant-ended', 'This log has ended and takes no more records.');
  if (frozen_reason !== null) {
    // As for a paused one. In a restored database an index that was promised before could even be promised again.
    const detail = 'This log is frozen until it has been looked into; it takes no records now. Reading goes on.';
    throw new Problem('log-frozen', detail, { retryAfter: 60 });
  }
  if (organisation_deleted) {
    throw new Problem('tenant-ended', 'The organisation behind this log was deleted; it takes no more records.');
  }
}
