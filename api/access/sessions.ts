/** From a session token to the person who asks: token, membership, permission, and for sensitive acts the second factor. */
import { FRESH_MINUTES } from '../../protocol/session-claims.ts';
import { Problem } from '../http/problems.ts';
import type { UserCaller } from './caller.ts';
import { ruleFor, type Right } from './rights.ts';
import type { Session, VerifySession } from './session-token.ts';
import { createShortMemory } from './short-memory.ts';
import { admitTenant, tenantLimits, type TenantState } from './tenant-state.ts';

/** What the directory knows of a token's organisation and user (`kiff.find_member`). */
export interface MemberRow extends TenantState {
  /** Null until the organisation's tenant has one. */
  tenant: string | null;
  login_version: number;
  /** Null of a user whom no event has named yet: the token's word stands then. */
  member: boolean | null;
  /** Tokens issued before are of other rights. */
  changed_at: Date | null;
}

export interface SessionsDependencies {
  verify: VerifySession;
  findMember: (organisation: string, userId: string) => Promise<MemberRow | undefined>;
  /** Unix milliseconds. */
  now: () => number;
}

const MEMORY = { milliseconds: 4_000, entries: 10_000 };

/**
 * @returns a function from a token and what is asked for to the caller
 * @throws (that function) Problem unauthorized, no-organisation, not-a-member, missing-permission, impersonated,
 *   second-factor-required, reverification-required, tenant-not-ready, tenant-ended
 */
export function createSessions({ verify, findMember, now }: SessionsDependencies) {
  const members = createShortMemory<MemberRow>({ ...MEMORY, now });

  return async function admitPerson(token: string, right: Right): Promise<UserCaller> {
    const session = await verify(token);
    const { permission, sensitive = false } = ruleFor(right);
    const { organisation, userId } = session;
    const name = `${organisation} ${userId}`;
    const row = await members.recall(name, () => findMember(organisation, userId), sensitive);
    admitMember(session, row);
    if (permission === null || (permission !== 'member' && !session.has(permission))) {
      const detail = permission === null ? 'This needs an API key.' : `This needs the permission "${permission}".`;
      throw new Problem('missing-permission', detail);
    }
    if (sensitive) requireSecondFactor(session);
    if (row?.tenant === undefined || row.tenant === null) {
      throw new Problem('tenant-not-ready', 'This organisation is being set up; try again in a moment.', {
        retryAfter: 5,
      });
    }
    admitTenant(row, right);
    return {
      tenant: row.tenant,
      loginVersion: row.login_version,
      by: userId,
      userId,
      party: session.party,
      managesKeys: session.has('org:keys:manage'),
      limits: { tenant: tenantLimits(row) },
    };
  };
}

/** A token lives on for a minute after what it says was changed; what we were told since is stronger. */
function admitMember({ issuedAt }: Session, row: MemberRow | undefined): void {
  if (row?.organisation_deleted === true || row?.member === false) {
    throw new Problem('not-a-member', 'You are no member of this organisation any more.');
  }
  const changedAt = row?.changed_at?.getTime();
  // The token's time is in whole seconds: one from the same second may be from before.
  if (changedAt !== undefined && issuedAt * 1_000 <= changedAt) {
    throw new Problem('unauthorized', 'Your role has changed since this session token was issued; get a new one.');
  }
}

/**
 * Two factors, both from the last ten minutes, and nobody acting as somebody else. Clerk's own check (`has` with
 * `strict_mfa`) passes a user who has no second factor, so the ages are judged here.
 */
function requireSecondFactor({ factorAges, impersonated }: Session): void {
  if (impersonated) throw new Problem('impersonated', 'Nobody may do this in somebody else’s name.');
  if (factorAges === null || factorAges[1] === -1) {
    throw new Problem('second-factor-required', 'This needs a second factor: set one up and verify it.');
  }
  if (!factorAges.every((minutes) => minutes >= 0 && minutes <= FRESH_MINUTES)) {
    throw new Problem('reverification-required', 'This needs both factors, verified in the last ten minutes.');
  }
}
