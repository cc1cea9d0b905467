import assert from 'node:assert/strict';
import { ALERT_BELOW_HOURS, hoursLeft } from '../../../activities/anchoring/runway.ts';

describe('how long the relayer’s money lasts', () => {
  it('by what a day has cost', () => {
    assert.equal(hoursLeft(480n, { lastDay: 240n, lastHours: 30n, hoursOnRecord: 24 }), 48);
  });

  it('by the last hours, when they cost more', () => {
    assert.equal(hoursLeft(480n, { lastDay: 240n, lastHours: 60n, hoursOnRecord: 24 }), 24);
  });

  it('of a young wallet, by its age, and by an hour at least', () => {
    assert.equal(hoursLeft(480n, { lastDay: 20n, lastHours: 20n, hoursOnRecord: 2 }), 48);
    assert.equal(hoursLeft(480n, { lastDay: 20n, lastHours: 20n, hoursOnRecord: 0.1 }), 24);
  });

  it('for ever, while nothing was spent', () => {
    assert.equal(hoursLeft(0n, { lastDay: 0n, lastHours: 0n, hoursOnRecord: 0 }), Infinity);
  });

  it('and somebody is told early enough that a day is left, even if the price doubles meanwhile', () => {
    assert.ok(ALERT_BELOW_HOURS >= 2 * 24);
  });
});
