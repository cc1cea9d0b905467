/** From `Authorization: Bearer kiff_live_…` to the tenant that asks. */
import type { Pool } from 'pg';
import { Problem, unavailable } from '../http/problems.ts';
import { hashApiKey, parseApiKey } from './api-key.ts';
import { isUnavailable } from '../http/database.ts';

export type Scope = 'ingest' | 'read';

/** Who asks, as the directory knew it within the last seconds. */
export interface Caller {
  tenant: string;
  keyId: string;
  scopes: readonly string[];
  loginVersion: number;
}

/** The tenant schema that this code was written for; one that lags is refused, its neighbours are not. */
export const TENANT_SCHEMA_VERSION = 4;

/** How long a known key is believed: a revocation takes effect within this time in every process. */
const CACHE_MILLISECONDS = 4_000;
const CACHE_ENTRIES = 10_000;

interface KeyRow {
  key_id: string;
  tenant: string;
  scopes: string[];
  expires_at: Date | null;
  revoked_at: Date | null;
  tenant_status: 'onboarding' | 'active' | 'paused' | 'ended';
  login_version: number;
  schema_version: number;
  /** Null while the tenant has no log. */
  log_ordinal: number | null;
  frozen_reason: string | null;
}

export interface AuthenticateDependencies {
  /** The product database with the login kiff_api, which can look a key up by its hash and nothing else. */
  directory: Pick<Pool, 'query'>;
  /** Unix milliseconds. */
  now?: () => number;
}

/**
 * @returns a function from the header's value and what is asked for to the caller
 * @throws (that function) Problem unauthorized, missing-scope, tenant-ended, tenant-not-ready, log-frozen, unavailable
 */
export function createAuthenticate({ directory, now = Date.now }: AuthenticateDependencies) {
  // Only keys that exist are kept, so made-up ones cannot push real ones out. Lookups of one key at a time are shared.
  const known = new Map<string, { until: number; row: Promise<KeyRow | undefined> }>();

  function find(key: string): Promise<KeyRow | undefined> {
    const hash = hashApiKey(key);
    const name = hash.toString('latin1');
    const cached = known.get(name);
    if (cached !== undefined && cached.until > now()) return cached.row;

    const row = lookUp(hash);
    const entry = { until: now() + CACHE_MILLISECONDS, row };
    known.delete(name);
    known.set(name, entry);
    for (const oldest of known.keys()) {
      if (known.size <= CACHE_ENTRIES) break;
      known.delete(oldest);
    }
    const forget = (): void => {
      if (known.get(name) === entry) known.delete(name);
    };
    void row.then((found) => found ?? forget(), forget);
    return row;
  }

  async function lookUp(hash: Buffer): Promise<KeyRow | undefined> {
    try {
      const { rows } = await directory.query<KeyRow>('SELECT * FROM kiff.find_api_key($1)', [hash]);
      return rows[0];
    } catch (error) {
      throw isUnavailable(error) ? unavailable(error) : error;
    }
  }

  /** @param scope what is asked for; without one any key of the tenant will do */
  return async function authenticate(header: string | undefined, scope?: Scope): Promise<Caller> {
    const [, key] = /^Bearer ([!-~]{1,128})$/i.exec(header ?? '') ?? [];
    if (key === undefined) throw new Problem('unauthorized', 'Send an API key: "Authorization: Bearer kiff_live_…".');
    const parsed = parseApiKey(key);
    if (parsed === null) throw new Problem('unauthorized', 'The API key is mistyped: its form or checksum is wrong.');

    const row = await find(key);
    const dead = row === undefined || row.revoked_at !== null || (row.expires_at?.getTime() ?? Infinity) <= now();
    if (dead || row.tenant !== parsed.tenant) {
      throw new Problem('unauthorized', 'The API key is unknown, revoked or expired.');
    }
    if (scope !== undefined && !row.scopes.includes(scope))
      throw new Problem('missing-scope', `The API key lacks the scope "${scope}".`);
    if (row.tenant_status === 'onboarding' || row.schema_version < TENANT_SCHEMA_VERSION) {
      throw new Problem('tenant-not-ready', 'This tenant is being set up; try again in a moment.', { retryAfter: 5 });
    }
    if (row.tenant_status === 'paused' && scope === 'ingest') {
      // Every acceptance carries a promise, and a paused log seals nothing.
      throw new Problem('tenant-not-ready', 'This tenant is paused and takes no records now.', { retryAfter: 60 });
    }
    if (row.tenant_status === 'ended' && scope === 'ingest') {
      throw new Problem('tenant-ended', 'This log has ended and takes no more records.');
    }
    if (row.frozen_reason !== null && scope === 'ingest') {
      // As above. In a restored database an index that was promised before could even be promised again.
      const detail = 'This log is frozen until it has been looked into; it takes no records now. Reading goes on.';
      throw new Problem('log-frozen', detail, { retryAfter: 60 });
    }
    return { tenant: row.tenant, keyId: row.key_id, scopes: row.scopes, loginVersion: row.login_version };
  };
}

export type Authenticate = ReturnType<typeof createAuthenticate>;
