import { loadClientConnectConfig } from '@temporalio/envconfig';
import { z } from 'zod';
import { keyRoles, LOG_LEVEL, readEnv } from '../read-env.ts';

/** What the key administrator is given: KMS administration (by AWS's own variables), and nothing else. */
export function readKeyAdminEnv(source: NodeJS.ProcessEnv = process.env) {
  return { ...readEnv(z.object({ ...keyRoles, LOG_LEVEL }), source), temporal: loadClientConnectConfig() };
}
