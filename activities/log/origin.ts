import { tenantSchema } from '../../sql/login.ts';

/**
 * Origin of a tenant's log (design section 5): the first one's has no number, a later one's has.
 * @param ordinal 1, 2, …
 * @throws RangeError when it is no tenant id, or no ordinal
 */
export function originOf(host: string, tenantId: string, ordinal: number): string {
  tenantSchema(tenantId);
  if (!Number.isSafeInteger(ordinal) || ordinal < 1) throw new RangeError('not the ordinal of a log');
  return ordinal === 1 ? `${host}/t/${tenantId}` : `${host}/t/${tenantId}/${ordinal}`;
}
