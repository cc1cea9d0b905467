/** Who asks the custody API: people who are signed in, never a key; and how often they may. */
import type { Pool } from 'pg';
import { bearerOf } from '../access/bearer.ts';
import type { Caller, UserCaller } from '../access/caller.ts';
import { createFindMember } from '../access/find-member.ts';
import { createRateLimits } from '../access/limits.ts';
import { createSessions } from '../access/sessions.ts';
import { looksLikeToken, type VerifySession } from '../access/session-token.ts';
import type { Admit } from '../http/mount.ts';
import { Problem } from '../http/problems.ts';

/** Per second and tenant: some people's pages that ask every few seconds; and what each of them leaves in the database. */
const READS_PER_SECOND = 20;
const ACTS_PER_SECOND = 5;

export interface AuthenticateDependencies {
  /** The product database with the login kiff_custody, which can look a member up by both ids, and no more. */
  directory: Pick<Pool, 'query'>;
  verifySession: VerifySession;
  /** Unix milliseconds. */
  now: () => number;
}

/** @throws (the function that it returns) Problem unauthorized, rate-limited, and what access/sessions.ts throws */
export function createAdmit({ directory, verifySession, now }: AuthenticateDependencies): Admit {
  const admitPerson = createSessions({ verify: verifySession, findMember: createFindMember(directory), now });
  const reads = createRateLimits(now);
  const acts = createRateLimits(now);

  return async (right, request, response) => {
    const credential = bearerOf(request.get('authorization'));
    if (credential === undefined || !looksLikeToken(credential)) {
      throw new Problem('unauthorized', 'Send "Authorization: Bearer" and a session token; API keys have no custody.');
    }
    const caller = await admitPerson(credential, right);
    response.locals['caller'] = caller;
    const [limits, requests] = right === 'read-custody' ? [reads, READS_PER_SECOND] : [acts, ACTS_PER_SECOND];
    limits.admit({ ...caller, limits: { tenant: { requests, records: null } } }, right, response);
    return caller;
  };
}

/** Every caller here is a person: no right of this API is given to keys. */
export function personOf(caller: Caller): UserCaller {
  if (caller.userId === undefined) throw new Error('no key has a right of custody');
  return caller;
}
