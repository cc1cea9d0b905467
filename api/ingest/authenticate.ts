/** From the Authorization header to the caller: `Bearer kiff_live_…` is an API key, anything else a session token. */
import { timingSafeEqual } from 'node:crypto';
import type { Pool } from 'pg';
import { bearerOf } from '../access/bearer.ts';
import type { Caller, KeyCaller } from '../access/caller.ts';
import { ruleFor, type Right } from '../access/rights.ts';
import { createFindMember } from '../access/find-member.ts';
import { createSessions } from '../access/sessions.ts';
import { looksLikeToken, type VerifySession } from '../access/session-token.ts';
import { createShortMemory } from '../access/short-memory.ts';
import { admitTenant, tenantLimits, type TenantState } from '../access/tenant-state.ts';
import { Problem, unavailable } from '../http/problems.ts';
import { isUnavailable } from '../http/database.ts';
import { API_KEY_PREFIX, hashApiKey, parseApiKey } from './api-key.ts';

/** How long a known key is believed: a revocation takes effect within this time in every process. */
const MEMORY = { milliseconds: 4_000, entries: 10_000 };

interface KeyRow extends TenantState {
  key_id: string;
  hash: Buffer;
  tenant: string;
  scopes: string[];
  expires_at: Date | null;
  revoked_at: Date | null;
  login_version: number;
  links_version: number;
  key_requests: number | null;
  key_records: number | null;
  /** Null while the tenant has no log. */
  log_ordinal: number | null;
}

export interface AuthenticateDependencies {
  /** The product database with the login kiff_api, which can look up a key by its hash, a member by both ids, and no more. */
  directory: Pick<Pool, 'query'>;
  verifySession: VerifySession;
  /** Hears the id of every key that is let in. */
  onKeyUsed?: (keyId: string) => void;
  /** Unix milliseconds. */
  now?: () => number;
}

export interface Authenticate {
  /** Only keys post records. */
  (header: string | undefined, right: 'ingest'): Promise<KeyCaller>;
  (header: string | undefined, right: Right): Promise<Caller>;
  /**
   * Who asks, if it is a key that is remembered and may do this: decided at once and without a lookup. Undefined says nothing but
   * that the long way has to be gone.
   */
  known(header: string | undefined, right: Right): KeyCaller | undefined;
}

/**
 * @returns a function from the header's value and what is asked for to the caller
 * @throws (that function) Problem unauthorized, missing-scope, tenant-ended, tenant-not-ready, log-frozen, unavailable;
 *   for persons what access/sessions.ts throws
 */
export function createAuthenticate(dependencies: AuthenticateDependencies): Authenticate {
  const { directory, verifySession, onKeyUsed, now = Date.now } = dependencies;
  const keys = createShortMemory<KeyRow>({ ...MEMORY, now });
  const admitPerson = createSessions({
    verify: verifySession,
    findMember: createFindMember(directory),
    now,
  });

  async function findKey(hash: Buffer): Promise<KeyRow | undefined> {
    try {
      const { rows } = await directory.query<KeyRow>('SELECT * FROM kiff.find_api_key($1)', [hash]);
      return rows[0];
    } catch (error) {
      throw isUnavailable(error) ? unavailable(error) : error;
    }
  }

  async function admitKey(key: string, right: Right): Promise<KeyCaller> {
    const parsed = parseApiKey(key);
    if (parsed === null) throw new Problem('unauthorized', 'The API key is mistyped: its form or checksum is wrong.');

    const hash = hashApiKey(key);
    const row = await keys.recall(hash.toString('latin1'), () => findKey(hash));
    if (row === undefined || row.tenant !== parsed.tenant) throw dead();
    return judge(row, hash, right);
  }

  /** @throws Problem as authenticate does */
  function judge(row: KeyRow, hash: Buffer, right: Right): KeyCaller {
    const over = row.revoked_at !== null || (row.expires_at?.getTime() ?? Infinity) <= now();
    if (over || !timingSafeEqual(row.hash, hash)) throw dead();
    const { scope } = ruleFor(right);
    if (scope === null) throw new Problem('missing-scope', 'An API key may not do this; sign in.');
    const enough: readonly string[] = typeof scope === 'string' ? [scope] : scope;
    if (scope !== 'any' && !row.scopes.some((has) => enough.includes(has)))
      throw new Problem('missing-scope', `The API key lacks the scope "${enough[0]}".`);
    admitTenant(row, right);
    onKeyUsed?.(row.key_id);
    return {
      tenant: row.tenant,
      loginVersion: row.login_version,
      by: row.key_id,
      keyId: row.key_id,
      scopes: row.scopes,
      linksVersion: row.links_version,
      logOrdinal: row.log_ordinal,
      limits: {
        tenant: tenantLimits(row),
        key: { requests: row.key_requests, records: row.key_records },
      },
    };
  }

  async function authenticate(header: string | undefined, right: Right): Promise<Caller> {
    const credential = bearerOf(header) ?? '';
    if (credential.startsWith(API_KEY_PREFIX)) return admitKey(credential, right);
    if (looksLikeToken(credential)) return admitPerson(credential, right);
    const detail = 'Send "Authorization: Bearer" and an API key (kiff_live_…) or a session token.';
    throw new Problem('unauthorized', detail);
  }

  function known(header: string | undefined, right: Right): KeyCaller | undefined {
    const credential = bearerOf(header) ?? '';
    if (!credential.startsWith(API_KEY_PREFIX)) return undefined;
    const hash = hashApiKey(credential);
    const row = keys.peek(hash.toString('latin1'));
    if (row === undefined) return undefined;
    try {
      return judge(row, hash, right);
    } catch (error) {
      if (error instanceof Problem) return undefined;
      throw error;
    }
  }
  return Object.assign(authenticate, { known }) as Authenticate;
}

const dead = (): Problem => new Problem('unauthorized', 'The API key is unknown, revoked or expired.');
