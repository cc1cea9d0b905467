import assert from 'node:assert/strict';
import fc from 'fast-check';
import { concatBytes, equalBytes, fromHex, isHex, toHex, utf8 } from '../../protocol/hex.ts';

describe('hex', () => {
  it('writes what Node writes and reads it back', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        const hex = toHex(bytes);
        assert.equal(hex, `0x${Buffer.from(bytes).toString('hex')}`);
        assert.deepEqual(fromHex(hex, bytes.length), bytes);
        assert.ok(isHex(hex, bytes.length));
      }),
    );
  });

  for (const [hex, length, problem] of [
    ['00', undefined, /start with 0x/],
    ['0X00', undefined, /start with 0x/],
    ['', undefined, /start with 0x/],
    ['0x0', undefined, /odd number/],
    ['0xAB', undefined, /lower-case hex digit at offset 2/],
    ['0xag', undefined, /lower-case hex digit at offset 3/],
    ['0x0\u0660', undefined, /lower-case hex digit/],
    ['0x00 ', undefined, /odd number/],
    ['0x0000', 1, /expected 1 bytes of hex, got 2/],
    ['0x', 32, /expected 32 bytes of hex, got 0/],
    [7 as unknown as string, undefined, /expected a hex string, got number/],
    [null as unknown as string, undefined, /expected a hex string, got null/],
  ] as const) {
    it(`refuses ${JSON.stringify(hex)}${length === undefined ? '' : ` as ${length} bytes`}`, () => {
      assert.throws(
        () => fromHex(hex, length),
        (error) => error instanceof TypeError && problem.test(error.message),
      );
      assert.equal(isHex(hex, length), false);
    });
  }

  it('joins and compares bytes', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 8 })), fc.uint8Array(), (parts, other) => {
        const joined = concatBytes(...parts);
        assert.deepEqual(Buffer.from(joined), Buffer.concat(parts));
        assert.equal(equalBytes(joined, other), Buffer.compare(joined, other) === 0);
        assert.ok(equalBytes(other, new Uint8Array(other)));
      }),
    );
    assert.equal(equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1)), false);
    assert.equal(equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1, 3)), false);
    assert.deepEqual(utf8('é€😀'), new Uint8Array(Buffer.from('é€😀')));
  });
});
