/**
 * `kiff.custody/1`: one succession of a log's signer, with everything that was signed for it (design section 7). Types, strict
 * parser and builder; verify-certificate.ts says whether it is true. What only the operator can say stands apart, under
 * `operatorSays`.
 */
import { UINT_MAX, type Registry, type Seal } from './eip712.ts';
import type { Hex } from './hex.ts';
import { readHandover, readRegistry, type AnchoredHandover } from './receipt.ts';
import { FormatError, hex, hexUpTo, integer, list, nullable, object, oneOf, origin, parseJson, text } from './shape.ts';

/** The public part of an admin's approval: a passkey's assertion (WebAuthn) whose challenge is the CustodyApproval's digest. */
export interface PasskeyApproval {
  /** base64url, as the browser gave it. */
  readonly credentialId: string;
  /** COSE_Key (RFC 9052), CBOR. */
  readonly publicKey: Hex;
  readonly authenticatorData: Hex;
  /** The exact text that the browser made. */
  readonly clientDataJSON: string;
  readonly signature: Hex;
}

/** A real seal of the log, signed on trial by the new key before the handover: it never counted. */
export interface TrialSeal {
  readonly seal: Omit<Seal, 'logId'>;
  readonly signature: Hex;
}

/** The operator's own statements: nothing in a certificate proves them. Times in Unix seconds. */
export interface OperatorSays {
  /** When the migration began, and when each approval reached us, in the order of `approvals.passkeys`. */
  readonly startedAt: number;
  readonly approvedAt: readonly number[];
  /** SHA-256 of the old key's policy before anything was done to it; null when it was not ours to read. */
  readonly oldKeyPolicyHash: Hex | null;
  /** What KMS said of the old key after the succession; null for a key that was not ours to disable. */
  readonly oldKeyDisabled: { readonly key: string; readonly state: string; readonly refusedWith: string } | null;
}

export interface Certificate {
  readonly format: 'kiff.custody/1';
  readonly origin: string;
  readonly genesisSigner: Hex;
  readonly registry: Registry;
  /** Every succession up to this one, the last. */
  readonly handovers: readonly AnchoredHandover[];
  /** Null when the succession did not come about through a migration of ours. */
  readonly approvals: { readonly expiresAt: number; readonly passkeys: readonly PasskeyApproval[] } | null;
  /** The new signer's CustodyProof. */
  readonly proof: { readonly expiresAt: number; readonly signature: Hex } | null;
  readonly trial: readonly TrialSeal[];
  /** SubjectPublicKeyInfo (RFC 5280) of the old key, DER; null when it was not ours to ask. */
  readonly oldPublicKey: Hex | null;
  readonly operatorSays: OperatorSays | null;
}

const signature = hex(65);
const bytes32 = hex(32);
const seconds = integer(0, UINT_MAX.uint64);

const MAX_HANDOVERS = 10_000;
const MAX_APPROVALS = 100;
const MAX_TRIAL = 100;
const MAX_BLOB = 4_096;

const certificate = object<Certificate>({
  format: oneOf('kiff.custody/1'),
  origin,
  genesisSigner: hex(20),
  registry: readRegistry,
  handovers: list(readHandover, MAX_HANDOVERS),
  approvals: nullable(
    object<NonNullable<Certificate['approvals']>>({
      expiresAt: seconds,
      passkeys: list(
        object<PasskeyApproval>({
          credentialId: text,
          publicKey: hexUpTo(MAX_BLOB),
          authenticatorData: hexUpTo(MAX_BLOB),
          clientDataJSON: text,
          signature: hexUpTo(MAX_BLOB),
        }),
        MAX_APPROVALS,
      ),
    }),
  ),
  proof: nullable(object<NonNullable<Certificate['proof']>>({ expiresAt: seconds, signature })),
  trial: list(
    object<TrialSeal>({
      seal: object<TrialSeal['seal']>({
        seq: integer(1, UINT_MAX.uint32),
        period: seconds,
        treeSize: integer(0, UINT_MAX.uint48),
        root: bytes32,
        prev: bytes32,
      }),
      signature,
    }),
    MAX_TRIAL,
  ),
  oldPublicKey: nullable(hexUpTo(MAX_BLOB)),
  operatorSays: nullable(
    object<OperatorSays>({
      startedAt: seconds,
      approvedAt: list(seconds, MAX_APPROVALS),
      oldKeyPolicyHash: nullable(bytes32),
      oldKeyDisabled: nullable(
        object<NonNullable<OperatorSays['oldKeyDisabled']>>({ key: text, state: text, refusedWith: text }),
      ),
    }),
  ),
});

/**
 * Makes a certificate of what is known of a succession, with exactly the members of the format.
 * @throws FormatError when something has not the form that it must have, or no handover is given
 */
export function buildCertificate(known: Omit<Certificate, 'format'>): Certificate {
  const made = certificate({ format: 'kiff.custody/1', ...known }, '');
  if (made.handovers.length === 0)
    throw new FormatError('/handovers', 'a certificate is about the last of at least one');
  return made;
}

/**
 * Reads a certificate's text: exactly the members of the format, each of its type, no name twice.
 * @throws NotJsonError when the text is not JSON at all; FormatError
 */
export function parseCertificateText(source: string): Certificate {
  const read = certificate(parseJson(source), '');
  if (read.handovers.length === 0)
    throw new FormatError('/handovers', 'a certificate is about the last of at least one');
  return read;
}

/** Whether a text calls itself a certificate, whatever else it is. */
export function looksLikeCertificate(source: string): boolean {
  try {
    const value: unknown = JSON.parse(source);
    return typeof value === 'object' && value !== null && 'format' in value && value.format === 'kiff.custody/1';
  } catch {
    return false;
  }
}
