/** The thread that signs promises: takes terms, answers their signatures, in order. The key's seed comes with its start. */
import { parentPort, workerData } from 'node:worker_threads';
import sodium from 'sodium-native';
import type { Hex } from '../../protocol/hex.ts';
import { promiseBytes, type PromiseTerms } from '../../protocol/promise.ts';

/** The terms of many promises, member by member: to clone as many objects costs both threads several times as much. */
export type TermColumns = { readonly [Name in keyof PromiseTerms]: readonly PromiseTerms[Name][] };

const publicKey = Buffer.alloc(sodium.crypto_sign_PUBLICKEYBYTES);
const secretKey = Buffer.alloc(sodium.crypto_sign_SECRETKEYBYTES);
sodium.crypto_sign_seed_keypair(publicKey, secretKey, Buffer.from(workerData as Uint8Array));

const signature = Buffer.alloc(sodium.crypto_sign_BYTES);

function sign(terms: PromiseTerms): Hex {
  const { buffer, byteOffset, length } = promiseBytes(terms);
  sodium.crypto_sign_detached(signature, Buffer.from(buffer, byteOffset, length), secretKey);
  return `0x${signature.toString('hex')}`;
}

parentPort?.on('message', ({ origin, leafIndex, leafHash, sealBy }: TermColumns) => {
  const signatures = leafIndex.map((index, at) =>
    sign({ origin: origin[at]!, leafIndex: index, leafHash: leafHash[at]!, sealBy: sealBy[at]! }),
  );
  parentPort?.postMessage(signatures);
});
