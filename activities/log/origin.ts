import { tenantSchema } from '../../sql/login.ts';

/** Origin of a tenant's first log (design section 5). @throws RangeError when it is no tenant id */
export function originOf(host: string, tenantId: string): string {
  tenantSchema(tenantId);
  return `${host}/t/${tenantId}`;
}
