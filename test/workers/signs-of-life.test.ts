import assert from 'node:assert/strict';
import { once } from 'node:events';
import { MockActivityEnvironment } from '@temporalio/testing';
import { signsOfLife } from '../../workers/signs-of-life.ts';
import '../quiet-temporal.ts';

describe('workers/signs-of-life', () => {
  it('are given again and again as long as an activity runs; without them it gives none (control)', async () => {
    const environment = new MockActivityEnvironment({}, { interceptors: [signsOfLife] });
    const without = new MockActivityEnvironment({});
    without.on('heartbeat', () => assert.fail('a sign of life without the interceptor'));
    const twice = environment.run(async () => {
      await once(environment, 'heartbeat');
      await once(environment, 'heartbeat');
    });
    await without.run(() => twice);
  });
});
