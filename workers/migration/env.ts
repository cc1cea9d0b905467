import { loadClientConnectConfig } from '@temporalio/envconfig';
import { z } from 'zod';
import { incarnation, LOG_LEVEL, postgresUrl, readEnv } from '../read-env.ts';

const secret = z
  .string()
  .regex(/^(0x)?([0-9a-fA-F]{2}){32,1024}$/, 'must be 32 bytes or more of hex')
  .transform((text) => Buffer.from(text.replace(/^0x/, ''), 'hex'));

/** What the migration worker is given: the product database as its migrations' login, and what logins are derived from. */
export function readMigrationWorkerEnv(source: NodeJS.ProcessEnv = process.env) {
  const schema = z.object({
    DATABASE_URL: postgresUrl,
    KIFF_INCARNATION: incarnation,
    TENANT_LOGIN_SECRET: secret,
    CUSTODY_LOGIN_SECRET: secret,
    LOG_LEVEL,
  });
  return { ...readEnv(schema, source), temporal: loadClientConnectConfig() };
}
