import { z } from 'zod';
import { keyRoles, postgresUrl, readEnv } from '../read-env.ts';

/** What the reconciler is given: both databases as the superuser's, and KMS as the administrator's (by AWS's own variables). */
export function readReconcileEnv(source: NodeJS.ProcessEnv = process.env) {
  return readEnv(
    z.object({ PRODUCT_SUPERUSER_URL: postgresUrl, JOURNAL_SUPERUSER_URL: postgresUrl, ...keyRoles }),
    source,
  );
}
