/**
 * Clerk session tokens as evidence: verified with the instance's public key, without a network, against the moment at which they
 * arrived and not against now. A token lives for sixty seconds; what it proved then stays proved (design section 7).
 */
import { errors, importSPKI, jwtVerify, type CryptoKey } from 'jose';
import { FRESH_MINUTES, permissionsOf, sessionClaims } from '../../../protocol/session-claims.ts';

export type SessionRefusal =
  'token-invalid' | 'token-expired' | 'token-other-organisation' | 'no-permission' | 'not-two-factor' | 'impersonated';

export interface SessionEvidence {
  userId: string;
  organisation: string;
  /** Unix seconds, by Clerk's clock. */
  issuedAt: number;
  /** Both factors were verified within ten minutes before. */
  freshTwoFactor: boolean;
}

export interface SessionSettings {
  /** The instance's RSA public key as PEM. */
  jwtKey: string;
  /** Origins whose tokens are taken. */
  authorizedParties: readonly string[];
}

const MANAGE_CUSTODY = 'org:custody:manage';

/** How far Clerk's clock and the database's may be apart, in seconds; Clerk's own libraries allow as much. */
const CLOCK_SKEW_SECONDS = 5;

/** Clerk's session tokens live for a minute; whatever an instance is set to, none counts for longer than this. */
const MAX_AGE_SECONDS = 600;

/**
 * @returns a function that judges a token at a moment. Whoever passes may manage custody and acts for nobody else; that the person
 *   is still a member, and of this tenant, the directory says.
 */
export function createSessionJudge({ jwtKey, authorizedParties }: SessionSettings) {
  let key: Promise<CryptoKey> | undefined;
  return async (token: string, at: Date): Promise<SessionEvidence | { refused: SessionRefusal }> => {
    key ??= importSPKI(jwtKey, 'RS256');
    let verified;
    try {
      verified = await jwtVerify(token, await key, {
        algorithms: ['RS256'],
        currentDate: at,
        clockTolerance: CLOCK_SKEW_SECONDS,
        requiredClaims: ['exp', 'nbf', 'iat'],
      });
    } catch (error) {
      if (error instanceof errors.JWTExpired) return { refused: 'token-expired' };
      if (error instanceof errors.JOSEError) return { refused: 'token-invalid' };
      throw error;
    }
    const parsed = sessionClaims.safeParse(verified.payload);
    if (!parsed.success) return { refused: 'token-invalid' };
    const { sub, azp, iat, sts, fva, act, o } = parsed.data;
    if (!authorizedParties.includes(azp) || sts === 'pending') return { refused: 'token-invalid' };
    // One that was issued long before it arrived would make a passkey look older than it is.
    if (iat < at.getTime() / 1000 - MAX_AGE_SECONDS) return { refused: 'token-expired' };
    if (act !== undefined && act !== null) return { refused: 'impersonated' };
    if (o === undefined) return { refused: 'token-other-organisation' };
    if (!permissionsOf(verified.payload).includes(MANAGE_CUSTODY)) return { refused: 'no-permission' };
    const fresh = fva !== undefined && fva.every((minutes) => minutes >= 0 && minutes <= FRESH_MINUTES);
    return { userId: sub, organisation: o.id, issuedAt: iat, freshTwoFactor: fresh };
  };
}

export type JudgeSession = ReturnType<typeof createSessionJudge>;
