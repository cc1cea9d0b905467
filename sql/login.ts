/**
 * How a tenant's Postgres logins are named and how their passwords are derived: shared by the migration job and the
 * APIs. A tenant has two: one for its records, one for its custody (which can ask for more and reads no record).
 */
import { createHmac } from 'node:crypto';

const TENANT_ID = /^[a-z][a-z0-9]{2,23}$/;

/** Each at least 32 bytes. Whoever holds one can log in as every tenant, for that purpose. */
export interface LoginSecrets {
  /** Known to the migration job and the ingest API. */
  tenant: Uint8Array;
  /** Known to the migration job and the custody API. */
  custody: Uint8Array;
}

export interface DatabaseLogin {
  user: string;
  password: string;
}

/** The tenant's Postgres login for its records, and the name of its schema. */
export function tenantSchema(tenantId: string): string {
  return `kiff_t_${checked(tenantId)}`;
}

/**
 * The schema of one of a tenant's logs.
 * @param endedOrdinal of a log that has ended; null for the current one
 */
export function logSchema(tenantId: string, endedOrdinal: number | null): string {
  if (endedOrdinal === null) return tenantSchema(tenantId);
  if (!Number.isSafeInteger(endedOrdinal) || endedOrdinal < 1) throw new RangeError('not the ordinal of a log');
  return `kiff_ended_${checked(tenantId)}_${endedOrdinal}`;
}

/** The tenant's Postgres login for its custody. */
export function custodyRole(tenantId: string): string {
  return `kiff_c_${checked(tenantId)}`;
}

/**
 * The login for a tenant's records. Its password is derived, so it is stored nowhere.
 * @param version `kiff.tenants.login_version`
 */
export function tenantLogin(secret: Uint8Array, tenantId: string, version: number): DatabaseLogin {
  return { user: tenantSchema(tenantId), password: derived(secret, 'tenant', tenantId, version) };
}

/**
 * The login that the custody API uses for a tenant.
 * @param version `kiff.tenants.login_version`
 */
export function custodyLogin(secret: Uint8Array, tenantId: string, version: number): DatabaseLogin {
  return { user: custodyRole(tenantId), password: derived(secret, 'custody', tenantId, version) };
}

function checked(tenantId: string): string {
  if (!TENANT_ID.test(tenantId)) throw new RangeError('not a tenant id');
  return tenantId;
}

function derived(secret: Uint8Array, purpose: 'tenant' | 'custody', tenantId: string, version: number): string {
  if (secret.length < 32) throw new RangeError(`the ${purpose} login secret is shorter than 32 bytes`);
  return createHmac('sha256', secret).update(`kiff ${purpose} login\n${tenantId}\n${version}`).digest('base64url');
}
