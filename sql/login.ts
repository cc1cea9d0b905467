/** How a tenant's Postgres login is named and how its password is derived: shared by the migration job and the API. */
import { createHmac } from 'node:crypto';

const TENANT_ID = /^[a-z][a-z0-9]{2,23}$/;

/** The tenant's Postgres login and the name of its schema. */
export function tenantSchema(tenantId: string): string {
  if (!TENANT_ID.test(tenantId)) throw new RangeError('not a tenant id');
  return `kiff_t_${tenantId}`;
}

/**
 * The password of a tenant's login. It is derived, so it is stored nowhere.
 * @param secret at least 32 bytes, known to the migration job and the API processes
 * @param version `kiff.tenants.login_version`
 */
export function tenantPassword(secret: Uint8Array, tenantId: string, version: number): string {
  if (secret.length < 32) throw new RangeError('the tenant login secret is shorter than 32 bytes');
  return createHmac('sha256', secret).update(`kiff tenant login\n${tenantId}\n${version}`).digest('base64url');
}
