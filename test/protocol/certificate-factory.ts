/** A certificate for a line of handovers, with keys and passkeys of the test's own. */
import { createHash, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import type { LocalAccount } from 'viem';
import { buildCertificate, type Certificate, type PasskeyApproval } from '../../protocol/certificate.ts';
import { CUSTODY_APPROVAL, CUSTODY_PROOF, hashStruct, typedDigest } from '../../protocol/eip712.ts';
import { fromHex, toHex, type Hex } from '../../protocol/hex.ts';
import { sealDigest } from '../../protocol/seal.ts';

const base64url = (hex: Hex): string => Buffer.from(fromHex(hex)).toString('base64url');

/** Keys as authenticators have them: COSE algorithm, key pair, and how it signs. */
interface Authenticator {
  credentialId: string;
  publicKey: Hex;
  sign(data: Buffer): Buffer;
}

const bytesOf = (key: KeyObject, member: 'x' | 'y' | 'n' | 'e'): Buffer =>
  Buffer.from(key.export({ format: 'jwk' })[member] as string, 'base64url');
const byteString = (bytes: Buffer): Buffer =>
  bytes.length < 24
    ? Buffer.concat([Buffer.from([0x40 + bytes.length]), bytes])
    : bytes.length < 256
      ? Buffer.concat([Buffer.from([0x58, bytes.length]), bytes])
      : Buffer.concat([Buffer.from([0x59, bytes.length >> 8, bytes.length & 0xff]), bytes]);

export const authenticators = {
  es256(credentialId: string): Authenticator {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const cose = [
      Buffer.from([0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21]),
      byteString(bytesOf(publicKey, 'x')),
      Buffer.from([0x22]),
      byteString(bytesOf(publicKey, 'y')),
    ];
    return {
      credentialId,
      publicKey: toHex(Buffer.concat(cose)),
      sign: (data) => sign('sha256', data, privateKey),
    };
  },
  eddsa(credentialId: string): Authenticator {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    const cose = [Buffer.from([0xa4, 0x01, 0x01, 0x03, 0x27, 0x20, 0x06, 0x21]), byteString(bytesOf(publicKey, 'x'))];
    return { credentialId, publicKey: toHex(Buffer.concat(cose)), sign: (data) => sign(null, data, privateKey) };
  },
  rs256(credentialId: string): Authenticator {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const cose = [
      Buffer.from([0xa4, 0x01, 0x03, 0x03, 0x39, 0x01, 0x00, 0x20]),
      byteString(bytesOf(publicKey, 'n')),
      Buffer.from([0x21]),
      byteString(bytesOf(publicKey, 'e')),
    ];
    return {
      credentialId,
      publicKey: toHex(Buffer.concat(cose)),
      sign: (data) => sign('sha256', data, privateKey),
    };
  },
};

/** An assertion over a digest; `flags` as the authenticator sets them. */
export function approvalBy(who: Authenticator, digest: Hex, flags = 0x05): PasskeyApproval {
  const clientDataJSON = JSON.stringify({
    type: 'webauthn.get',
    challenge: base64url(digest),
    origin: 'https://custody.kiff.test',
    crossOrigin: false,
  });
  const authenticatorData = Buffer.concat([
    createHash('sha256').update('custody.kiff.test').digest(),
    Buffer.from([flags, 0, 0, 0, 0]),
  ]);
  const signed = Buffer.concat([authenticatorData, createHash('sha256').update(clientDataJSON).digest()]);
  return {
    credentialId: who.credentialId,
    publicKey: who.publicKey,
    authenticatorData: toHex(authenticatorData),
    clientDataJSON,
    signature: toHex(who.sign(signed)),
  };
}

/** The digest that admins approve, for the last handover of a line. */
export function approvalDigest(
  { registry, handovers }: Pick<Certificate, 'registry' | 'handovers'>,
  expiresAt: number,
) {
  const { logId, to: newSigner, custody, nonce } = handovers.at(-1)!.handover;
  return typedDigest(registry, hashStruct(CUSTODY_APPROVAL, { logId, newSigner, custody, nonce, expiresAt }));
}

/**
 * @param line what the succession itself is
 * @param heir the last handover's new key
 * @param old the last handover's old key
 * @param seals real seals from before it
 */
export async function makeCertificate(
  line: Pick<Certificate, 'origin' | 'genesisSigner' | 'registry' | 'handovers'>,
  heir: LocalAccount,
  old: LocalAccount,
  seals: readonly Certificate['trial'][number]['seal'][],
): Promise<Certificate> {
  const { registry } = line;
  const { logId, to: newSigner, nonce } = line.handovers.at(-1)!.handover;
  const expiresAt = 2_000_000_000;
  const digest = approvalDigest(line, expiresAt);
  const proof = typedDigest(registry, hashStruct(CUSTODY_PROOF, { logId, newSigner, nonce, expiresAt }));
  return buildCertificate({
    ...line,
    approvals: {
      expiresAt,
      passkeys: [authenticators.es256('one'), authenticators.eddsa('two'), authenticators.rs256('three')].map((who) =>
        approvalBy(who, digest),
      ),
    },
    proof: { expiresAt, signature: await heir.sign!({ hash: proof }) },
    trial: await Promise.all(
      seals.map(async (seal) => ({
        seal,
        signature: await heir.sign!({ hash: sealDigest(registry, { ...seal, logId }) }),
      })),
    ),
    // A SubjectPublicKeyInfo of secp256k1 (RFC 5480).
    oldPublicKey: `0x3056301006072a8648ce3d020106052b8104000a034200${old.publicKey.slice(2)}`,
    operatorSays: {
      startedAt: 1_900_000_000,
      approvedAt: [1_900_000_100, 1_900_000_200, 1_900_000_300],
      oldKeyPolicyHash: null,
      oldKeyDisabled: { key: 'arn:of-the-old-key', state: 'Disabled', refusedWith: 'DisabledException' },
    },
  });
}
