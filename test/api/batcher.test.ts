import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import pg from 'pg';
import type { Accepted } from '../../api/ingest/accept.ts';
import { createBatcher, BATCH_LIMITS, type BatchKey } from '../../api/ingest/batcher.ts';
import { Problem } from '../../api/http/problems.ts';
import type { RecordDraft } from '../../api/ingest/record.ts';

const KEY: BatchKey = { tenant: 'acme', loginVersion: 1, keyId: 'k1' };

function draft(id: string, bytes = 100): RecordDraft {
  return { id, body: new Uint8Array(bytes), recordOffset: 1, salt: Buffer.alloc(32), commitment: Buffer.alloc(32) };
}

function accepted(leafIndex: number): Accepted {
  return { outcome: 'accepted', leafIndex, leafHash: '0x', receivedAt: 0 };
}

function databaseError(code: string): Error {
  return Object.assign(new pg.DatabaseError('refused', 0, 'error'), { code });
}

/** A log that answers a call only when told to. */
function slowLog() {
  const calls: { key: BatchKey; ids: string[]; bytes: number; finish(error?: Error): void }[] = [];
  let size = 0;
  const accept = (key: BatchKey, drafts: readonly RecordDraft[]): Promise<Accepted[]> =>
    new Promise((resolve, reject) => {
      calls.push({
        key,
        ids: drafts.map(({ id }) => id),
        bytes: drafts.reduce((sum, { body }) => sum + body.length, 0),
        finish: (error) => (error ? reject(error) : resolve(drafts.map(() => accepted(size++)))),
      });
    });
  return { calls, accept };
}

