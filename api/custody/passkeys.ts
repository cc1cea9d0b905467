/** Passkeys as their registrations say that they are: read from the tenant's own evidence, judged as the signing plane will. */
import {
  verifyAuthenticationResponse,
  verifyRegistrationResponse,
  type AuthenticationResponseJSON,
  type RegistrationResponseJSON,
  type VerifiedRegistrationResponse,
} from '@simplewebauthn/server';
import type { z } from 'zod';
import { PASSKEY_ALGORITHMS } from '../../protocol/passkey.ts';
import type { Queryable } from '../http/tenant-pools.ts';
import { readCommands, stands, type CustodyCommand } from './evidence.ts';
import type { assertionShape, registrationShape } from './webauthn-shapes.ts';

/** Where passkeys are made and used. */
export interface RelyingParty {
  /** Scheme, host and port. */
  origin: string;
  /** The host name. */
  id: string;
}

export interface Passkey {
  /** The credential's id, base64url. */
  id: string;
  /** The person whose session registered it. */
  userId: string;
  registeredAt: Date;
  state: CustodyCommand['state'];
  /** Whether somebody has asked to take it away; it counts no more. */
  removed: boolean;
  registration: z.output<typeof registrationShape>;
  challenge: string;
}

type Credential = NonNullable<VerifiedRegistrationResponse['registrationInfo']>['credential'];

/** Who has more than this has other troubles; the newest count. */
const MOST = 200;

/** The tenant's passkeys, oldest first, also those that were removed: of a credential that was registered twice the first time. */
export async function readPasskeys(db: Queryable): Promise<Passkey[]> {
  const commands = (await readCommands(db, ['custody.passkey', 'custody.passkey.remove'])).filter(stands);
  const removals = commands.filter(({ kind }) => kind === 'custody.passkey.remove');
  const removed = new Set(removals.map(({ payload }) => payload['passkey']));
  const passkeys = new Map<string, Passkey>();
  for (const command of commands.filter(({ kind }) => kind === 'custody.passkey').slice(-MOST)) {
    const { payload, by, issuedAt, state } = command;
    const { registration, challenge } = payload as Pick<Passkey, 'registration' | 'challenge'>;
    if (by === null || passkeys.has(registration.id)) continue;
    passkeys.set(registration.id, {
      id: registration.id,
      userId: by,
      registeredAt: issuedAt,
      state,
      removed: removed.has(registration.id),
      registration,
      challenge,
    });
  }
  return [...passkeys.values()];
}

/** @returns the public key, or nothing when the registration is not what it should be */
export async function credentialOf(
  { registration, challenge }: Pick<Passkey, 'registration' | 'challenge'>,
  party: RelyingParty,
): Promise<Credential | undefined> {
  return judged(async () => {
    const { registrationInfo } = await verifyRegistrationResponse({
      response: registration as RegistrationResponseJSON,
      expectedChallenge: challenge,
      expectedOrigin: party.origin,
      expectedRPID: party.id,
      requireUserVerification: true,
      supportedAlgorithmIDs: [...PASSKEY_ALGORITHMS],
    });
    return registrationInfo?.credential;
  });
}

/**
 * Whether a passkey says yes to a challenge, with its person verified.
 * @param challenge base64url
 */
export async function isApproved(
  passkey: Passkey,
  assertion: z.output<typeof assertionShape>,
  challenge: string,
  party: RelyingParty,
): Promise<boolean> {
  const credential = await credentialOf(passkey, party);
  if (credential === undefined) return false;
  const answer = await judged(() =>
    verifyAuthenticationResponse({
      response: assertion as AuthenticationResponseJSON,
      expectedChallenge: challenge,
      expectedOrigin: party.origin,
      expectedRPID: party.id,
      // Counters of synchronised passkeys stay at zero, and each challenge here is good for one approval only.
      credential: { ...credential, counter: 0 },
      requireUserVerification: true,
    }),
  );
  return answer?.verified === true;
}

/** The library throws where an answer is not as asked: for us that is a no. */
async function judged<T>(judge: () => Promise<T>): Promise<T | undefined> {
  try {
    return await judge();
  } catch {
    return undefined;
  }
}
