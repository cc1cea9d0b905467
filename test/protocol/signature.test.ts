import assert from 'node:assert/strict';
import { secp256k1 } from '@noble/curves/secp256k1.js';
import fc from 'fast-check';
import { parseSignature as viemParse, recoverAddress } from 'viem';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { fromHex, toHex, type Hex } from '../../protocol/hex.ts';
import {
  addressOfPublicKey,
  normalizeSignature,
  parseDerSignature,
  parseSignature,
  recoverSigner,
  SignatureError,
  type SignatureFault,
} from '../../protocol/signature.ts';
import { accountOf, addressOf, bytesOf } from './receipt-factory.ts';

const N = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;

function word(value: bigint): string {
  return value.toString(16).padStart(64, '0');
}

function refused(fault: SignatureFault): (error: unknown) => boolean {
  return (error) => {
    assert(error instanceof SignatureError);
    assert.equal(error.fault, fault);
    return true;
  };
}

/** DER as X.690 wants it, written by hand: `Signature.toBytes('der')` is what the code under test is close to. */
function derInteger(value: bigint): Buffer {
  const digits = value.toString(16);
  const bytes = Buffer.from(digits.length % 2 === 1 ? `0${digits}` : digits, 'hex');
  const content = (bytes[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.of(0), bytes]) : bytes;
  return Buffer.concat([Buffer.of(2, content.length), content]);
}

function der(r: bigint, s: bigint): Buffer {
  const content = Buffer.concat([derInteger(r), derInteger(s)]);
  return Buffer.concat([Buffer.of(0x30, content.length), content]);
}

function withLength(length: number, content: Uint8Array): Buffer {
  return Buffer.concat([Buffer.of(0x30, length), content]);
}

const account = accountOf('genesis');
const digest = bytesOf('digest');

