/** A tenant of the local stack: made as an operator makes one, by a command. */
import { createTenant as ask } from '../cli/operator/tenants.ts';
import type { Hex } from '../protocol/hex.ts';
import { PRODUCT } from '../sql/prepare.ts';
import { localOrganisation } from './clerk.ts';
import { asOwner, loginUrl, withClient } from './databases.ts';
import type { Surroundings } from './processes.ts';

export interface LocalTenant {
  id: string;
  origin: string;
  genesisSigner: Hex;
  apiKey: string;
}

/** Milliseconds; on the local stack it takes a few seconds. */
const PATIENCE = 60_000;

/** What operator commands are given (OPERATOR_DATABASE_URL). */
export const operatorUrl = ({ superuserUrl, secrets }: Surroundings): string =>
  loginUrl(superuserUrl, secrets, 'kiff_operator', PRODUCT);

/** Creates a tenant that does not exist yet, with one API key, and waits until it is active. */
export async function createTenant(around: Surroundings, id: string): Promise<LocalTenant> {
  const { tenant, apiKey } = await withClient(operatorUrl(around), (client) => ask(client, id, PATIENCE));
  if (apiKey === null) throw new Error(`tenant ${id} has an API key already, which nobody here knows`);
  if (tenant.log === null) throw new Error(`tenant ${id} has no log`);
  const log = tenant.log;
  // Its organisation, as Clerk's webhook would have told.
  const url = loginUrl(around.superuserUrl, around.secrets, 'kiff_migrate', PRODUCT);
  await withClient(url, (client) =>
    asOwner(client, () =>
      client.query('INSERT INTO kiff.organisations (id, tenant) VALUES ($1, $2) ON CONFLICT DO NOTHING', [
        localOrganisation(id),
        id,
      ]),
    ),
  );
  return { id, origin: log.origin, genesisSigner: log.genesisSigner, apiKey };
}

/** Periods that have ended and are not collected yet, over all active tenants: the most that any of them lags. */
export async function periodsBehind(around: Surroundings, id: string): Promise<number> {
  const url = loginUrl(around.superuserUrl, around.secrets, 'kiff_migrate', PRODUCT);
  return withClient(url, (client) =>
    asOwner(client, async () => {
      const { rows } = await client.query<{ behind: number }>(
        `SELECT greatest(0, floor(extract(epoch FROM clock_timestamp()) / d.period_seconds) - 1
                  - coalesce((SELECT max(s.period) FROM kiff_t_${id}.seals s), l.first_period - d.period_seconds)
                    / d.period_seconds)::integer AS behind
           FROM kiff.logs l, kiff.deployment d WHERE l.tenant = $1`,
        [id],
      );
      return rows[0]?.behind ?? 0;
    }),
  );
}
