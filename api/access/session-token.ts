/**
 * Session tokens of Clerk, version 2, verified with the instance's public key and without any network
 * (docs/decisions/2026-11-24-sessions-without-middleware.md).
 */
import { signedInAuthObject } from '@clerk/backend/internal';
import { verifyToken } from '@clerk/express';
import { sessionClaims } from '../../protocol/session-claims.ts';
import { Problem } from '../http/problems.ts';
import type { Permission } from './rights.ts';

/** What a verified token says. */
export interface Session {
  userId: string;
  organisation: string;
  /** `azp`: the origin that the token was issued to. */
  party: string;
  /** Unix seconds. */
  issuedAt: number;
  has(permission: Permission): boolean;
  /** Minutes since the first and the second factor were verified, when the token was issued; -1: never, or there is none. */
  factorAges: readonly [number, number] | null;
  /** Somebody else acts as this user (`act`). */
  impersonated: boolean;
}

/** Clerk's own are about 1 kB; nothing longer is looked at. */
const MAX_TOKEN_LENGTH = 8_192;
const JWT = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;

/** Whether a text has the form of a token; nothing is verified here. */
export function looksLikeToken(text: string): boolean {
  return text.length <= MAX_TOKEN_LENGTH && JWT.test(text);
}

export interface SessionTokenOptions {
  /** The instance's RSA public key (2048 bits) as PEM. */
  jwtKey: string;
  /** Origins whose tokens are taken. At least one: with none the library takes every party's. */
  authorizedParties: readonly string[];
}

/**
 * @returns a function from a token to what it says
 * @throws (that function) Problem unauthorized when it is not one of ours or not good now; no-organisation
 */
export function createSessionVerifier({ jwtKey, authorizedParties }: SessionTokenOptions) {
  if (authorizedParties.length === 0) throw new RangeError('no authorized party');

  return async function verifySession(token: string): Promise<Session> {
    const verified = await verify(token);
    const parsed = sessionClaims.safeParse(verified);
    if (!parsed.success) throw new Problem('unauthorized', 'This is no session token of version 2.');
    const { sub, azp, iat, sts, fva, act, o } = parsed.data;
    if (sts === 'pending') throw new Problem('unauthorized', 'This session has open tasks; finish them first.');
    if (o === undefined) {
      throw new Problem('no-organisation', 'Choose an organisation first: this session has none that is active.');
    }
    // The library's own reading of the claims that carry permissions (`o.per`, `o.fpm`, `fea`); it asks nobody for it.
    const auth = signedInAuthObject({}, token, verified);
    return {
      userId: sub,
      organisation: o.id,
      party: azp,
      issuedAt: iat,
      has: (permission) => auth.has({ permission }),
      factorAges: fva ?? null,
      impersonated: act !== undefined && act !== null,
    };
  };

  async function verify(token: string) {
    try {
      return await verifyToken(token, { jwtKey, authorizedParties: [...authorizedParties] });
    } catch (error) {
      const expired = error instanceof Error && 'reason' in error && error.reason === 'token-expired';
      const detail = expired ? 'The session token has expired; get a new one.' : 'The session token is not valid here.';
      throw new Problem('unauthorized', detail, { cause: error });
    }
  }
}

export type VerifySession = ReturnType<typeof createSessionVerifier>;
