/** What an authenticator's answer looks like as JSON (WebAuthn level 3 section 5.1), and what we ask it. */
import { z } from 'zod';

const base64url = (most: number) =>
  z
    .string()
    .max(most)
    .regex(/^[A-Za-z0-9_-]+$/, 'must be base64url');

/** As an authenticator has made it up. */
export const credentialId = base64url(1_400);

/** Extensions and hints of browsers are left out: nothing here reads them, and what is stored is bounded. */
const clientExtensionResults = z
  .unknown()
  .optional()
  .transform(() => ({}));

/** RegistrationResponseJSON, as far as it is read. */
export const registrationShape = z
  .object({
    id: credentialId,
    rawId: credentialId,
    type: z.literal('public-key'),
    response: z.object({
      clientDataJSON: base64url(2_000),
      attestationObject: base64url(4_000),
      transports: z
        .array(z.string().regex(/^[a-z-]{1,20}$/))
        .max(10)
        .optional(),
    }),
    clientExtensionResults,
  })
  .meta({ id: 'PasskeyRegistration' });

/** AuthenticationResponseJSON, as far as it is read. */
export const assertionShape = z
  .object({
    id: credentialId,
    rawId: credentialId,
    type: z.literal('public-key'),
    response: z.object({
      clientDataJSON: base64url(2_000),
      authenticatorData: base64url(2_000),
      signature: base64url(1_000),
      userHandle: base64url(100).optional(),
    }),
    clientExtensionResults,
  })
  .meta({ id: 'PasskeyAssertion' });

const descriptor = z.object({
  id: z.string(),
  type: z.literal('public-key'),
  transports: z.array(z.string()).optional(),
});

/** For `navigator.credentials.create`. */
export const creationOptionsShape = z
  .object({
    rp: z.object({ id: z.string(), name: z.string() }),
    user: z.object({ id: z.string(), name: z.string(), displayName: z.string() }),
    challenge: z.string(),
    pubKeyCredParams: z.array(z.object({ type: z.literal('public-key'), alg: z.int() })),
    timeout: z.int(),
    attestation: z.literal('none'),
    excludeCredentials: z.array(descriptor),
    authenticatorSelection: z.object({
      residentKey: z.literal('preferred'),
      userVerification: z.literal('required'),
    }),
  })
  .meta({ id: 'PasskeyCreationOptions' });

/** For `navigator.credentials.get`. */
export const requestOptionsShape = z
  .object({
    challenge: z.string().describe('The digest of the CustodyApproval: what is approved is what is signed'),
    rpId: z.string(),
    timeout: z.int(),
    userVerification: z.literal('required'),
    allowCredentials: z.array(descriptor),
  })
  .meta({ id: 'PasskeyRequestOptions' });

/** How long a browser lets a person look for their passkey, in milliseconds. */
export const CEREMONY_MILLISECONDS = 300_000;