describe('protocol/signature', () => {
  let signature: Hex;
  let r: bigint;
  let s: bigint;
  let v: number;

  before(async () => {
    signature = await account.sign({ hash: digest });
    const parts = viemParse(signature);
    [r, s, v] = [BigInt(parts.r), BigInt(parts.s), Number(parts.v)];
  });

  describe('the canonical form (B18)', () => {
    it('is accepted, and recovers to the signer', () => {
      assert.deepEqual(parseSignature(signature), { r, s, yParity: v - 27 });
      assert.equal(recoverSigner(digest, signature), addressOf(account));
    });

    it('recovers as viem does, for any key and digest', async () => {
      await fc.assert(
        fc.asyncProperty(fc.uint8Array({ minLength: 32, maxLength: 32 }), async (hash) => {
          const signer = privateKeyToAccount(generatePrivateKey());
          const made = await signer.sign({ hash: toHex(hash) });
          assert.equal(recoverSigner(toHex(hash), made), addressOf(signer));
          const flipped: Hex = `${made.slice(0, -2) as Hex}${made.endsWith('1b') ? '1c' : '1b'}`;
          const byViem = await recoverAddress({ hash: toHex(hash), signature: flipped });
          assert.equal(recoverSigner(toHex(hash), flipped), byViem.toLowerCase());
        }),
        { numRuns: 30 },
      );
    });

    it('is the only one', () => {
      const half = N / 2n;
      const cases: [string, SignatureFault, string][] = [
        ['high s', 'high-s', `0x${word(r)}${word(N - s)}${(v === 27 ? 28 : 27).toString(16)}`],
        ['s just above the half order', 'high-s', `0x${word(r)}${word(half + 1n)}1b`],
        ['DER', 'length', toHex(der(r, s))],
        ['v 0', 'recovery-id', `0x${word(r)}${word(s)}00`],
        ['v 1', 'recovery-id', `0x${word(r)}${word(s)}01`],
        ['v 26', 'recovery-id', `0x${word(r)}${word(s)}1a`],
        ['v 29', 'recovery-id', `0x${word(r)}${word(s)}1d`],
        ['r = 0', 'range', `0x${word(0n)}${word(s)}1b`],
        ['r = n', 'range', `0x${word(N)}${word(s)}1b`],
        ['s = 0', 'range', `0x${word(r)}${word(0n)}1b`],
        ['s = n', 'range', `0x${word(r)}${word(N)}1b`],
        ['64 bytes', 'length', signature.slice(0, -2)],
        ['66 bytes', 'length', `${signature}00`],
        ['nothing', 'length', '0x'],
        ['upper case', 'encoding', `0x${signature.slice(2).toUpperCase()}`],
        ['no prefix', 'encoding', signature.slice(2)],
        ['half a byte', 'encoding', signature.slice(0, -1)],
      ];
      for (const [name, fault, form] of cases) {
        assert.throws(() => parseSignature(form), refused(fault), name);
        assert.throws(() => recoverSigner(digest, form), refused(fault), name);
      }
      // The control: s exactly at the half order is low.
      assert.equal(parseSignature(`0x${word(r)}${word(half)}1b`).s, half);
    });

    it('says so when no key fits', () => {
      // 5 is no x coordinate on secp256k1.
      assert.throws(() => recoverSigner(digest, `0x${word(5n)}${word(s)}1b`), refused('unrecoverable'));
    });

    it('needs a digest of 32 bytes', () => {
      assert.throws(() => recoverSigner('0x00', signature), TypeError);
    });
  });

  describe('DER', () => {
    it('is read for any r and s in range, high s too', () => {
      const scalars = fc.oneof(
        fc.bigInt({ min: 1n, max: N - 1n }),
        fc.constantFrom(1n, 127n, 128n, 255n, 256n, N - 1n, N / 2n),
      );
      fc.assert(
        fc.property(scalars, scalars, (a, b) => {
          assert.deepEqual(parseDerSignature(der(a, b)), { r: a, s: b });
        }),
      );
    });

    it('is read strictly', () => {
      const good = der(r, s);
      assert.deepEqual(parseDerSignature(good), { r, s });
      const tail = good.subarray(2);
      const padded = Buffer.concat([Buffer.of(2, 2, 0, 5), derInteger(7n)]);
      const negative = Buffer.concat([Buffer.of(2, 1, 0x85), derInteger(7n)]);
      const empty = Buffer.concat([Buffer.of(2, 0), derInteger(7n), Buffer.of(2, 1, 1)]);
      const long = Buffer.concat([Buffer.of(0x30, 0x81, tail.length), tail]);
      const cases: [string, SignatureFault, Uint8Array][] = [
        ['empty', 'length', new Uint8Array(0)],
        ['cut short', 'encoding', good.subarray(0, -1)],
        ['a byte more', 'encoding', Buffer.concat([good, Buffer.of(0)])],
        ['a byte more inside', 'encoding', withLength(tail.length + 1, Buffer.concat([tail, Buffer.of(0)]))],
        ['another tag', 'encoding', Buffer.concat([Buffer.of(0x31), good.subarray(1)])],
        ['a long-form length', 'encoding', long],
        ['indefinite length', 'encoding', Buffer.concat([Buffer.of(0x30, 0x80), tail, Buffer.of(0, 0)])],
        ['padded integer', 'encoding', withLength(padded.length, padded)],
        ['negative integer', 'encoding', withLength(negative.length, negative)],
        ['empty integer', 'encoding', withLength(empty.length, empty)],
        ['r = 0', 'range', der(0n, s)],
        ['s = 0', 'range', der(r, 0n)],
        ['r = n', 'range', der(N, s)],
        ['s = n', 'range', der(r, N)],
        ['r of 2^256', 'range', der(2n ** 256n, s)],
        ['the 65 byte form', 'encoding', fromHex(signature)],
      ];
      for (const [name, fault, bytes] of cases) assert.throws(() => parseDerSignature(bytes), refused(fault), name);
    });

    it('never yields anything from random bytes that it would not write itself', () => {
      fc.assert(
        fc.property(fc.uint8Array({ minLength: 0, maxLength: 80 }), (bytes) => {
          try {
            const parsed = parseDerSignature(bytes);
            assert.equal(der(parsed.r, parsed.s).toString('hex'), Buffer.from(bytes).toString('hex'));
          } catch (error) {
            assert(error instanceof SignatureError);
          }
        }),
      );
      // One changed byte of a good one: still either refused or its own only spelling.
      const good = der(r, s);
      for (let at = 0; at < good.length; at++) {
        for (const change of [1, 0x80, 0xff]) {
          const bytes = Buffer.from(good);
          bytes[at] = (bytes[at] ?? 0) ^ change;
          try {
            const parsed = parseDerSignature(bytes);
            assert.equal(der(parsed.r, parsed.s).toString('hex'), bytes.toString('hex'));
          } catch (error) {
            assert(error instanceof SignatureError);
          }
        }
      }
    });
  });

  describe('normalizeSignature (F18, F19)', () => {
    it('gives the canonical form for low and for high s', () => {
      assert.equal(normalizeSignature(der(r, s), digest, addressOf(account)), signature);
      assert.equal(normalizeSignature(der(r, N - s), digest, addressOf(account)), signature);
    });

    it('finds v for any key and digest', async () => {
      await fc.assert(
        fc.asyncProperty(fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.boolean(), async (hash, high) => {
          const signer = privateKeyToAccount(generatePrivateKey());
          const made = await signer.sign({ hash: toHex(hash) });
          const parts = viemParse(made);
          const madeS = BigInt(parts.s);
          const encoded = der(BigInt(parts.r), high ? N - madeS : madeS);
          assert.equal(normalizeSignature(encoded, toHex(hash), addressOf(signer)), made);
        }),
        { numRuns: 30 },
      );
    });

    it("refuses another key's signature, and one over another digest", () => {
      const other = addressOf(accountOf('second'));
      assert.throws(() => normalizeSignature(der(r, s), digest, other), refused('wrong-signer'));
      assert.throws(() => normalizeSignature(der(r, s), bytesOf('other'), addressOf(account)), refused('wrong-signer'));
      assert.throws(() => normalizeSignature(der(5n, s), digest, addressOf(account)), refused('wrong-signer'));
    });
  });

  describe('addressOfPublicKey', () => {
    it('is the address that viem derives', () => {
      for (let index = 0; index < 20; index++) {
        const key = generatePrivateKey();
        const publicKey = secp256k1.getPublicKey(fromHex(key), false);
        assert.equal(addressOfPublicKey(publicKey), addressOf(privateKeyToAccount(key)));
      }
    });

    it('takes the uncompressed form of a point on the curve, nothing else', () => {
      const publicKey = fromHex(account.publicKey);
      assert.equal(addressOfPublicKey(publicKey), addressOf(account));
      const compressed = secp256k1.Point.fromBytes(publicKey).toBytes(true);
      const offCurve = Uint8Array.from(publicKey);
      offCurve[64] = (offCurve[64] ?? 0) ^ 1;
      assert.throws(() => addressOfPublicKey(compressed));
      assert.throws(() => addressOfPublicKey(publicKey.subarray(1)));
      assert.throws(() => addressOfPublicKey(offCurve));
    });
  });
});
