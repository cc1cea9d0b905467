import assert from 'node:assert/strict';
import fc from 'fast-check';
import { hashTypedData, keccak256, stringToHex } from 'viem';
import {
  CUSTODY_APPROVAL,
  CUSTODY_PROOF,
  domainSeparator,
  HANDOVER,
  HANDOVER_ACCEPT,
  HANDOVER_CANCEL,
  hashStruct,
  SEAL,
  typedDigest,
  uintWord,
  type Seal,
  type StructType,
} from '../../protocol/eip712.ts';
import { toHex, type Hex } from '../../protocol/hex.ts';
import { logId, originHash } from '../../protocol/logid.ts';
import { sealDigest, sealHash } from '../../protocol/seal.ts';
import { domainOf, logIdOf, REGISTRY, structHash, TYPES, type TypeName } from './receipt-factory.ts';

const bytes = (length: number): fc.Arbitrary<Hex> =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((value) => toHex(value));

const MAXIMA: Readonly<Record<string, number>> = {
  uint8: 2 ** 8 - 1,
  uint32: 2 ** 32 - 1,
  uint48: 2 ** 48 - 1,
  uint64: Number.MAX_SAFE_INTEGER,
};

/** A value for a field of one of the fixed types; the limits themselves come often. */
function fieldOf(type: string): fc.Arbitrary<unknown> {
  if (type === 'bytes32') return bytes(32);
  if (type === 'address') return bytes(20);
  const max = MAXIMA[type];
  assert(max !== undefined, `no such field type: ${type}`);
  return fc.oneof(
    fc.constantFrom(0, 1, 255, max),
    fc.maxSafeNat().map((n) => n % (max + 1)),
  );
}

const registries = fc.record({
  chainId: fc.oneof(fc.constantFrom(1, 8453, 31337, Number.MAX_SAFE_INTEGER), fc.maxSafeNat()),
  contract: bytes(20),
});

const STRUCTS: readonly StructType<never>[] = [
  SEAL,
  CUSTODY_PROOF,
  CUSTODY_APPROVAL,
  HANDOVER,
  HANDOVER_ACCEPT,
  HANDOVER_CANCEL,
];

describe('protocol/eip712', () => {
  it('covers every type of the design', () => {
    assert.deepEqual(STRUCTS.map(({ name }) => name).toSorted(), Object.keys(TYPES).toSorted());
  });

  for (const struct of STRUCTS) {
    it(`hashes ${struct.name} as viem does`, () => {
      const name = struct.name as TypeName;
      const values = fc.record(Object.fromEntries(TYPES[name].map((field) => [field.name, fieldOf(field.type)])));
      fc.assert(
        fc.property(registries, values, (registry, value) => {
          const hash = hashStruct(struct, value as never);
          assert.equal(hash, structHash(name, value));
          const digest = hashTypedData({ domain: domainOf(registry), types: TYPES, primaryType: name, message: value });
          assert.equal(typedDigest(registry, hash), digest);
        }),
      );
    });
  }

  it('binds a digest to chain and contract', () => {
    const here = domainSeparator(REGISTRY);
    assert.notEqual(domainSeparator({ ...REGISTRY, chainId: 1 }), here);
    assert.notEqual(domainSeparator({ ...REGISTRY, contract: `0x${'c1'.repeat(20)}` }), here);
  });

  it('refuses values outside their type, and names the field', () => {
    const seal: Seal = {
      logId: `0x${'11'.repeat(32)}`,
      seq: 1,
      period: 3600,
      treeSize: 1,
      root: `0x${'22'.repeat(32)}`,
      prev: `0x${'00'.repeat(32)}`,
    };
    assert.doesNotThrow(() => hashStruct(SEAL, seal));
    const bad: [keyof Seal, unknown][] = [
      ['seq', 2 ** 32],
      ['seq', -1],
      ['seq', 1.5],
      ['seq', Number.NaN],
      ['seq', '1'],
      ['seq', 1n],
      ['treeSize', 2 ** 48],
      ['period', 2 ** 53],
      ['root', `0x${'22'.repeat(31)}`],
      ['root', `0x${'AA'.repeat(32)}`],
      ['prev', undefined],
      ['logId', null],
    ];
    for (const [field, value] of bad) {
      assert.throws(
        () => hashStruct(SEAL, { ...seal, [field]: value }),
        (error) =>
          (error instanceof RangeError || error instanceof TypeError) && error.message.includes(`Seal.${field}`),
        `${field} = ${String(value)}`,
      );
    }
  });

  it('writes integers as ABI words', () => {
    assert.equal(toHex(uintWord(0)), `0x${'00'.repeat(32)}`);
    assert.equal(toHex(uintWord(Number.MAX_SAFE_INTEGER)), `0x${'1fffffffffffff'.padStart(64, '0')}`);
  });
});

describe('protocol/seal and protocol/logid', () => {
  it('are hash, digest and id as viem computes them', () => {
    const seals = fc.record(Object.fromEntries(TYPES.Seal.map((field) => [field.name, fieldOf(field.type)])));
    fc.assert(
      fc.property(registries, seals, (registry, value) => {
        const seal = value as unknown as Seal;
        assert.equal(sealHash(seal), structHash('Seal', seal));
        const digest = hashTypedData({ domain: domainOf(registry), types: TYPES, primaryType: 'Seal', message: value });
        assert.equal(sealDigest(registry, seal), digest);
      }),
    );
  });

  it('hashes no member that is not part of the statement', () => {
    const seal = {
      logId: originHash('x'),
      seq: 1,
      period: 0,
      treeSize: 0,
      root: originHash('y'),
      prev: originHash('z'),
    };
    const signedSeal = { ...seal, signer: '0x', epoch: 9 };
    assert.equal(sealHash(signedSeal), sealHash(seal));
  });

  it('names a log by its first signer and its origin', () => {
    fc.assert(
      fc.property(bytes(20), fc.string({ unit: 'grapheme' }), (signer, origin) => {
        assert.equal(originHash(origin), keccak256(stringToHex(origin)));
        assert.equal(logId(signer, origin), logIdOf(signer, origin));
      }),
    );
    assert.throws(() => logId('0x00', 'kiff.dev/t/acme'), TypeError);
  });
});
