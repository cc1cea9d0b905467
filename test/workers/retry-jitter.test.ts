/** F14: retries back off and are spread; what all failed together does not come back together. */
import assert from 'node:assert/strict';
import { ApplicationFailure } from '@temporalio/common';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import fc from 'fast-check';
import { failure } from '../../activities/failures.ts';
import { retryDelay } from '../../activities/retry-delay.ts';
import { jitteredRetries } from '../../workers/retry-jitter.ts';

const BACKOFF = { initialMs: 1_000, coefficient: 2, maximumMs: 60_000 };

/** The failure as the server hears it, of an attempt whose policy is the seal's. */
async function told(error: Error, attempt: number, random?: () => number): Promise<ApplicationFailure> {
  const environment = new MockActivityEnvironment(
    { attempt, retryPolicy: { initialInterval: 1_000, backoffCoefficient: 2, maximumInterval: 60_000 } },
    { logger: new DefaultLogger('ERROR'), interceptors: [jitteredRetries(random)] },
  );
  let caught: unknown;
  try {
    await environment.run(async () => {
      throw error;
    });
  } catch (thrown) {
    caught = thrown;
  }
  assert.ok(caught instanceof ApplicationFailure);
  return caught;
}

describe('retries', () => {
  it('wait at least half of what the policy says and never more, whatever the attempt', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 10_000 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (attempt, random) => {
          const full = Math.min(60_000, 1_000 * 2 ** (attempt - 1));
          const delay = retryDelay(attempt, BACKOFF, random);
          assert.ok(delay >= full / 2 && delay <= full, `${delay} of ${full}`);
        },
      ),
    );
  });

  it('back off: each wait is drawn from twice the one before, up to the maximum', async () => {
    const waits = [];
    for (const attempt of [1, 2, 3, 7, 100])
      waits.push((await told(failure('kms-unavailable'), attempt, () => 0)).nextRetryDelay);
    assert.deepEqual(waits, [500, 1_000, 2_000, 30_000, 30_000]);
  });

  it('are spread: a hundred that failed together get many different waits', async () => {
    const waits = await Promise.all(Array.from({ length: 100 }, () => told(failure('kms-unavailable'), 6)));
    assert.ok(new Set(waits.map(({ nextRetryDelay }) => nextRetryDelay)).size > 50);
  });

  it('keep what the failure says, and leave alone what is not retried', async () => {
    const caught = await told(failure('out-of-order', { seq: 3 }), 1);
    assert.deepEqual([caught.type, caught.details, caught.nonRetryable], ['out-of-order', [{ seq: 3 }], false]);
    assert.equal((await told(failure('statement-conflict'), 1)).nextRetryDelay, undefined);
  });
});
