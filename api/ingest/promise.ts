/**
 * Signs promises (protocol/promise.ts) with the API's Ed25519 key, in a thread of its own and by libsodium: signatures take about as
 * long as all else that this process does for a record, and by Node's OpenSSL twice as long
 * (docs/performance.md, docs/decisions/2026-11-25-libsodium-signs-promises.md).
 */
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import { toHex, type Hex } from '../../protocol/hex.ts';
import type { PromiseTerms, SealPromise } from '../../protocol/promise.ts';
import type { TermColumns } from './promise-thread.ts';

/** PKCS #8 around an Ed25519 seed (RFC 8410 section 7). */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');

export interface PromiseSigner {
  /** Raw 32 bytes of hex, as it stands in a policy's `promiseKeys`. */
  publicKey: Hex;
  /** One promise for each, in order. */
  sign(terms: readonly PromiseTerms[]): Promise<SealPromise[]>;
  /** Ends the thread. */
  close(): Promise<void>;
}

/** What one caller waits for. */
interface Job {
  terms: readonly PromiseTerms[];
  resolve: (promises: SealPromise[]) => void;
  reject: (error: unknown) => void;
}

/** @param seed 32 bytes (RFC 8032 section 5.1.5) */
export function createPromiseSigner(seed: Uint8Array): PromiseSigner {
  if (seed.length !== 32) throw new RangeError('an Ed25519 seed has 32 bytes');
  const key = createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, seed]), format: 'der', type: 'pkcs8' });
  const publicKey = createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-32);

  let thread: Worker | undefined;
  let waiting: Job[] = [];
  /** What the thread has now: one message at a time, so that what comes meanwhile goes together. */
  let signing: Job[] = [];

  function pump(): void {
    if (signing.length > 0 || waiting.length === 0) return;
    signing = waiting;
    waiting = [];
    thread ??= startThread();
    const terms = signing.flatMap((job) => job.terms);
    thread.postMessage({
      origin: terms.map(({ origin }) => origin),
      leafIndex: terms.map(({ leafIndex }) => leafIndex),
      leafHash: terms.map(({ leafHash }) => leafHash),
      sealBy: terms.map(({ sealBy }) => sealBy),
    } satisfies TermColumns);
  }

  function startThread(): Worker {
    const started = new Worker(new URL('./promise-thread.js', import.meta.url), { workerData: Uint8Array.from(seed) });
    started.unref();
    started.on('message', (signatures: Hex[]) => {
      let at = 0;
      for (const { terms, resolve } of signing) {
        resolve(terms.map((each) => ({ ...each, signature: signatures[at++]! })));
      }
      signing = [];
      pump();
    });
    // A thread that ends takes what it had with it; the next promise begins another one.
    const lost = (cause: unknown): void => {
      if (thread !== started) return;
      thread = undefined;
      const error = new Error('the thread that signs promises ended', { cause });
      for (const job of signing) job.reject(error);
      signing = [];
      pump();
    };
    started.on('error', lost).on('exit', lost);
    return started;
  }

  return {
    publicKey: toHex(publicKey),
    sign: (terms) =>
      terms.length === 0
        ? Promise.resolve([])
        : new Promise((resolve, reject) => {
            waiting.push({ terms, resolve, reject });
            pump();
          }),
    async close() {
      await thread?.terminate();
    },
  };
}
