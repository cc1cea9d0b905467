import { loadClientConnectConfig } from '@temporalio/envconfig';
import { z } from 'zod';
import { host, incarnation, LOG_LEVEL, postgresUrl, readEnv, whole } from '../read-env.ts';

/** What the sealing worker is given: the product database and Temporal. No KMS, no chain. */
export function readSealingEnv(source: NodeJS.ProcessEnv = process.env) {
  const env = readEnv(
    z.object({
      DATABASE_URL: postgresUrl,
      KIFF_INCARNATION: incarnation,
      KIFF_HOST: host,
      /** The seals of one period start spread over this many seconds. */
      SEAL_SPREAD_SECONDS: whole.default(60),
      LOG_LEVEL,
    }),
    source,
  );
  return { ...env, temporal: loadClientConnectConfig() };
}
