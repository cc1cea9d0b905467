import assert from 'node:assert/strict';
import fc from 'fast-check';
import { rfc3339Millis } from '../../protocol/rfc3339.ts';

const two = (value: number): string => String(value).padStart(2, '0');

describe('an RFC 3339 date-time', () => {
  it('is what the engine reads it as: any day, fraction and offset', () => {
    const time = fc.date({
      min: new Date('0000-01-01T00:00:00.000Z'),
      max: new Date('9999-12-31T23:59:59.999Z'),
      noInvalidDate: true,
    });
    const fraction = fc.option(fc.stringMatching(/^[0-9]{1,30}$/), { nil: undefined });
    const offset = fc.oneof(
      fc.constantFrom('Z', 'z'),
      fc
        .record({ sign: fc.constantFrom('+', '-'), hours: fc.nat(23), minutes: fc.nat(59) })
        .map(({ sign, hours, minutes }) => `${sign}${two(hours)}:${two(minutes)}`),
    );
    fc.assert(
      fc.property(time, fraction, offset, fc.constantFrom('T', 't'), (date, digits, zone, separator) => {
        const plain = date.toISOString().slice(0, 19);
        const text = `${plain.replace('T', separator)}${digits === undefined ? '' : `.${digits}`}${zone}`;
        const millis = (digits ?? '').slice(0, 3).padEnd(3, '0');
        assert.equal(rfc3339Millis(text), Date.parse(`${plain}.${millis}${zone.toUpperCase()}`), text);
      }),
      { numRuns: 500 },
    );
  });

  for (const text of [
    '',
    '2026-01-02',
    '2026-01-02T03:04:05',
    '2026-01-02 03:04:05Z',
    '2026-1-02T03:04:05Z',
    '+002026-01-02T03:04:05Z',
    '2026-01-02T03:04Z',
    '2026-01-02T03:04:05.Z',
    '2026-01-02T03:04:05,5Z',
    '2026-01-02T03:04:05+0100',
    '2026-01-02T03:04:05+01',
    '2026-01-02T03:04:05ZZ',
    '2026-01-02T03:04:05Z\n',
    '2026-00-02T03:04:05Z',
    '2026-13-02T03:04:05Z',
    '2026-01-00T03:04:05Z',
    '2026-04-31T03:04:05Z',
    '2026-02-29T03:04:05Z',
    '1900-02-29T03:04:05Z',
    '2026-01-02T24:00:00Z',
    '2026-01-02T03:60:05Z',
    '2026-12-31T23:59:60Z',
    '2026-01-02T03:04:05+24:00',
    '2026-01-02T03:04:05+01:60',
  ]) {
    it(`is not ${JSON.stringify(text)}`, () => assert.equal(rfc3339Millis(text), undefined));
  }

  it('may be a leap day where there is one', () => {
    assert.equal(rfc3339Millis('2024-02-29T00:00:00Z'), Date.UTC(2024, 1, 29));
    assert.equal(rfc3339Millis('2000-02-29T00:00:00Z'), Date.UTC(2000, 1, 29));
  });
});
