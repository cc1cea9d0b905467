/**
 * A log whose key refuses. No retry by itself changes that, a person does: so it is told once, shown wherever the log is shown, and
 * asked again calmly (the seal workflow sees to that) until the key signs.
 */
import type { Pool } from 'pg';
import { failureType, type Alert, type FailureType } from '../failures.ts';

/**
 * Failures that block a log's signing: its key is disabled or pending deletion, access is denied, its policy drifted, or what KMS answers
 * is not this key's signature.
 */
const BLOCKING = ['kms-refused', 'kms-denied', 'policy-drift', 'foreign-signature'] as const satisfies FailureType[];
export type BlockedReason = (typeof BLOCKING)[number];

interface BlockedDependencies {
  /** The product database, with the signing login. */
  pool: Pool;
  alert: Alert;
}

/**
 * Does a step that signs, and keeps the log's mark. An alert is raised when the log becomes blocked, or blocked for another reason;
 * not again while it stays so, however often and by however many signers it is tried.
 */
export async function tellingBlocked<T>(
  { pool, alert }: BlockedDependencies,
  tenantId: string,
  step: () => Promise<T>,
): Promise<T> {
  try {
    const done = await step();
    await pool.query(
      'SELECT kiff.unblock_signing(tenant) FROM kiff.logs WHERE tenant = $1 AND signing_blocked IS NOT NULL',
      [tenantId],
    );
    return done;
  } catch (error) {
    const type = failureType(error);
    if (isBlocking(type)) {
      const { rows } = await pool.query<{ news: boolean }>('SELECT kiff.block_signing($1, $2) AS news', [
        tenantId,
        type,
      ]);
      if (rows[0]?.news === true) alert(type, { tenantId });
    }
    throw error;
  }
}

function isBlocking(type: FailureType | undefined): type is BlockedReason {
  return type !== undefined && (BLOCKING as readonly string[]).includes(type);
}
