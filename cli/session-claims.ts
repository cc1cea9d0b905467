/** How permissions stand in a session token of version 2. */

/**
 * Packs permissions such as `org:records:read`: `fea` names the features, `o.per` the actions, and each number of `o.fpm`
 * says in bits which of the actions its feature has, the first action in the lowest bit.
 */
export function packPermissions(permissions: readonly string[]): { fea: string; per: string; fpm: string } {
  const pairs = permissions.map((permission) => permission.split(':').slice(1) as [feature: string, action: string]);
  const features = [...new Set(pairs.map(([feature]) => feature))];
  const actions = [...new Set(pairs.map(([, action]) => action))];
  const bits = features.map((feature) =>
    actions.reduce(
      (sum, action, bit) => sum + (pairs.some(([f, a]) => f === feature && a === action) ? 2 ** bit : 0),
      0,
    ),
  );
  return { fea: features.map((feature) => `o:${feature}`).join(','), per: actions.join(','), fpm: bits.join(',') };
}
