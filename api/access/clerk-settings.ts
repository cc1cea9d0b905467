/** Settings of Clerk, as zod reads them from an environment: public things only. No process here has Clerk's secret key. */
import { createPublicKey } from 'node:crypto';
import { z } from 'zod';

/**
 * The instance's public key as PEM; line feeds may be written as \n. The library builds the key from the text's middle, so
 * it must be RSA with 2048 bits and the exponent 65537, which is what Clerk has, and is handed on in one spelling.
 */
export const clerkJwtKey = z.string().transform((text, context) => {
  try {
    const key = createPublicKey(text.replaceAll(String.raw`\n`, '\n'));
    const { modulusLength, publicExponent } = key.asymmetricKeyDetails ?? {};
    if (key.asymmetricKeyType === 'rsa' && modulusLength === 2048 && publicExponent === 65_537n) {
      return key.export({ type: 'spki', format: 'pem' }).toString();
    }
  } catch {
    // Not a key at all: the same message.
  }
  context.addIssue({ code: 'custom', message: 'must be an RSA public key of 2048 bits in PEM' });
  return z.NEVER;
});

/** Origins of our own pages, separated by commas: whose session tokens are taken, and who may ask a wallet to sign. */
export const authorizedParties = z.string().transform((text, context) => {
  const parties = text.split(',').map((party) => party.trim());
  const exact = parties.every((party) => URL.canParse(party) && new URL(party).origin === party);
  if (exact) return parties;
  context.addIssue({ code: 'custom', message: 'must be origins such as https://app.example.com, separated by commas' });
  return z.NEVER;
});
