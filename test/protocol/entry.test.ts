import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { encodeEntry, leafHash, parseEntry, type Entry } from '../../protocol/entry.ts';

const COMMITMENT = '00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff';
const ENTRY: Entry = {
  id: 'rec-1',
  receivedAt: '2026-11-23T19:00:00.042Z',
  key: 'k0123456789abcde',
  commitment: COMMITMENT,
};
const TEXT = `{"v":1,"id":"rec-1","received_at":"2026-11-23T19:00:00.042Z","key":"k0123456789abcde","commitment":"${COMMITMENT}"}`;

function decode(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('utf8');
}

function pick(alphabet: string, minLength: number, maxLength: number): fc.Arbitrary<string> {
  return fc.string({ unit: fc.constantFrom(...alphabet.split('')), minLength, maxLength });
}

const LOWER = 'abcdefghijklmnopqrstuvwxyz0123456789';
const entry: fc.Arbitrary<Entry> = fc.record(
  {
    id: pick(`${LOWER}ABCXYZ._:-`, 1, 128),
    receivedAt: fc
      .date({ min: new Date(0), max: new Date('9999-12-31T23:59:59.999Z'), noInvalidDate: true })
      .map((d) => d.toISOString()),
    key: fc.oneof(
      fc.constant('kiff'),
      fc.tuple(pick(LOWER, 1, 1), pick(`${LOWER}_-`, 0, 63)).map((parts) => parts.join('')),
    ),
    commitment: pick('0123456789abcdef', 64, 64),
  },
  { noNullPrototype: true },
);

describe('an entry', () => {
  it('has exactly these bytes and this leaf hash', () => {
    const bytes = encodeEntry(ENTRY);
    assert.equal(decode(bytes), TEXT);
    assert.deepEqual(parseEntry(TEXT), ENTRY);
    const expected = `0x${createHash('sha256').update(`\0${TEXT}`).digest('hex')}`;
    assert.equal(leafHash(bytes), expected);
    assert.equal(leafHash(TEXT), expected);
    // The same number, once computed with sha256sum; it must hold for as long as the format does.
    assert.equal(expected, '0x53118e681b6fe40d59ee1665aa477134f3f00f4865e3de4a6983f6242f83f807');
  });

  it('is read back as it was written, and is what JSON.stringify writes', () => {
    fc.assert(
      fc.property(entry, (fields) => {
        const text = decode(encodeEntry(fields));
        assert.deepEqual(parseEntry(text), fields);
        const { id, receivedAt, key, commitment } = fields;
        assert.equal(text, JSON.stringify({ v: 1, id, received_at: receivedAt, key, commitment }));
      }),
    );
  });

  it('has one spelling: a text with one character changed, put in or left out is refused or is another entry', () => {
    const character = fc.constantFrom(...`${LOWER}AZ"\\/{}:,. \n\u0000-_é+`.split(''));
    let other = 0;
    fc.assert(
      fc.property(fc.nat(TEXT.length), fc.nat(1), fc.constantFrom(0, 1), character, (at, cut, put, inserted) => {
        const text = TEXT.slice(0, at) + (put === 1 ? inserted : '') + TEXT.slice(at + cut);
        let parsed;
        try {
          parsed = parseEntry(text);
        } catch (error) {
          assert.ok(error instanceof TypeError);
          return;
        }
        assert.equal(decode(encodeEntry(parsed)), text);
        if (text !== TEXT) other++;
      }),
      { numRuns: 3000 },
    );
    assert.ok(other > 50, 'some changes must have hit the free characters');
  });

  for (const [name, text] of [
    ['nothing', ''],
    ['another version', TEXT.replace('"v":1', '"v":2')],
    ['a version as a string', TEXT.replace('"v":1', '"v":"1"')],
    ['a version spelled otherwise', TEXT.replace('"v":1', '"v":1.0')],
    ['a member more', TEXT.replace('}', ',"x":1}')],
    ['a member twice', TEXT.replace('"v":1,', '"v":1,"v":1,')],
    ['a member less', TEXT.replace('"v":1,', '')],
    ['another order', TEXT.replace('"v":1,"id":"rec-1"', '"id":"rec-1","v":1')],
    ['white space inside', TEXT.replace(',', ', ')],
    ['a line feed behind', `${TEXT}\n`],
    ['a byte order mark', `\ufeff${TEXT}`],
    ['an escaped letter', TEXT.replace('rec-1', '\\u0072ec-1')],
    ['an empty id', TEXT.replace('rec-1', '')],
    ['an id of 129 characters', TEXT.replace('rec-1', 'x'.repeat(129))],
    ['an id with a slash', TEXT.replace('rec-1', 'rec/1')],
    ['an id with a letter beyond ASCII', TEXT.replace('rec-1', 'réc')],
    ['a date that does not exist', TEXT.replace('11-23', '02-30')],
    ['29 February of a common year', TEXT.replace('2026-11-23', '2027-02-29')],
    ['hour 24', TEXT.replace('T19:00', 'T24:00')],
    ['a leap second', TEXT.replace('19:00:00.042', '23:59:60.000')],
    ['a time with an offset', TEXT.replace('.042Z', '+00:00')],
    ['microseconds', TEXT.replace('.042Z', '.042000Z')],
    ['no milliseconds', TEXT.replace('.042Z', 'Z')],
    ['a lower-case z', TEXT.replace('.042Z', '.042z')],
    ['a space in place of T', TEXT.replace('T19', ' 19')],
    ['a key in capitals', TEXT.replace('k0123456789abcde', 'K0')],
    ['a key that starts with a dash', TEXT.replace('k0123456789abcde', '-k')],
    ['a key of 65 characters', TEXT.replace('k0123456789abcde', 'k'.repeat(65))],
    ['a commitment in capitals', TEXT.replace(COMMITMENT, COMMITMENT.toUpperCase())],
    ['a commitment with 0x', TEXT.replace(COMMITMENT, `0x${COMMITMENT.slice(2)}`)],
    ['a short commitment', TEXT.replace(COMMITMENT, COMMITMENT.slice(1))],
    ['something else than text', 5 as unknown as string],
  ] as const) {
    it(`is not read from ${name}`, () => assert.throws(() => parseEntry(text), TypeError));
  }

  it('29 February of a leap year is a real date', () => {
    assert.equal(parseEntry(TEXT.replace('2026-11-23', '2028-02-29')).receivedAt, '2028-02-29T19:00:00.042Z');
  });

  it('is not written from fields that could not be read back', () => {
    for (const bad of [
      { id: 'a"b' },
      { id: '' },
      { receivedAt: '2026-11-23T19:00:00Z' },
      { receivedAt: '2026-13-01T00:00:00.000Z' },
      { key: 'Kiff' },
      { commitment: COMMITMENT.slice(2) },
      { id: undefined as unknown as string },
    ]) {
      assert.throws(() => encodeEntry({ ...ENTRY, ...bad }), TypeError);
    }
  });
});
