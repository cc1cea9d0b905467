/** What is heard of Clerk's events: ids and times. Names, slugs, addresses and metadata are not read and not kept. */
import { z } from 'zod';

const organisation = z.string().regex(/^org_[A-Za-z0-9_-]{1,60}$/);
const user = z.string().regex(/^user_[A-Za-z0-9_-]{1,60}$/);

const membership = {
  data: z.object({ organization: z.object({ id: organisation }), public_user_data: z.object({ user_id: user }) }),
  /** When it happened, by Clerk's clock, in Unix milliseconds; a delivery that is tried again says the same. */
  timestamp: z.int().min(0).max(8_640_000_000_000_000),
};

/** The events that change something here. All others are answered and forgotten. */
export const heardEvent = z.discriminatedUnion('type', [
  z.object({ type: z.literal('organization.created'), data: z.object({ id: organisation }) }),
  z.object({ type: z.literal('organization.deleted'), data: z.object({ id: organisation }) }),
  z.object({ type: z.literal('organizationMembership.created'), ...membership }),
  z.object({ type: z.literal('organizationMembership.updated'), ...membership }),
  z.object({ type: z.literal('organizationMembership.deleted'), ...membership }),
]);

export type HeardEvent = z.output<typeof heardEvent>;

const HEARD: ReadonlySet<string> = new Set(heardEvent.options.map(({ shape }) => shape.type.value));

export function isHeard(type: string): boolean {
  return HEARD.has(type);
}
