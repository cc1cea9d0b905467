/**
 * Passkeys (WebAuthn level 3), verified by the signer itself, without a network: their registration, and assertions over an approval.
 * Attestation is not asked for: which make an authenticator is decides nothing here.
 */
import {
  verifyAuthenticationResponse,
  verifyRegistrationResponse,
  type AuthenticationResponseJSON,
  type RegistrationResponseJSON,
  type WebAuthnCredential,
} from '@simplewebauthn/server';
import { decodeAttestationObject, isoBase64URL } from '@simplewebauthn/server/helpers';
import { fromHex, type Hex } from '../../../protocol/hex.ts';
import { PASSKEY_ALGORITHMS } from '../../../protocol/passkey.ts';

/** Where the custody API is served: what a passkey is bound to. */
export interface RelyingParty {
  origin: string;
}

const rpId = ({ origin }: RelyingParty): string => new URL(origin).hostname;

/**
 * A registration as it arrived. Null when it is none of ours: another origin, no user verification, another challenge, or an
 * attestation with certificates, which would have this process follow addresses that a stranger chose.
 */
export async function registeredPasskey(
  party: RelyingParty,
  registration: RegistrationResponseJSON,
  challenge: string,
): Promise<WebAuthnCredential | null> {
  try {
    const attestation = decodeAttestationObject(isoBase64URL.toBuffer(registration.response.attestationObject));
    const statement = attestation.get('attStmt');
    const format = attestation.get('fmt');
    if (format !== 'none' && !(format === 'packed' && statement.get('x5c') === undefined)) return null;
    const verified = await verifyRegistrationResponse({
      response: registration,
      expectedChallenge: challenge,
      expectedOrigin: party.origin,
      expectedRPID: rpId(party),
      requireUserVerification: true,
      // The library's own list grows with the runtime.
      supportedAlgorithmIDs: [...PASSKEY_ALGORITHMS],
    });
    return verified.verified ? verified.registrationInfo.credential : null;
  } catch {
    // The library throws an Error for everything that it does not like; nothing here can fail in another way.
    return null;
  }
}

/** Whether an assertion of this passkey is over exactly this digest, by a user who was verified, at our origin. */
export async function asserts(
  party: RelyingParty,
  credential: WebAuthnCredential,
  assertion: AuthenticationResponseJSON,
  digest: Hex,
): Promise<boolean> {
  try {
    const { verified, authenticationInfo } = await verifyAuthenticationResponse({
      response: assertion,
      expectedChallenge: isoBase64URL.fromBuffer(new Uint8Array(fromHex(digest, 32))),
      expectedOrigin: party.origin,
      expectedRPID: rpId(party),
      credential,
      requireUserVerification: true,
    });
    return verified && authenticationInfo.userVerified;
  } catch {
    return false;
  }
}
