import { z } from 'zod';
import { address, httpUrl, positive, readEnv } from '../../workers/read-env.ts';

/** What the devnet's set-up is given; the key administrator's AWS variables besides, which read the relayer's address. */
export function readDevnetEnv(source: NodeJS.ProcessEnv = process.env) {
  return readEnv(
    z.object({
      BASE_RPC_URL: httpUrl,
      CHAIN_ID: positive,
      CONTRACT: address,
      PERIOD_SECONDS: positive,
      COOLING_OFF_SECONDS: positive,
      DEPLOYER_PRIVATE_KEY: z
        .string()
        .regex(/^0x[0-9a-fA-F]{64}$/, 'must be 32 bytes of 0x hex')
        .transform((key) => key as `0x${string}`),
    }),
    source,
  );
}
