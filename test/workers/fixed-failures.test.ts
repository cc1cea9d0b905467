import assert from 'node:assert/strict';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { ApplicationFailure } from '@temporalio/common';
import pg from 'pg';
import { pino } from 'pino';
import { failure } from '../../activities/failures.ts';
import { fixedFailures } from '../../workers/fixed-failures.ts';

const logger = new DefaultLogger('ERROR');

const alerts: string[] = [];
const SECRET = 'the customer is Ada Lovelace';

/** Runs an activity that throws `error` behind the interceptor, as a worker would. */
async function thrown(error: unknown): Promise<ApplicationFailure> {
  const environment = new MockActivityEnvironment(
    {},
    { logger, interceptors: [fixedFailures(pino({ level: 'silent' }), (name) => alerts.push(name))] },
  );
  try {
    await environment.run(async () => {
      throw error;
    });
  } catch (caught) {
    assert.ok(caught instanceof ApplicationFailure);
    return caught;
  }
  throw new assert.AssertionError({ message: 'nothing was thrown' });
}

const failing = async (): Promise<never> => {
  throw new Error(SECRET);
};

/** Everything of an error that would travel into a history. */
const everything = (error: Error): string =>
  `${error.message}\n${error.stack}\n${JSON.stringify(error)}\n${String(error.cause)}`;

describe('failures on their way into a history', () => {
  it('lose what a driver says of a row', async () => {
    const error = new pg.DatabaseError(`duplicate key: ${SECRET}`, 10, 'error');
    error.code = '23505';
    error.detail = `Key (id)=(${SECRET}) already exists.`;
    const caught = await thrown(error);
    assert.equal(caught.type, 'unexpected');
    assert.ok(!everything(caught).includes(SECRET));
  });

  it('lose the text of any other error', async () => {
    const caught = await thrown(new TypeError(SECRET, { cause: new Error(SECRET) }));
    assert.equal(caught.type, 'unexpected');
    assert.ok(!everything(caught).includes(SECRET));
  });

  it('are named after our own SQLSTATEs', async () => {
    const error = new pg.DatabaseError('the period is not over', 10, 'error');
    error.code = 'KF004';
    assert.equal((await thrown(error)).type, 'period-not-over');
  });

  it('alert when the database itself refuses for good', async () => {
    const error = new pg.DatabaseError('another root stands for this seq', 10, 'error');
    error.code = 'KF007';
    assert.equal((await thrown(error)).nonRetryable, true);
    assert.deepEqual(alerts, ['root-conflict']);
  });

  it('alert once while the database takes no writes, whoever finds out (F8)', async () => {
    const told: string[] = [];
    const interceptors = [fixedFailures(pino({ level: 'silent' }), (name) => told.push(name))];
    for (const code of ['25006', '53100', '53100']) {
      const error = new pg.DatabaseError('no', 10, 'error');
      error.code = code;
      const environment = new MockActivityEnvironment({}, { logger, interceptors });
      await assert.rejects(
        environment.run(async () => {
          throw error;
        }),
        { type: 'database-refuses-writes', nonRetryable: false },
      );
    }
    assert.deepEqual(told, ['database-refuses-writes']);
  });

  it('keep our own kind, text and details', async () => {
    const caught = await thrown(failure('record-altered', { index: 7 }));
    assert.equal(caught.type, 'record-altered');
    assert.equal(caught.nonRetryable, true);
    assert.deepEqual(caught.details, [{ index: 7 }]);
  });

  it('control: without the interceptor the text would travel', async () => {
    const environment = new MockActivityEnvironment({}, { logger });
    await assert.rejects(environment.run(failing), { message: SECRET });
  });
});
