import { loadClientConnectConfig } from '@temporalio/envconfig';
import { z } from 'zod';
import { address, host, httpUrl, keyRoles, LOG_LEVEL, positive, postgresUrl, readEnv } from '../read-env.ts';

/** What the signing worker is given: its journal, KMS Sign (by AWS's own variables), and a view of Base. */
export function readSigningEnv(source: NodeJS.ProcessEnv = process.env) {
  const env = readEnv(
    z.object({
      DATABASE_URL: postgresUrl,
      JOURNAL_URL: postgresUrl,
      BASE_RPC_URL: httpUrl,
      CHAIN_ID: positive,
      CONTRACT: address,
      KIFF_HOST: host,
      ...keyRoles,
      LOG_LEVEL,
    }),
    source,
  );
  return { ...env, temporal: loadClientConnectConfig() };
}
