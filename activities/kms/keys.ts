/**
 * AWS KMS as this house uses it: keys found by alias, digests signed, vendor errors translated once. What KMS answers
 * is never trusted: a signature is parsed strictly, normalised, and recovered to the address that it must belong to.
 */
import { GetPublicKeyCommand, KMSServiceException, SignCommand, type KMSClient } from '@aws-sdk/client-kms';
import { fromHex, toHex, type Hex } from '../../protocol/hex.ts';
import { addressOfPublicKey, normalizeSignature, SignatureError } from '../../protocol/signature.ts';
import { keyOfSpki } from '../../protocol/spki.ts';
import { failure } from '../failures.ts';
import { tellVendorError } from '../vendor-errors.ts';

/**
 * Alias of the key that seals a tenant's log while custody is `cloud`. Each log has a key of its own: one that was lost, or
 * gave a signature that it should not have, is not the next log's.
 */
export const tenantKeyAlias = (tenantId: string, ordinal = 1): string =>
  ordinal === 1 ? `alias/kiff/${tenantId}` : `alias/kiff/${tenantId}/${ordinal}`;
/** Alias of the key with which a log comes back into our custody: a fresh one for every epoch. */
export const custodyKeyAlias = (tenantId: string, ordinal: number, epoch: number): string =>
  `${tenantKeyAlias(tenantId, ordinal)}/e${epoch}`;
/** Alias of the wallet that pays gas. */
export const RELAYER_ALIAS = 'alias/kiff-relayer';
/** Alias of the operator's checkpoint key. */
export const OPERATOR_ALIAS = 'alias/kiff-operator';

/** Ethereum address of a secp256k1 KMS key. Fails while the key is disabled, as AWS does. */
export async function keyAddress(kms: KMSClient, keyId: string): Promise<Hex> {
  const spki = await publicKeyOf(kms, keyId);
  return addressOfPublicKey(keyOf(spki, 'secp256k1'));
}

/** Raw public key (32 bytes) of an Ed25519 KMS key. */
export async function ed25519PublicKey(kms: KMSClient, keyId: string): Promise<Hex> {
  const spki = await publicKeyOf(kms, keyId);
  return toHex(keyOf(spki, 'ed25519'));
}

/**
 * Signs a 32-byte digest.
 * @returns 65 bytes r‖s‖v, low s, v 27/28, which recovers to `expected`
 * @throws failure foreign-signature when KMS answered with anything else
 */
export async function signDigest(kms: KMSClient, keyId: string, digest: Hex, expected: Hex): Promise<Hex> {
  const der = await sign(kms, keyId, 'ECDSA_SHA_256', 'DIGEST', fromHex(digest, 32));
  try {
    return normalizeSignature(der, digest, expected);
  } catch (error) {
    if (error instanceof SignatureError) throw failure('foreign-signature');
    throw error;
  }
}

/** Ed25519 signature (64 bytes) over a message. Whoever calls verifies it: KMS is not believed here either. */
export async function signMessage(kms: KMSClient, keyId: string, message: Uint8Array): Promise<Hex> {
  return toHex(await sign(kms, keyId, 'ED25519_SHA_512', 'RAW', message));
}

async function sign(
  kms: KMSClient,
  keyId: string,
  SigningAlgorithm: 'ECDSA_SHA_256' | 'ED25519_SHA_512',
  MessageType: 'DIGEST' | 'RAW',
  Message: Uint8Array,
): Promise<Uint8Array> {
  const { Signature } = await translated(() =>
    kms.send(new SignCommand({ KeyId: keyId, Message, MessageType, SigningAlgorithm })),
  );
  if (Signature === undefined) throw failure('kms-unavailable');
  return Signature;
}

/** SubjectPublicKeyInfo (DER) of a key. Fails while the key is disabled, as AWS does. */
export async function publicKeyOf(kms: KMSClient, keyId: string): Promise<Uint8Array> {
  const { PublicKey } = await translated(() => kms.send(new GetPublicKeyCommand({ KeyId: keyId })));
  if (PublicKey === undefined) throw failure('kms-unavailable');
  return PublicKey;
}

function keyOf(spki: Uint8Array, kind: Parameters<typeof keyOfSpki>[1]): Uint8Array {
  try {
    return keyOfSpki(spki, kind);
  } catch {
    throw failure('kms-refused');
  }
}

/** What AWS calls it when it is the caller that it does not take, and not the key. */
const DENIED =
  /^(AccessDenied|UnrecognizedClient|InvalidClientTokenId|InvalidSignature|ExpiredToken|MissingAuthenticationToken)/;

/**
 * Runs a KMS call; AWS's errors become ours. Throttling, 5xx, time-outs and lost connections are "ask again"; access denied, and whatever else
 * AWS says no to (a key's state, a request that it finds invalid), are refusals that want a person.
 */
export async function translated<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    tellVendorError('kms', error);
    const refused =
      error instanceof KMSServiceException &&
      error.$fault === 'client' &&
      error.$retryable === undefined &&
      !/Throttl|LimitExceeded|TooManyRequests/.test(error.name);
    if (!refused) throw failure('kms-unavailable');
    throw failure(DENIED.test(error.name) ? 'kms-denied' : 'kms-refused');
  }
}
