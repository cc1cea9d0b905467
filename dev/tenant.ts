/** A tenant of the local stack: schema and login by the migration job, then the onboarding workflow, then an API key. */
import { Client, Connection, WorkflowIdReusePolicy, WorkflowExecutionAlreadyStartedError } from '@temporalio/client';
import { createApiKey } from '../api/ingest/api-key.ts';
import { toHex, type Hex } from '../protocol/hex.ts';
import { PRODUCT } from '../sql/prepare.ts';
import { migrateTenant } from '../sql/tenant.ts';
import { onboardingId, SEALING_QUEUE } from '../workflows/ids.ts';
import type { tenantOnboarding } from '../workflows/tenantOnboarding.ts';
import { localOrganisation } from './clerk.ts';
import { asOwner, loginSecrets, loginUrl, withClient } from './databases.ts';
import type { Surroundings } from './processes.ts';

export interface LocalTenant {
  id: string;
  origin: string;
  genesisSigner: Hex;
  apiKey: string;
}

/** Creates a tenant that does not exist yet, with one API key, and waits until it is active. */
export async function createTenant(around: Surroundings, id: string): Promise<LocalTenant> {
  const url = loginUrl(around.superuserUrl, around.secrets, 'kiff_migrate', PRODUCT);
  await withClient(url, (client) => migrateTenant(client, id, loginSecrets(around.secrets)));
  await onboard(around, id);
  return withClient(url, (client) =>
    asOwner(client, async () => {
      const key = createApiKey(id);
      await client.query('INSERT INTO kiff.api_keys (id, tenant, hash, label) VALUES ($1, $2, $3, $4)', [
        key.id,
        id,
        Buffer.from(key.hash),
        'local stack',
      ]);
      await client.query('INSERT INTO kiff.organisations (id, tenant) VALUES ($1, $2) ON CONFLICT DO NOTHING', [
        localOrganisation(id),
        id,
      ]);
      const { rows } = await client.query<{ origin: string; genesis_signer: Buffer }>(
        'SELECT origin, genesis_signer FROM kiff.logs WHERE tenant = $1',
        [id],
      );
      const row = rows[0];
      if (row === undefined) throw new Error(`tenant ${id} has no log`);
      return { id, origin: row.origin, genesisSigner: toHex(row.genesis_signer), apiKey: key.key };
    }),
  );
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

async function onboard(around: Surroundings, tenantId: string): Promise<void> {
  const { address, namespace } = around.temporal;
  const connection = await Connection.connect({ address });
  try {
    const client = new Client({ connection, namespace });
    const workflowId = onboardingId(tenantId);
    try {
      await client.workflow.start<typeof tenantOnboarding>('tenantOnboarding', {
        workflowId,
        taskQueue: SEALING_QUEUE,
        args: [{ tenantId }],
        workflowIdReusePolicy: WorkflowIdReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
        staticSummary: `Onboarding of ${tenantId}`,
      });
    } catch (error) {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error; // an interrupted start began it
    }
    await client.workflow.getHandle(workflowId).result();
  } finally {
    await connection.close();
  }
}
