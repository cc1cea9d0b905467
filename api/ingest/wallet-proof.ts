/**
 * That a wallet's owner says which actor the wallet belongs to: a Sign-In with Ethereum message (EIP-4361) for this origin,
 * chain, log and actor, signed by the wallet. The nonce is judged where it is used up, in the database.
 */
import type { Hex } from '../../protocol/hex.ts';
import { personalMessageDigest } from '../../protocol/personal-message.ts';
import { recoverSigner, SignatureError } from '../../protocol/signature.ts';
import { parseSiweMessage, SiweError, siweText, type SiweMessage } from '../../protocol/siwe.ts';
import { Problem } from '../http/problems.ts';

/** What a message must be about. */
export interface Subject {
  /** The origin of the page that the user is signed in at. */
  party: string;
  chainId: number;
  /** The log's origin, so that no other tenant can use the message. */
  origin: string;
  actor: string;
}

/** How far a wallet's clock may be ahead of ours. */
const SKEW_MILLISECONDS = 60_000;

/** The text for a wallet to sign. Times are Unix milliseconds. */
export function challengeText(
  subject: Subject,
  terms: { wallet: Hex; nonce: string; issuedAt: number; expiresAt: number },
): string {
  const { party, chainId, origin } = subject;
  return siweText({
    domain: new URL(party).host,
    address: terms.wallet,
    statement: `Link this wallet to an actor of ${origin}, for attribution only. It gives no rights.`,
    uri: party,
    chainId,
    nonce: terms.nonce,
    issuedAt: terms.issuedAt,
    expirationTime: terms.expiresAt,
    resources: [resourceOf(subject)],
  });
}

/**
 * Judges every field of a message, and its signature.
 * @param now Unix milliseconds
 * @returns which wallet signed, and the nonce that is to be used up
 * @throws Problem invalid-wallet-proof
 */
export function proveWallet(
  { message, signature }: { message: string; signature: string },
  subject: Subject,
  now: number,
): { wallet: Hex; nonce: string } {
  const parsed = read(message);
  const fault = faultOf(parsed, subject, now);
  if (fault !== undefined) throw refused(`The message is refused: ${fault}.`);
  // A contract's signature (ERC-1271) cannot be judged here: this process sees no chain.
  if (signerOf(message, signature) !== parsed.address) {
    throw refused('The signature is not of the wallet that the message names.');
  }
  return { wallet: parsed.address, nonce: parsed.nonce };
}

const refused = (detail: string, cause?: unknown): Problem => new Problem('invalid-wallet-proof', detail, { cause });

function resourceOf({ origin, actor }: Subject): string {
  return `https://${origin}/actors/${encodeURIComponent(actor)}`;
}

function read(text: string): SiweMessage {
  try {
    return parseSiweMessage(text);
  } catch (error) {
    if (error instanceof SiweError) throw refused(`The message is refused: ${error.message}.`, error);
    throw error;
  }
}

function faultOf(message: SiweMessage, subject: Subject, now: number): string | undefined {
  const { protocol, host, origin } = new URL(subject.party);
  if (message.domain !== host || (message.scheme !== undefined && `${message.scheme}:` !== protocol)) {
    return 'its domain is not the one that you are signed in at';
  }
  if (message.uri !== origin) return 'its URI is not the one that you are signed in at';
  if (message.chainId !== subject.chainId) return 'it is for another chain';
  if (message.resources?.length !== 1 || message.resources[0] !== resourceOf(subject)) {
    return 'it names another actor or log';
  }
  if (message.issuedAt > now + SKEW_MILLISECONDS) return 'it was issued in the future';
  if (message.notBefore !== undefined && message.notBefore > now) return 'it is not valid yet';
  if (message.expirationTime === undefined) return 'it never expires';
  return message.expirationTime <= now ? 'it has expired' : undefined;
}

function signerOf(message: string, signature: string): Hex {
  try {
    return recoverSigner(personalMessageDigest(message), signature);
  } catch (error) {
    if (error instanceof SignatureError) throw refused(`The signature is refused: ${error.message}.`, error);
    throw error;
  }
}
