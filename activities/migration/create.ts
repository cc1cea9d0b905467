/**
 * Activities of the migration worker: a tenant's schema and logins, and their undoing. It may become the owner of every
 * schema, so it does nothing else: it knows no key, no chain, and runs no workflow code.
 */
import pg from 'pg';
import { toHex, type Hex } from '../../protocol/hex.ts';
import type { LoginSecrets } from '../../sql/login.ts';
import { beginTenant, dropTenant, TenantInUse } from '../../sql/tenant.ts';
import { failure, type Alert } from '../failures.ts';

export interface MigrationDependencies {
  /** The product database with the login kiff_migrate. */
  url: string;
  secrets: LoginSecrets;
  /** The name that the database must be open under: in a restored one no tenant is made. */
  incarnation: string;
  alert: Alert;
}

/** What a tenant has that was active before. */
export interface ActiveTenant {
  genesisSigner: Hex;
  /** First second of the first period that is sealed, Unix time. */
  firstPeriod: number;
}

/** Another job may be at work on a tenant of its own; it is waited for this long. */
const LOCK_TIMEOUT = '45s';

export type MigrationActivities = ReturnType<typeof createMigrationActivities>;

export function createMigrationActivities({ url, secrets, incarnation, alert }: MigrationDependencies) {
  /** A connection per call: whatever a call leaves behind in its session goes with it. */
  async function connected<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
    const client = new pg.Client({
      connectionString: url,
      application_name: 'kiff-migration',
      connectionTimeoutMillis: 5_000,
    });
    // A connection that breaks fails the query that runs on it; without a listener it would end the process.
    client.on('error', () => undefined);
    try {
      await client.connect();
      await client.query(`SET lock_timeout = '${LOCK_TIMEOUT}'`);
      const { rows } = await client.query<{ open: boolean }>('SELECT kiff.opened_as($1) AS open', [incarnation]);
      if (rows[0]?.open !== true) throw failure('incarnation-differs');
      return await work(client);
    } finally {
      await client.end();
    }
  }

  return {
    /**
     * Makes the tenant's row, logins and schema, or completes them.
     * @returns what it has if it was active before: then there is nothing to onboard
     */
    async beginTenant({ tenantId }: { tenantId: string }): Promise<{ ended: boolean; active: ActiveTenant | null }> {
      const { status, genesisSigner, firstPeriod } = await connected((client) =>
        beginTenant(client, tenantId, secrets),
      );
      const active =
        genesisSigner === null || firstPeriod === null ? null : { genesisSigner: toHex(genesisSigner), firstPeriod };
      return { ended: status === 'ended', active };
    },

    /**
     * Takes away what beginTenant made, once the onboarding was given up.
     * @throws failure tenant-in-use when anything was accepted or sealed, or the tenant was active
     */
    async dropTenant({ tenantId }: { tenantId: string }): Promise<void> {
      try {
        await connected((client) => dropTenant(client, tenantId));
      } catch (error) {
        if (!(error instanceof TenantInUse)) throw error;
        alert('tenant-in-use', { tenantId });
        throw failure('tenant-in-use');
      }
    },
  };
}
