import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { toHex, type Hex } from '../../protocol/hex.ts';
import { promiseBytes, verifyPromise, type PromiseTerms, type SealPromise } from '../../protocol/promise.ts';

const TERMS: PromiseTerms = {
  origin: 'kiff.dev/t/acme',
  leafIndex: 41,
  leafHash: `0x${'5a'.repeat(32)}`,
  sealBy: 1795467600,
};
const BYTES = `kiff.promise/1\n{"origin":"kiff.dev/t/acme","leafIndex":41,"leafHash":"0x${'5a'.repeat(32)}","sealBy":1795467600}`;

/** The raw 32 bytes of an Ed25519 public key, which end its SPKI form. */
function rawKey(key: KeyObject): Hex {
  return toHex(createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-32));
}

describe('a promise', () => {
  const { privateKey } = generateKeyPairSync('ed25519');
  const publicKey = rawKey(privateKey);
  const promise: SealPromise = { ...TERMS, signature: toHex(sign(null, Buffer.from(BYTES), privateKey)) };

  it('signs exactly these bytes, whatever the order of its members', () => {
    assert.equal(Buffer.from(promiseBytes(TERMS)).toString(), BYTES);
    const { origin, leafIndex, leafHash, sealBy } = TERMS;
    assert.equal(Buffer.from(promiseBytes({ sealBy, leafHash, leafIndex, origin })).toString(), BYTES);
    assert.equal(Buffer.from(promiseBytes(promise)).toString(), BYTES, 'the signature is not signed');
  });

  it('verifies under the key that signed it, and under no other', () => {
    assert.equal(verifyPromise(promise, publicKey), true);
    assert.equal(verifyPromise(promise, rawKey(generateKeyPairSync('ed25519').privateKey)), false);
  });

  it('fails when any term or bit of the signature is changed', () => {
    for (const change of [
      { origin: 'kiff.dev/t/acme2' },
      { leafIndex: 42 },
      { leafHash: `0x${'5b'.repeat(32)}` as const },
      { sealBy: TERMS.sealBy + 1 },
    ]) {
      assert.equal(verifyPromise({ ...promise, ...change }, publicKey), false);
    }
    for (let bit = 0; bit < 512; bit++) {
      const bytes = new Uint8Array(Buffer.from(promise.signature.slice(2), 'hex'));
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      assert.equal(verifyPromise({ ...promise, signature: toHex(bytes) }, publicKey), false, `bit ${bit}`);
    }
  });

  it('is not verified under a key of small order, under which one signature fits every message', () => {
    const identity = `01${'00'.repeat(31)}`;
    assert.equal(verifyPromise({ ...TERMS, signature: `0x${identity}${'00'.repeat(32)}` }, `0x${identity}`), false);
  });

  it('is refused, not thrown over, when malformed; and malformed terms are never signed', () => {
    for (const change of [
      { origin: '' },
      { origin: 5 },
      { leafIndex: -1 },
      { leafIndex: 2 ** 53 },
      { leafIndex: '41' },
      { leafHash: '0x00' },
      { leafHash: null },
      { sealBy: 0.5 },
      { sealBy: undefined },
    ]) {
      const bad = { ...promise, ...change } as unknown as SealPromise;
      assert.equal(verifyPromise(bad, publicKey), false);
      assert.throws(() => promiseBytes(bad), TypeError);
    }
    for (const signature of [
      '0x',
      promise.signature.slice(0, -2),
      `${promise.signature}00`,
      promise.signature.toUpperCase(),
      7,
    ]) {
      assert.equal(verifyPromise({ ...promise, signature } as SealPromise, publicKey), false);
    }
    for (const key of ['0x', `${publicKey}00`, `0x${'ff'.repeat(32)}`, `0x${'00'.repeat(32)}`, null]) {
      assert.equal(verifyPromise(promise, key as Hex), false);
    }
    for (const bad of [null, undefined, 5, 'promise', []]) {
      assert.equal(verifyPromise(bad as unknown as SealPromise, publicKey), false);
    }
  });
});
