/** What a Clerk session token of version 2 holds, of what we read. Pure: who verifies it, and against which time, is the caller's. */
import { z } from 'zod';

/**
 * Tokens that an instance issues from templates of its own are signed with the same key and have none of `v`, `sid` and
 * `sts`: they are somebody else's business and no sessions.
 */
export const sessionClaims = z.object({
  v: z.literal(2),
  sub: z.string().regex(/^user_[A-Za-z0-9_-]{1,60}$/),
  sid: z.string().min(1),
  azp: z.string().min(1),
  iat: z.number().int(),
  sts: z.enum(['active', 'pending']).default('active'),
  fva: z.tuple([z.number().int(), z.number().int()]).optional(),
  act: z.unknown().optional(),
  o: z.object({ id: z.string().regex(/^org_[A-Za-z0-9_-]{1,60}$/) }).optional(),
});

/** How old a factor may be for a sensitive act, in minutes. */
export const FRESH_MINUTES = 10;

const permissionClaims = z.object({
  fea: z.string(),
  o: z.object({ per: z.string(), fpm: z.string() }),
});

/**
 * The permissions of the active organisation, such as `org:records:read`, in a session token of version 2: `fea` names the features
 * (`o:` those of the organisation), `o.per` the actions, and each number of `o.fpm` says in bits which of the actions the
 * organisation's feature in this place has, the first action in the lowest bit. None where anything of it is missing or odd.
 */
export function permissionsOf(claims: unknown): string[] {
  const parsed = permissionClaims.safeParse(claims);
  if (!parsed.success) return [];
  const { fea, o } = parsed.data;
  const features = fea
    .split(',')
    .map((feature) => /^(?:o|uo|ou):([^:]+)$/.exec(feature.trim())?.[1])
    .filter((feature) => feature !== undefined);
  const actions = o.per.split(',').map((action) => action.trim());
  const bits = o.fpm.split(',').map((number) => (/^\d{1,15}$/.test(number.trim()) ? Number(number) : 0));
  return features.flatMap((feature, place) =>
    actions
      .filter((_action, bit) => Math.floor((bits[place] ?? 0) / 2 ** bit) % 2 === 1)
      .map((action) => `org:${feature}:${action}`),
  );
}
