/**
 * A passkey in software, as an authenticator with a screen lock answers (WebAuthn level 3 sections 6.1 and 6.5): for tests that have
 * no browser. What a browser would do, the page's own test shows.
 */
import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto';

/** RegistrationResponseJSON and AuthenticationResponseJSON. */
export interface Registration {
  id: string;
  rawId: string;
  type: 'public-key';
  response: { clientDataJSON: string; attestationObject: string; transports: ['internal'] };
  clientExtensionResults: Record<string, never>;
}
export interface Assertion {
  id: string;
  rawId: string;
  type: 'public-key';
  response: { clientDataJSON: string; authenticatorData: string; signature: string };
  clientExtensionResults: Record<string, never>;
}

export interface CeremonyOptions {
  /** base64url. */
  challenge: string;
  /** Scheme, host and port of the page. */
  origin: string;
  /** The origin's host unless given. */
  rpId?: string;
  /** Whether the authenticator verified its user; true unless given. */
  verified?: boolean;
  /** What the registered key says that it is, in COSE; -7 (ES256), which it is, unless given. */
  algorithm?: number;
}

export interface SoftwarePasskey {
  id: string;
  register(options: CeremonyOptions): Registration;
  assert(options: CeremonyOptions): Assertion;
}

const USER_PRESENT = 0x01;
const USER_VERIFIED = 0x04;
const ATTESTED = 0x40;

export function createPasskey(): SoftwarePasskey {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { x = '', y = '' } = publicKey.export({ format: 'jwk' });
  const credential = randomBytes(16);
  const id = credential.toString('base64url');
  const head = { id, rawId: id, type: 'public-key', clientExtensionResults: {} } as const;

  return {
    id,
    register(options) {
      // COSE_Key (RFC 9053): kty 2 (EC2), alg -7 (ES256), crv 1 (P-256), x, y.
      const key = Buffer.concat([
        Buffer.from([0xa5, 0x01, 0x02, 0x03]),
        cborNegative(options.algorithm ?? -7),
        Buffer.from([0x20, 0x01, 0x21, 0x58, 0x20]),
        Buffer.from(x, 'base64url'),
        Buffer.from([0x22, 0x58, 0x20]),
        Buffer.from(y, 'base64url'),
      ]);
      const length = Buffer.from([0, credential.length]);
      const authData = authenticatorData(options, Buffer.concat([Buffer.alloc(16), length, credential, key]));
      const attestation = Buffer.concat([
        Buffer.from([0xa3]),
        cborText('fmt'),
        cborText('none'),
        cborText('attStmt'),
        Buffer.from([0xa0]),
        cborText('authData'),
        Buffer.from([0x58, authData.length]),
        authData,
      ]);
      return {
        ...head,
        response: {
          clientDataJSON: clientData('webauthn.create', options).toString('base64url'),
          attestationObject: attestation.toString('base64url'),
          transports: ['internal'],
        },
      };
    },
    assert(options) {
      const data = clientData('webauthn.get', options);
      const authData = authenticatorData(options);
      const signed = Buffer.concat([authData, createHash('sha256').update(data).digest()]);
      return {
        ...head,
        response: {
          clientDataJSON: data.toString('base64url'),
          authenticatorData: authData.toString('base64url'),
          signature: sign('sha256', signed, privateKey).toString('base64url'),
        },
      };
    },
  };
}

const clientData = (type: string, { challenge, origin }: CeremonyOptions): Buffer =>
  Buffer.from(JSON.stringify({ type, challenge, origin, crossOrigin: false }));
const authenticatorData = (
  { origin, rpId = new URL(origin).hostname, verified = true }: CeremonyOptions,
  attested?: Buffer,
) =>
  Buffer.concat([
    createHash('sha256').update(rpId).digest(),
    Buffer.from([USER_PRESENT | (verified ? USER_VERIFIED : 0) | (attested ? ATTESTED : 0), 0, 0, 0, 0]),
    attested ?? Buffer.alloc(0),
  ]);

/** From -256 to -1. */
const cborNegative = (value: number): Buffer =>
  value >= -24 ? Buffer.from([0x1f - value]) : Buffer.from([0x38, -1 - value]);

/** Shorter than 24 bytes. */
const cborText = (text: string): Buffer => Buffer.concat([Buffer.from([0x60 + text.length]), Buffer.from(text)]);
