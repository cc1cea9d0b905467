/** What an operator does to a log's freeze, and to the doors of the databases: as the owner, past what any worker may. */
import type { Pool } from 'pg';
import type { EndReason } from '../../protocol/ending.ts';

/** Freezes a tenant's current log unless it is frozen. @param pool the product database as kiff_owner */
export async function freezeByOperator(pool: Pool, tenantId: string, reason: EndReason): Promise<void> {
  await pool.query('SELECT kiff.freeze_log($1, $2)', [tenantId, reason]);
}

/** Takes a freeze away. Whoever calls has compared the log, every record of it. */
export async function unfreeze(pool: Pool, tenantId: string): Promise<boolean> {
  const { rowCount } = await pool.query(
    'UPDATE kiff.logs SET frozen_reason = NULL, frozen_at = NULL WHERE tenant = $1 AND frozen_reason IS NOT NULL',
    [tenantId],
  );
  return rowCount === 1;
}

/** The product database and the journal: whether each was opened under the configured name, and opening it so. */
export function createDoors(pool: Pool, journalPool: Pool, incarnation: string) {
  const isOpen = async (on: Pool, schema: 'kiff' | 'journal'): Promise<boolean> => {
    const { rows } = await on.query<{ open: boolean }>(`SELECT ${schema}.opened_as($1) AS open`, [incarnation]);
    return rows[0]?.open === true;
  };
  return {
    async standing(): Promise<{ product: boolean; journal: boolean }> {
      return { product: await isOpen(pool, 'kiff'), journal: await isOpen(journalPool, 'journal') };
    },
    /**
     * Opens what is not open. The journal first: a signer without its memory must not find an open database.
     * @throws pg error 23505 when the name was used before
     */
    async open(): Promise<void> {
      const { product, journal } = await this.standing();
      if (!journal) await journalPool.query('INSERT INTO journal.incarnations (name) VALUES ($1)', [incarnation]);
      if (!product) await pool.query('INSERT INTO kiff.incarnations (name) VALUES ($1)', [incarnation]);
    },
  };
}
