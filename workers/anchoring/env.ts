import { loadClientConnectConfig } from '@temporalio/envconfig';
import { z } from 'zod';
import { address, httpUrls, incarnation, LOG_LEVEL, positive, postgresUrl, readEnv, whole } from '../read-env.ts';

/** What the anchoring worker is given: the relayer's key (by AWS's own variables), Base, and the seal queue. */
export function readAnchoringEnv(source: NodeJS.ProcessEnv = process.env) {
  const env = readEnv(
    z.object({
      DATABASE_URL: postgresUrl,
      KIFF_INCARNATION: incarnation,
      /** The first is asked about the chain's tip, each gets the transactions, and only what they agree on is final. */
      BASE_RPC_URLS: httpUrls,
      CHAIN_ID: positive,
      CONTRACT: address,
      /** First block that can hold an event of the contract. */
      FROM_BLOCK: whole,
      /** Highest maxFeePerGas that is ever offered. */
      FEE_CEILING_GWEI: positive.default(50),
      /** How many blocks may pass an offer by before it is raised: half a minute of Base. */
      PATIENCE_BLOCKS: positive.default(15),
      /** Between two looks while something is under way, and while nothing is, seconds. */
      POLL_SECONDS: positive.default(10),
      IDLE_SECONDS: positive.default(60),
      LOG_LEVEL,
    }),
    source,
  );
  return { ...env, temporal: loadClientConnectConfig() };
}
