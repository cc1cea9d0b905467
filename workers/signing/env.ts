import { loadClientConnectConfig } from '@temporalio/envconfig';
import { z } from 'zod';
import {
  address,
  host,
  httpUrls,
  incarnation,
  keyRoles,
  LOG_LEVEL,
  positive,
  postgresUrl,
  readEnv,
} from '../read-env.ts';

/** What the signing worker is given: its journal, KMS Sign (by AWS's own variables), and its own view of Base. */
export function readSigningEnv(source: NodeJS.ProcessEnv = process.env) {
  const env = readEnv(
    z.object({
      DATABASE_URL: postgresUrl,
      KIFF_INCARNATION: incarnation,
      JOURNAL_URL: postgresUrl,
      /** Its own list: what it believes of the chain is not what the anchoring worker's providers say. */
      BASE_RPC_URLS: httpUrls,
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
