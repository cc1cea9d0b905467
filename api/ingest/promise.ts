/** Signs promises (protocol/promise.ts) with the API's Ed25519 key; Node's own Ed25519 is much faster than a portable one. */
import { createPrivateKey, createPublicKey, sign } from 'node:crypto';
import { toHex, type Hex } from '../../protocol/hex.ts';
import { promiseBytes, type PromiseTerms, type SealPromise } from '../../protocol/promise.ts';

/** PKCS #8 around an Ed25519 seed (RFC 8410 section 7). */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');

export interface PromiseSigner {
  /** Raw 32 bytes of hex, as it stands in a policy's `promiseKeys`. */
  publicKey: Hex;
  sign(terms: PromiseTerms): SealPromise;
}

/** @param seed 32 bytes (RFC 8032 section 5.1.5) */
export function createPromiseSigner(seed: Uint8Array): PromiseSigner {
  if (seed.length !== 32) throw new RangeError('an Ed25519 seed has 32 bytes');
  const key = createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, seed]), format: 'der', type: 'pkcs8' });
  const publicKey = createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-32);
  return {
    publicKey: toHex(publicKey),
    sign: ({ origin, leafIndex, leafHash, sealBy }) => {
      const terms = { origin, leafIndex, leafHash, sealBy };
      return { ...terms, signature: toHex(sign(null, promiseBytes(terms), key)) };
    },
  };
}
