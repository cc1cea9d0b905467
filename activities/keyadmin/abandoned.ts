/** The one question that the key administrator asks the product database. */
import type { Pool } from 'pg';

/** Whether a tenant's onboarding was given up before the tenant was ever active. */
export async function onboardingAbandoned(pool: Pool, tenantId: string): Promise<boolean> {
  const { rows } = await pool.query<{ abandoned: boolean }>('SELECT kiff.onboarding_abandoned($1) AS abandoned', [
    tenantId,
  ]);
  return rows[0]?.abandoned === true;
}
