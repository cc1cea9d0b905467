import { loadClientConnectConfig } from '@temporalio/envconfig';
import { z } from 'zod';
import { incarnation, keyRoles, LOG_LEVEL, postgresUrl, readEnv } from '../read-env.ts';

/** What the key administrator is given: KMS administration (by AWS's own variables), and one question that it may ask the product database. */
export function readKeyAdminEnv(source: NodeJS.ProcessEnv = process.env) {
  const schema = z.object({ DATABASE_URL: postgresUrl, KIFF_INCARNATION: incarnation, ...keyRoles, LOG_LEVEL });
  return { ...readEnv(schema, source), temporal: loadClientConnectConfig() };
}
