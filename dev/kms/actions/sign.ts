import { z } from 'zod';
import { KmsError, notModelled, validation } from '../errors.ts';
import { keySpecs, signEcdsa, signEd25519 } from '../keys.ts';
import type { SignatureFaults } from '../signature-faults.ts';
import { keyArn } from '../store.ts';
import type { KmsKey } from '../store.ts';
import { action, authorizedKey, keyIdInput, requireEnabled } from './action.ts';

const maxMessageBytes = 4096;
const signingAlgorithmNames = [
  'ECDSA_SHA_256',
  'ECDSA_SHA_384',
  'ECDSA_SHA_512',
  'ED25519_SHA_512',
  'ED25519_PH_SHA_512',
  'ML_DSA_SHAKE_256',
  'RSASSA_PKCS1_V1_5_SHA_256',
  'RSASSA_PKCS1_V1_5_SHA_384',
  'RSASSA_PKCS1_V1_5_SHA_512',
  'RSASSA_PSS_SHA_256',
  'RSASSA_PSS_SHA_384',
  'RSASSA_PSS_SHA_512',
  'SM2DSA',
] as const;

type SigningAlgorithm = (typeof signingAlgorithmNames)[number];

function requireAlgorithm(key: KmsKey, algorithm: SigningAlgorithm): void {
  if (key.usage !== 'SIGN_VERIFY') {
    throw new KmsError(
      'InvalidKeyUsageException',
      `${keyArn(key)} key usage is ${key.usage} which is not valid for Sign.`,
    );
  }
  const supported: readonly SigningAlgorithm[] = keySpecs[key.spec].signingAlgorithms;
  if (!supported.includes(algorithm)) {
    throw new KmsError('InvalidKeyUsageException', `Algorithm ${algorithm} is incompatible with key spec ${key.spec}.`);
  }
}

/** Everything that can be wrong is found here, before DryRun answers; what comes back does the signing. */
function prepare(
  key: KmsKey,
  algorithm: SigningAlgorithm,
  messageType: 'RAW' | 'DIGEST' | 'EXTERNAL_MU',
  message: Buffer,
): (faults: SignatureFaults) => Uint8Array {
  requireAlgorithm(key, algorithm);
  if (messageType === 'EXTERNAL_MU')
    throw validation(`MessageType EXTERNAL_MU is not valid for algorithm ${algorithm}.`);
  const secret = Buffer.from(key.secret, 'hex');
  if (key.spec === 'ECC_NIST_EDWARDS25519') {
    if (algorithm === 'ED25519_PH_SHA_512') throw notModelled('Signing with ED25519_PH_SHA_512');
    if (messageType !== 'RAW') throw validation(`Algorithm ${algorithm} requires MessageType RAW.`);
    return (faults) => signEd25519(secret, message, faults);
  }
  if (key.spec === 'SYMMETRIC_DEFAULT') throw new TypeError('a symmetric key has no usage SIGN_VERIFY');
  if (messageType === 'DIGEST' && message.length !== 32) {
    throw validation(`Digest is invalid length for algorithm ${algorithm}.`);
  }
  const { spec } = key;
  return (faults) => signEcdsa(spec, secret, message, messageType, faults);
}

const signInput = z.strictObject({
  KeyId: keyIdInput,
  Message: z.base64().transform((text) => Buffer.from(text, 'base64')),
  MessageType: z.enum(['RAW', 'DIGEST', 'EXTERNAL_MU']).default('RAW'),
  SigningAlgorithm: z.enum(signingAlgorithmNames),
  DryRun: z.boolean().default(false),
});

export const Sign = action(signInput, (input, call) => {
  const { Message, MessageType, SigningAlgorithm } = input;
  if (Message.length < 1 || Message.length > maxMessageBytes) {
    throw validation(`1 validation error detected: 'Message': must have 1 to ${maxMessageBytes} bytes`);
  }
  const key = authorizedKey(call, input.KeyId, 'Sign', {
    aliases: true,
    crossAccount: true,
    context: { 'kms:signingalgorithm': SigningAlgorithm, 'kms:messagetype': MessageType },
  });
  requireEnabled(key);
  const sign = prepare(key, SigningAlgorithm, MessageType, Message);
  if (input.DryRun) {
    throw new KmsError('DryRunOperationException', 'The request would have succeeded, but the DryRun option is set.');
  }
  const signature = sign(call.faults.takeSignatureFaults({ action: 'Sign', keyId: key.keyId }));
  return { KeyId: keyArn(key), Signature: Buffer.from(signature).toString('base64'), SigningAlgorithm };
});
