import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { commit, encodeBody, parseBody } from '../../protocol/entry.ts';
import { JsonError } from '../../protocol/json.ts';

function decode(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('utf8');
}

const depth = (n: number): string => `${'{"a":'.repeat(n - 1)}{}${'}'.repeat(n - 1)}`;

describe('a body', () => {
  const record = '{"id":"rec-1", "n":1e400,"big":123456789012345678901,"z":-0,"t":"é😀"}';
  const attribution = '{"wallet":"0xü"}';

  it('holds the bytes of the record untouched, at the offset that is given', () => {
    for (const known of [null, attribution]) {
      const { bytes, recordOffset } = encodeBody(known, record);
      assert.equal(decode(bytes), `{"attribution":${known ?? 'null'},"record":${record}}`);
      assert.equal(decode(bytes.subarray(recordOffset, -1)), record);
      assert.deepEqual(parseBody(decode(bytes)), { attribution: known, recordText: record });
    }
  });

  it('is read back as it was written', () => {
    const object = fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 3 }));
    const spelled = fc
      .tuple(object, fc.constantFrom('', ' ', '\t'))
      .map(([value, gap]) => JSON.stringify(value, null, gap));
    fc.assert(
      fc.property(fc.option(spelled), spelled, (known, recordText) => {
        const { bytes, recordOffset } = encodeBody(known, recordText);
        assert.deepEqual(parseBody(decode(bytes)), { attribution: known, recordText });
        assert.equal(decode(bytes.subarray(recordOffset, -1)), recordText);
      }),
    );
  });

  it('may hold a record as deep as ingest takes, and no deeper', () => {
    const deepest = decode(encodeBody(null, depth(32)).bytes);
    assert.equal(parseBody(deepest).recordText, depth(32));
    assert.throws(() => parseBody(decode(encodeBody(null, depth(33)).bytes)), { code: 'too-deep' });
  });

  for (const [name, text, code] of [
    ['no JSON', '{"attribution":null,"record":{}', 'syntax'],
    ['an array', '[null,{}]', 'syntax'],
    ['a name repeated', '{"attribution":null,"record":{},"record":{}}', 'duplicate-key'],
    ['a name repeated inside the record', '{"attribution":null,"record":{"a":1,"\\u0061":2}}', 'duplicate-key'],
    ['a name repeated inside the attribution', '{"attribution":{"a":1,"a":1},"record":{}}', 'duplicate-key'],
    ['a name repeated deep inside', '{"attribution":null,"record":{"x":[{"a":1,"a":1}]}}', 'duplicate-key'],
    ['a lone surrogate', '{"attribution":null,"record":{"a":"\\ud800"}}', 'lone-surrogate'],
    ['a byte order mark', '\ufeff{"attribution":null,"record":{}}', 'bom'],
    ['another order', '{"record":{},"attribution":null}', undefined],
    ['a member more', '{"attribution":null,"record":{},"x":1}', undefined],
    ['a member more in front', '{"x":1,"attribution":null,"record":{}}', undefined],
    ['a member less', '{"record":{}}', undefined],
    ['no member', '{}', undefined],
    ['another name of the same length', '{"attributioN":null,"record":{}}', undefined],
    ['an escaped name', '{"\\u0061ttribution":null,"record":{}}', undefined],
    ['an escaped second name', '{"attribution":null,"\\u0072ecord":{}}', undefined],
    ['a space in front', ' {"attribution":null,"record":{}}', undefined],
    ['a line feed behind', '{"attribution":null,"record":{}}\n', undefined],
    ['a space behind the brace', '{ "attribution":null,"record":{}}', undefined],
    ['a space behind the first colon', '{"attribution": null,"record":{}}', undefined],
    ['a space before the comma', '{"attribution":null ,"record":{}}', undefined],
    ['a space behind the comma', '{"attribution":null, "record":{}}', undefined],
    ['a space behind the second colon', '{"attribution":null,"record": {}}', undefined],
    ['a space before the last brace', '{"attribution":null,"record":{} }', undefined],
    ['an attribution that is text', '{"attribution":"me","record":{}}', undefined],
    ['an attribution that is an array', '{"attribution":[],"record":{}}', undefined],
    ['a record that is null', '{"attribution":null,"record":null}', undefined],
    ['a record that is an array', '{"attribution":null,"record":[{}]}', undefined],
  ] as const) {
    it(`is not read from ${name}`, () => {
      assert.throws(
        () => parseBody(text),
        (error) =>
          code === undefined ? error instanceof TypeError : error instanceof JsonError && error.code === code,
      );
    });
  }

  it('is not written around what is no object', () => {
    for (const bad of ['', 'null', ' {}', '{}\n', '[{}]']) assert.throws(() => encodeBody(null, bad), TypeError);
    for (const bad of ['null', ' {}', '{} ', '[]', '"x"']) assert.throws(() => encodeBody(bad, '{}'), TypeError);
    assert.throws(() => encodeBody('{"a":1,"a":2}', '{}'), { code: 'duplicate-key' });
    assert.throws(() => encodeBody('{},"x":{}', '{}'), { code: 'syntax' });
  });
});

describe('a commitment', () => {
  it('is HMAC-SHA-256 of the body under the salt', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.uint8Array({ maxLength: 300 }), (salt, body) => {
        const expected = createHmac('sha256', salt).update(body).digest();
        assert.deepEqual(Buffer.from(commit(salt, body)), expected);
      }),
    );
  });

  it('needs a salt of 32 bytes', () => {
    for (const length of [0, 31, 33, 64]) {
      assert.throws(() => commit(new Uint8Array(length), new Uint8Array(1)), TypeError);
    }
  });
});
