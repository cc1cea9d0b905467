import { loadClientConnectConfig } from '@temporalio/envconfig';
import { z } from 'zod';
import { authorizedParties, clerkJwtKey } from '../../api/access/clerk-settings.ts';
import {
  address,
  EnvironmentError,
  host,
  httpUrls,
  incarnation,
  keyRoles,
  LOG_LEVEL,
  positive,
  postgresUrl,
  readEnv,
  whole,
} from '../read-env.ts';

const A_DAY = 86_400;
/** Of a deployment that is not somebody's own machine. */
const REAL_PERIOD = 3_600;

/** @throws EnvironmentError when passkeys would count that are younger than a day, on anything but a local stack */
export function requirePasskeyAge(seconds: number, periodSeconds: number): number {
  if (periodSeconds >= REAL_PERIOD && seconds < A_DAY) {
    throw new EnvironmentError(`PASSKEY_MIN_AGE_SECONDS: must be ${A_DAY} or more where a period is an hour`);
  }
  return seconds;
}

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
      /** Where the contract's events begin. */
      FROM_BLOCK: whole,
      KIFF_HOST: host,
      /** Clerk's public key: what admins left as evidence is verified here again. Not a secret, and nobody is asked. */
      CLERK_JWT_KEY: clerkJwtKey,
      CLERK_AUTHORIZED_PARTIES: authorizedParties,
      /** Where the custody API is served: what passkeys are bound to. */
      CUSTODY_ORIGIN: z
        .url()
        .refine((url) => new URL(url).origin === url, 'must be an origin such as https://custody.kiff.dev'),
      PASSKEY_MIN_AGE_SECONDS: whole.default(A_DAY),
      ...keyRoles,
      LOG_LEVEL,
    }),
    source,
  );
  return { ...env, temporal: loadClientConnectConfig() };
}
