import { loadClientConnectConfig } from '@temporalio/envconfig';
import { z } from 'zod';
import type { CustodyPolicy } from '../../activities/custody/policy.ts';
import { host, incarnation, LOG_LEVEL, positive, postgresUrl, readEnv, whole } from '../read-env.ts';

/** What the sealing worker is given: the product database and Temporal. No KMS, no chain. */
export function readSealingEnv(source: NodeJS.ProcessEnv = process.env) {
  const env = readEnv(
    z.object({
      DATABASE_URL: postgresUrl,
      KIFF_INCARNATION: incarnation,
      KIFF_HOST: host,
      /** The seals of one period start spread over this many seconds. */
      SEAL_SPREAD_SECONDS: whole.default(60),
      /** Policy of custody migrations; where it is sealed every hour, nothing may be shorter than the defaults. */
      CUSTODY_APPROVALS_SECONDS: positive.optional(),
      CUSTODY_TRIAL_SEALS: positive.optional(),
      CUSTODY_HANDOVER_SECONDS: positive.optional(),
      CUSTODY_OBSERVATION_SECONDS: whole.optional(),
      /** KMS takes 7 to 30. */
      CUSTODY_DELETION_DAYS: positive.min(7).max(30).optional(),
      LOG_LEVEL,
    }),
    source,
  );
  return { ...env, temporal: loadClientConnectConfig() };
}

/** What the environment says of the custody policy; the rest is default. */
export function custodyOf(env: ReturnType<typeof readSealingEnv>): Partial<CustodyPolicy> {
  const asked = {
    approvals: env.CUSTODY_APPROVALS_SECONDS,
    trialSeals: env.CUSTODY_TRIAL_SEALS,
    handoverExpiry: env.CUSTODY_HANDOVER_SECONDS,
    observation: env.CUSTODY_OBSERVATION_SECONDS,
    deletionWindow: env.CUSTODY_DELETION_DAYS === undefined ? undefined : env.CUSTODY_DELETION_DAYS * 86_400,
  };
  return Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== undefined));
}
