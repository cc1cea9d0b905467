import assert from 'node:assert/strict';
import fc from 'fast-check';
import { isPeriodStart, periodAt, periodEnd, periodOf, sealBy, unixMillis } from '../../protocol/period.ts';

const HOUR = 3600;
const NINETEEN = 1795460400; // 2026-11-23T19:00:00Z

describe('a period', () => {
  it('begins with its first millisecond and ends with its last', () => {
    assert.equal(periodOf('2026-11-23T19:00:00.000Z', HOUR), NINETEEN);
    assert.equal(periodOf('2026-11-23T19:59:59.999Z', HOUR), NINETEEN);
    assert.equal(periodOf('2026-11-23T20:00:00.000Z', HOUR), NINETEEN + HOUR);
    assert.equal(periodOf('2026-11-23T18:59:59.999Z', HOUR), NINETEEN - HOUR);
    assert.equal(periodOf('2026-11-23T19:00:59.999Z', 60), NINETEEN);
    assert.equal(periodEnd(NINETEEN, HOUR), NINETEEN + HOUR);
    assert.equal(sealBy(NINETEEN, HOUR), NINETEEN + 2 * HOUR);
  });

  it('holds every moment from its start to before its end, and starts at a multiple of its length', () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 2 ** 40 }),
        fc.integer({ min: 1, max: 86_400 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (s, P, f) => {
          const period = periodAt(s + f, P);
          assert.ok(period <= s && s < period + P);
          assert.ok(isPeriodStart(period, P));
          assert.equal(isPeriodStart(s, P), s === period);
          assert.equal(sealBy(period, P) - periodEnd(period, P), P);
        },
      ),
    );
  });

  it('refuses numbers that name no time or no period', () => {
    for (const bad of [-1, Number.NaN, Infinity, 2 ** 53]) {
      assert.throws(() => periodAt(bad, HOUR), RangeError);
      assert.throws(() => periodEnd(bad, HOUR), RangeError);
      assert.equal(isPeriodStart(bad, HOUR), false);
    }
    for (const bad of [0, -3600, 0.5, Number.NaN, Infinity]) {
      assert.throws(() => periodAt(NINETEEN, bad), RangeError);
      assert.throws(() => sealBy(NINETEEN, bad), RangeError);
      assert.equal(isPeriodStart(NINETEEN, bad), false);
    }
    assert.throws(() => periodEnd(NINETEEN + 1, HOUR), RangeError);
    assert.throws(() => sealBy(NINETEEN + 60, HOUR), RangeError);
    assert.throws(() => sealBy(Number.MAX_SAFE_INTEGER, 1), RangeError);
    assert.throws(() => periodOf('1969-12-31T23:59:59.999Z', HOUR), RangeError);
  });
});

describe('unixMillis', () => {
  it('reads what toISOString writes', () => {
    const date = fc.date({ min: new Date(0), max: new Date('9999-12-31T23:59:59.999Z'), noInvalidDate: true });
    fc.assert(fc.property(date, (moment) => assert.equal(unixMillis(moment.toISOString()), moment.getTime())));
  });

  for (const bad of [
    '',
    '2026-11-23',
    '2026-11-23T19:00:00Z',
    '2026-11-23T19:00:00.0000Z',
    '2026-11-23T19:00:00.000+00:00',
    '2026-11-23t19:00:00.000z',
    '2026-02-29T19:00:00.000Z',
    '2026-04-31T19:00:00.000Z',
    '2026-00-01T19:00:00.000Z',
    '2026-11-23T24:00:00.000Z',
    '2026-11-23T19:60:00.000Z',
    '2026-11-23T19:00:60.000Z',
    '+012026-11-23T19:00:00.000Z',
    '+02026-11-23T19:00:00.000Z',
    ' 2026-11-23T19:00:00.000Z',
    '2026-11-23T19:00:00.000Z\n',
    '２026-11-23T19:00:00.000Z',
    0 as unknown as string,
  ]) {
    it(`refuses ${JSON.stringify(bad)}`, () => assert.throws(() => unixMillis(bad), TypeError));
  }
});
