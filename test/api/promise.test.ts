import assert from 'node:assert/strict';
import { createPrivateKey, sign } from 'node:crypto';
import { createPromiseSigner, type PromiseSigner } from '../../api/ingest/promise.ts';
import { toHex } from '../../protocol/hex.ts';
import { promiseBytes, verifyPromise, type PromiseTerms } from '../../protocol/promise.ts';

const terms = (leafIndex: number): PromiseTerms => ({
  origin: 'kiff.test/t/acme',
  leafIndex,
  leafHash: `0x${'5a'.repeat(32)}`,
  sealBy: 1_795_467_600,
});

describe('signing promises', () => {
  let signer: PromiseSigner;

  beforeEach(() => {
    signer = createPromiseSigner(Buffer.alloc(32, 7));
  });
  afterEach(() => signer.close());

  it('answers each caller its own, in order, however many ask at once', async () => {
    const asked = [[1, 2, 3], [4], [], [5, 6]];
    const answers = await Promise.all(asked.map((indexes) => signer.sign(indexes.map(terms))));
    for (const [caller, promises] of answers.entries()) {
      assert.deepEqual(
        promises.map(({ signature: _signature, ...rest }) => rest),
        asked[caller]!.map(terms),
      );
      for (const promise of promises) assert.ok(verifyPromise(promise, signer.publicKey));
    }
  });

  it('signs byte for byte as Node’s own Ed25519 does', async () => {
    const pkcs8 = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), Buffer.alloc(32, 7)]);
    const key = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' });
    const promises = await signer.sign([terms(1), terms(2 ** 40)]);
    for (const promise of promises) assert.equal(promise.signature, toHex(sign(null, promiseBytes(promise), key)));
  });

  it('says so when its thread ends, and goes on with another one', async () => {
    const lost = signer.sign([terms(1)]);
    await Promise.all([assert.rejects(lost, /the thread that signs promises ended/), signer.close()]);
    const [promise] = await signer.sign([terms(2)]);
    assert.ok(verifyPromise(promise!, signer.publicKey));
  });

  it('refuses terms that make no promise, and goes on', async () => {
    await assert.rejects(signer.sign([{ ...terms(1), leafHash: '0x' }]), /the thread that signs promises ended/);
    const [promise] = await signer.sign([terms(2)]);
    assert.ok(verifyPromise(promise!, signer.publicKey));
  });

  it('takes a seed of 32 bytes only', () => {
    for (const length of [0, 31, 33, 64]) assert.throws(() => createPromiseSigner(Buffer.alloc(length)), RangeError);
  });
});
