import { loadClientConnectConfig } from '@temporalio/envconfig';
import { z } from 'zod';
import { address, httpUrl, incarnation, positive, postgresUrl, readEnv, whole } from '../read-env.ts';

/**
 * What an operator's recovery is given: both databases, each with a login of its own, a view of Base, and Temporal, through which
 * it asks the signer for the end of a log. No KMS: it signs nothing.
 */
export function readRecoveryEnv(source: NodeJS.ProcessEnv = process.env) {
  const env = readEnv(
    z.object({
      /** The product database with the login kiff_recovery. */
      DATABASE_URL: postgresUrl,
      /** The journal with the login kiff_journal_recovery. */
      JOURNAL_URL: postgresUrl,
      BASE_RPC_URL: httpUrl,
      CHAIN_ID: positive,
      CONTRACT: address,
      FROM_BLOCK: whole,
      /** The name that databases are opened under; the processes' own. */
      KIFF_INCARNATION: incarnation,
    }),
    source,
  );
  return { ...env, temporal: loadClientConnectConfig() };
}
