import { loadClientConnectConfig } from '@temporalio/envconfig';
import { z } from 'zod';
import { address, httpUrl, LOG_LEVEL, positive, postgresUrl, readEnv, whole } from '../read-env.ts';

/** What the anchoring worker is given: the relayer's key (by AWS's own variables), Base, and the seal queue. */
export function readAnchoringEnv(source: NodeJS.ProcessEnv = process.env) {
  const env = readEnv(
    z.object({
      DATABASE_URL: postgresUrl,
      BASE_RPC_URL: httpUrl,
      CHAIN_ID: positive,
      CONTRACT: address,
      /** First block that can hold an event of the contract. */
      FROM_BLOCK: whole,
      /** Highest maxFeePerGas that is ever offered. */
      FEE_CEILING_GWEI: positive.default(50),
      /** How long an offer may go unmined before it is raised, seconds. */
      PATIENCE_SECONDS: positive.default(30),
      /** Between two looks while something is under way, and while nothing is, seconds. */
      POLL_SECONDS: positive.default(10),
      IDLE_SECONDS: positive.default(60),
      LOG_LEVEL,
    }),
    source,
  );
  return { ...env, temporal: loadClientConnectConfig() };
}
