import assert from 'node:assert/strict';
import fc from 'fast-check';
import { decodeUtf8Strict, JsonError } from '../../protocol/json.ts';

const bytesOf = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex.replaceAll(' ', ''), 'hex'));

describe('decodeUtf8Strict', () => {
  for (const [name, hex, offset] of [
    ['a stray continuation byte', '61 80', 1],
    ['an overlong slash', '2f c0 af', 1],
    ['an overlong NUL in three bytes', 'e0 80 80', 0],
    ['an overlong euro sign in four bytes', 'f0 82 82 ac', 0],
    ['an encoded surrogate', '61 62 ed a0 80', 2],
    ['a code point above U+10FFFF', 'f4 90 80 80', 0],
    ['a lead byte that does not exist', 'ff', 0],
    ['a sequence cut short by the end', 'c3 a9 e2 82', 2],
    ['a sequence cut short by a letter', 'e2 82 41', 0],
  ] as const) {
    it(`refuses ${name}`, () => {
      assert.throws(() => decodeUtf8Strict(bytesOf(hex)), { name: 'JsonError', code: 'invalid-utf8', offset });
    });
  }

  it('refuses a byte order mark at the start, and keeps U+FEFF inside', () => {
    assert.throws(() => decodeUtf8Strict(bytesOf('ef bb bf 7b 7d')), { code: 'bom', offset: 0 });
    assert.equal(decodeUtf8Strict(bytesOf('22 ef bb bf 22')), '"\ufeff"');
  });

  it('returns text that encodes to the same bytes, or the end of the longest valid beginning', () => {
    const chunk = fc.oneof(
      fc.uint8Array({ maxLength: 4 }),
      fc.string({ unit: 'binary', maxLength: 4 }).map((text) => new Uint8Array(Buffer.from(text))),
      fc.constantFrom(bytesOf('e0 80'), bytesOf('ed a0 80'), bytesOf('f4 90'), bytesOf('f0 9f 98 80'), bytesOf('c1')),
    );
    const strict = new TextDecoder('utf-8', { fatal: true });
    let invalid = 0;
    fc.assert(
      fc.property(fc.array(chunk, { maxLength: 6 }), (chunks) => {
        const bytes = new Uint8Array(Buffer.concat([Buffer.from(' '), ...chunks]));
        try {
          assert.deepEqual(new Uint8Array(Buffer.from(decodeUtf8Strict(bytes))), bytes);
        } catch (error) {
          assert.ok(error instanceof JsonError && error.code === 'invalid-utf8', String(error));
          assert.doesNotThrow(() => strict.decode(bytes.subarray(0, error.offset)));
          for (let end = error.offset + 1; end <= bytes.length; end++) {
            assert.throws(() => strict.decode(bytes.subarray(0, end)), TypeError);
          }
          invalid++;
        }
      }),
      { numRuns: 2000 },
    );
    assert.ok(invalid > 200 && invalid < 1900, `${invalid} invalid`);
  });
});
