/** The thread that signs promises: takes terms, answers their signatures, in order. Its key comes with its start. */
import { sign, type KeyObject } from 'node:crypto';
import { parentPort, workerData } from 'node:worker_threads';
import { toHex } from '../../protocol/hex.ts';
import { promiseBytes, type PromiseTerms } from '../../protocol/promise.ts';

const key = workerData as KeyObject;

parentPort?.on('message', (terms: readonly PromiseTerms[]) => {
  parentPort?.postMessage(terms.map((each) => toHex(sign(null, promiseBytes(each), key))));
});
