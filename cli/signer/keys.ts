/** The keys that can sign: each makes a signature over a statement, and none is believed to have done it right. */
import { secp256k1 } from '@noble/curves/secp256k1.js';
import {
  addressOfPublicKey,
  fromHex,
  normalizeSignature,
  recoverSigner,
  SignatureError,
  toHex,
  type Hex,
} from '../../protocol/index.ts';
import { keyOfSpki } from '../../protocol/spki.ts';
import { UsageError } from '../command.ts';
import { createHttpRpc } from '../rpc.ts';
import type { Statement } from './requests.ts';

/** The key did not answer, or not with a signature of its own. Nothing left; it is asked again later. */
export class KeyUnavailable extends Error {
  override readonly name = 'KeyUnavailable';
}

type Signable = Pick<Statement, 'digest' | 'typedData'>;

export interface SigningKey {
  /** In words, without secrets: where the key is. */
  readonly where: string;
  /** @returns 65 bytes r‖s‖v, low s, v 27 or 28, of the expected address. @throws KeyUnavailable */
  sign(statement: Signable): Promise<Hex>;
}

/** A wallet may have a person behind it. */
const WALLET_LIMITS = { timeoutMs: 10 * 60_000, maxBytes: 64 * 1024 };

/** @throws UsageError when it is the key of another address, or none: zero and numbers past the curve's order */
export function heldKey(privateKey: Hex, address: Hex): SigningKey {
  const secret = fromHex(privateKey);
  if (!secp256k1.utils.isValidSecretKey(secret)) {
    throw new UsageError('the keystore does not hold a private key of secp256k1');
  }
  requireAddress(addressOfPublicKey(secp256k1.getPublicKey(secret, false)), address);
  return {
    where: 'the keystore',
    async sign({ digest }) {
      // The recovery bit, r, s: low s, deterministic (RFC 6979).
      const [bit = 0, ...rs] = secp256k1.sign(fromHex(digest, 32), secret, { prehash: false, format: 'recovered' });
      return checked(digest, toHex(Uint8Array.of(...rs, 27 + bit)), address);
    },
  };
}

/**
 * A key of AWS KMS, found and signed with by the credentials that the AWS SDK finds.
 * @param keyId the key's ARN; its Region is asked
 * @throws UsageError when it is the key of another address, or of another kind; KeyUnavailable
 */
export async function kmsKey(keyId: string, address: Hex): Promise<SigningKey> {
  const region = /^arn:aws[a-z-]*:kms:([a-z0-9-]+):\d{12}:(?:key|alias)\/.+$/.exec(keyId)?.[1];
  if (region === undefined) throw new UsageError('--kms-key takes the ARN of a KMS key');
  // Only now: the SDK takes longer to load than everything else together.
  const { GetPublicKeyCommand, KMSClient, SignCommand } = await import('@aws-sdk/client-kms');
  const kms = new KMSClient({ region });
  const { PublicKey } = await answered(() => kms.send(new GetPublicKeyCommand({ KeyId: keyId })));
  let found: Hex;
  try {
    found = addressOfPublicKey(keyOfSpki(PublicKey ?? new Uint8Array(0), 'secp256k1'));
  } catch {
    throw new UsageError('the KMS key is not one of ECC_SECG_P256K1');
  }
  requireAddress(found, address);
  return {
    where: `the KMS key ${keyId}`,
    async sign({ digest }) {
      const Message = Buffer.from(digest.slice(2), 'hex');
      const request = { KeyId: keyId, Message, MessageType: 'DIGEST', SigningAlgorithm: 'ECDSA_SHA_256' } as const;
      const { Signature } = await answered(() => kms.send(new SignCommand(request)));
      try {
        return normalizeSignature(Signature ?? new Uint8Array(0), digest, address);
      } catch (error) {
        if (error instanceof SignatureError)
          throw new KeyUnavailable(`KMS answered with no signature: ${error.message}`);
        throw error;
      }
    },
  };
}

async function answered<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw new KeyUnavailable(`KMS: ${error instanceof Error ? error.name : 'no answer'}`);
  }
}

/** Any JSON-RPC wallet that does `eth_signTypedData_v4` (EIP-712): it shows its owner what it signs. */
export function walletKey(url: URL, address: Hex): SigningKey {
  const rpc = createHttpRpc(url, WALLET_LIMITS);
  return {
    where: 'the wallet',
    async sign({ digest, typedData }) {
      let answer: unknown;
      try {
        answer = await rpc('eth_signTypedData_v4', [address, JSON.stringify(typedData)]);
      } catch (error) {
        throw new KeyUnavailable(`the wallet: ${error instanceof Error ? error.message : 'no answer'}`);
      }
      return checked(digest, answer, address);
    },
  };
}

function requireAddress(found: Hex, address: Hex): void {
  if (found !== address) throw new UsageError(`the key is that of ${found}, and the policy says ${address}`);
}

/** Nothing leaves that the chain would refuse. Some wallets count v from 0. */
function checked(digest: Hex, answer: unknown, address: Hex): Hex {
  const text = typeof answer === 'string' ? answer.toLowerCase() : '';
  const signature = /^0x[0-9a-f]{128}0[01]$/.test(text)
    ? `${text.slice(0, -2)}${text.endsWith('0') ? '1b' : '1c'}`
    : text;
  try {
    if (recoverSigner(digest, signature) === address) return signature as Hex;
  } catch (error) {
    if (!(error instanceof SignatureError)) throw error;
    throw new KeyUnavailable(`it answered with no signature: ${error.message}`);
  }
  throw new KeyUnavailable('it signed with another key, or something else');
}
