/** Configuration of the veto server. Nothing else in this process reads the environment. */
import { z } from 'zod';
import { incarnation, listening, postgresUrl, readEnv } from '../../api/http/read-env.ts';

/** @throws Error that lists every problem at once, by name, never with a value */
export function readVetoEnv(env: NodeJS.ProcessEnv = process.env) {
  return readEnv(
    'the veto server',
    z.object({
      ...listening,
      /** The product database with the login kiff_veto. */
      DATABASE_URL: postgresUrl,
      KIFF_INCARNATION: incarnation,
    }),
    env,
  );
}