describe('group commit', () => {
  it('keeps two calls of a tenant in flight and sends the rest together', async () => {
    const { calls, accept } = slowLog();
    const batcher = createBatcher(accept);
    const results = ['a', 'b', 'c', 'd', 'e'].map((id) => batcher.submit(KEY, [draft(id)]));
    const other = batcher.submit({ ...KEY, tenant: 'other' }, [draft('x')]);
    assert.deepEqual(
      calls.map(({ ids }) => ids),
      [['a'], ['b'], ['x']],
    );

    calls[1]!.finish();
    await results[1];
    await nextTurn();
    assert.deepEqual(
      calls.slice(3).map(({ ids }) => ids),
      [['c', 'd', 'e']],
    );
    for (const call of calls) call.finish();
    await Promise.all([...results, other]);
    assert.equal(calls.length, 4);
  });

  it('puts at most 1,000 records and 8 MiB into a call', async () => {
    const { calls, accept } = slowLog();
    const batcher = createBatcher(accept);
    const first = [batcher.submit(KEY, [draft('a')]), batcher.submit(KEY, [draft('b')])];
    const many = (name: string, count: number, bytes: number): RecordDraft[] =>
      Array.from({ length: count }, (_, at) => draft(`${name}${at}`, bytes));
    const rest = [
      batcher.submit(KEY, many('c', 600, 10)),
      batcher.submit(KEY, many('d', 400, 10)),
      batcher.submit(KEY, many('e', 1, 10)),
      batcher.submit(KEY, many('f', 100, 60_000)),
      batcher.submit(KEY, many('g', 100, 60_000)),
    ];
    let done = 0;
    while (done < calls.length) {
      calls[done++]!.finish();
      await nextTurn();
    }
    await Promise.all([...first, ...rest]);
    assert.deepEqual(
      calls.map(({ ids }) => ids.length),
      [1, 1, 1_000, 101, 100],
    );
    for (const call of calls) assert.ok(call.bytes <= BATCH_LIMITS.bytes);
  });

  it('never puts two keys into one call, and lets them take turns', async () => {
    const { calls, accept } = slowLog();
    const batcher = createBatcher(accept, { ...BATCH_LIMITS, inFlight: 1, records: 2 });
    const [k1, k2] = [KEY, { ...KEY, keyId: 'k2' }];
    const results = [
      ...['a', 'b', 'c', 'd', 'e'].map((id) => batcher.submit(k1, [draft(id)])),
      batcher.submit(k2, [draft('x')]),
    ];
    for (let done = 0; done < calls.length;) {
      calls[done++]!.finish();
      await nextTurn();
    }
    await Promise.all(results);
    assert.deepEqual(
      calls.map(({ key: { keyId }, ids }) => [keyId, ...ids]),
      [
        ['k1', 'a'],
        ['k1', 'b', 'c'],
        ['k2', 'x'],
        ['k1', 'd', 'e'],
      ],
    );
  });

  it('retries a group that fails on data one by one, so that no neighbour suffers', async () => {
    const calls: string[][] = [];
    let size = 0;
    const batcher = createBatcher(
      async (_key, drafts) => {
        calls.push(drafts.map(({ id }) => id));
        if (drafts.some(({ id }) => id === 'bad')) throw databaseError('23514');
        return drafts.map(() => accepted(size++));
      },
      { ...BATCH_LIMITS, inFlight: 1 },
    );
    const results = await Promise.all([
      batcher.submit(KEY, [draft('first')]),
      batcher.submit(KEY, [draft('a')]),
      batcher.submit(KEY, [draft('b'), draft('bad'), draft('c')]),
    ]);
    assert.deepEqual(calls, [['first'], ['a', 'b', 'bad', 'c'], ['a'], ['b'], ['bad'], ['c']]);
    assert.deepEqual(
      results.flat().map((result) => ('refused' in result ? 'refused' : result.leafIndex)),
      [0, 1, 2, 'refused', 3],
    );
  });

  it('does not retry when the database is away: whether it committed is unknown', async () => {
    let calls = 0;
    const batcher = createBatcher(async () => {
      calls++;
      throw new Problem('unavailable', 'away');
    });
    await assert.rejects(batcher.submit(KEY, [draft('a'), draft('b')]), { slug: 'unavailable' });
    assert.equal(calls, 1);
  });

  it('goes on after a failure, and takes new work once what waits is done', async () => {
    const { calls, accept } = slowLog();
    const batcher = createBatcher(accept, { ...BATCH_LIMITS, waitingBytes: 250 });
    const a = batcher.submit(KEY, [draft('a')]);
    const b = batcher.submit(KEY, [draft('b')]);
    await assert.rejects(batcher.submit(KEY, [draft('c')]), { slug: 'overloaded', status: 503, retryAfter: 1 });
    calls[0]!.finish(new Problem('unavailable', 'away'));
    await assert.rejects(a, { slug: 'unavailable' });
    calls[1]!.finish();
    await b;
    await nextTurn();
    const c = batcher.submit(KEY, [draft('c')]);
    calls[2]!.finish();
    assert.equal((await c).length, 1);
  });

  it('one tenant fills its share of what may wait, and no other tenant’s (F39)', async () => {
    const { calls, accept } = slowLog();
    const batcher = createBatcher(accept, { ...BATCH_LIMITS, waitingBytes: 1_000, tenantWaitingBytes: 300 });
    const mine = ['a', 'b', 'c'].map((id) => batcher.submit(KEY, [draft(id)]));
    await assert.rejects(batcher.submit(KEY, [draft('d')]), { slug: 'overloaded' });
    const other = batcher.submit({ ...KEY, tenant: 'other' }, [draft('x', 300)]);
    for (let call = 0; call < 4; call++) {
      calls[call]!.finish();
      await nextTurn();
    }
    await Promise.all([...mine, other]);
    const again = batcher.submit(KEY, [draft('d', 300)]);
    calls[4]!.finish();
    assert.equal((await again).length, 1, 'what was stored makes room');
  });

  it('paces whoever is in a hurry: calls at intervals, with what came meanwhile in one; nobody else waits', async () => {
    const began: { tenant: string; ids: string[]; at: number }[] = [];
    const hurried = new Set(['acme']);
    const pace = 30;
    const batcher = createBatcher(
      async ({ tenant }, drafts) => {
        began.push({ tenant, ids: drafts.map(({ id }) => id), at: performance.now() });
        return drafts.map((_, index) => accepted(index));
      },
      { ...BATCH_LIMITS, pace },
      ({ tenant }) => hurried.has(tenant),
    );
    const other = { ...KEY, tenant: 'other' };
    // One after the other, as a client does that waits for each answer.
    for (const id of ['a', 'b', 'c']) await batcher.submit(KEY, [draft(id)]);
    const acme = began.filter(({ tenant }) => tenant === 'acme');
    assert.deepEqual(
      acme.map(({ ids }) => ids),
      [['a'], ['b'], ['c']],
    );
    // A timer's own grain is a millisecond.
    for (const [index, { at }] of acme.slice(1).entries()) assert.ok(at - acme[index]!.at >= pace - 2);

    began.length = 0;
    const waiting = ['d', 'e', 'f'].map((id) => batcher.submit(KEY, [draft(id)]));
    await batcher.submit(other, [draft('x')]);
    await batcher.submit(other, [draft('y')]);
    assert.deepEqual(
      began.map(({ tenant, ids }) => [tenant, ids]),
      [
        ['other', ['x']],
        ['other', ['y']],
      ],
      'its neighbour’s went at once, one after the other',
    );
    await Promise.all(waiting);
    assert.deepEqual(began.at(-1)!.ids, ['d', 'e', 'f']);

    hurried.clear();
    began.length = 0;
    await Promise.all([batcher.submit(KEY, [draft('g')]), batcher.submit(KEY, [draft('h')])]);
    assert.deepEqual(
      began.map(({ ids }) => ids),
      [['g'], ['h']],
      'control: at ease it is not held up',
    );
  });
});
