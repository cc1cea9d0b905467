/** When keys were last used: remembered here and reported in batches, so that a request costs no write. */
import type { Pool } from 'pg';
import type { Logger } from 'pino';
import { errorFacts } from '../http/log.ts';

export interface KeyUses {
  note(keyId: string): void;
  /** Reports what was noted since the last time; what cannot be reported now is tried again. */
  flush(): Promise<void>;
}

/** @param directory the product database with the login kiff_api */
export function createKeyUses(directory: Pick<Pool, 'query'>, log: Logger): KeyUses {
  let used = new Set<string>();

  return {
    note: (keyId) => void used.add(keyId),
    async flush() {
      if (used.size === 0) return;
      const reported = used;
      used = new Set();
      try {
        await directory.query('SELECT kiff.note_keys_used($1)', [[...reported]]);
      } catch (error) {
        for (const keyId of reported) used.add(keyId);
        log.warn(errorFacts(error), 'keys.use-not-reported');
      }
    },
  };
}
