/** The schema of a tenant's log. The id is checked here, so it can stand in a statement. */
export function schemaOf(tenantId: string): string {
  if (!/^[a-z][a-z0-9]{2,23}$/.test(tenantId)) throw new RangeError('not a tenant id');
  return `kiff_t_${tenantId}`;
}

/** Origin of a tenant's first log (design section 5). */
export function originOf(host: string, tenantId: string): string {
  schemaOf(tenantId);
  return `${host}/t/${tenantId}`;
}
