/**
 * The cut under everything at once, with a period of one second: two API processes, writers on connections of their own,
 * transactions that are rolled back, a writer that hangs (F45), and two callers of collect() at every period's end.
 */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { startApiProcess, type ApiProcess } from '../api/api-process.ts';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { accept, databaseTime } from './batch.ts';
import { logFaults } from './log-faults.ts';

const P = 1;
/** Periods that the writers write through; about five of them pass while one of them hangs. */
const PERIODS = 11;

interface Cut {
  seq: number;
  period: number;
  tree_size: number;
}

describe('collect() under stress', function () {
  this.timeout(60_000);
  let db: ProductDatabase;
  let tenant: TestTenant;
  let observer: pg.Client;
  let apis: ApiProcess[];
  const stop = new AbortController();
  /** What a writer was told, by id: the leaf. And ids of which nothing may be left. */
  const promised = new Map<string, number>();
  const undone = new Set<string>();
  const seen = { duplicates: 0, answered: [0, 0], cuts: 0 };
  let hungCode: string | undefined;
  const read: Cut[][] = [];

  const promise = (id: string, leafIndex: number): void => {
    assert.equal(promised.get(id) ?? leafIndex, leafIndex, `${id} was told two places`);
    promised.set(id, leafIndex);
  };
  const allSeals = async (client: pg.Client): Promise<Cut[]> =>
    (await client.query<Cut>(`SELECT seq, period, tree_size FROM ${tenant.role}.seals ORDER BY seq`)).rows;
  /** A connection, and the error that the server ended it with, which may come between two statements. */
  async function connect(url: string): Promise<{ client: pg.Client; end: { code?: string } }> {
    const client = await db.connect(url);
    const connection = { client, end: {} };
    client.on('error', (error) => {
      if ('code' in error) connection.end = error;
    });
    return connection;
  }

  /** Batches with fresh ids and ids of its own from before; every third transaction is rolled back. */
  async function writeDirectly(name: string): Promise<void> {
    let connection = await connect(tenant.url);
    const mine: string[] = [];
    for (let turn = 0; !stop.signal.aborted; turn++) {
      const fresh = Array.from({ length: 1 + ((turn * 7) % 40) }, (_, at) => `${name}-${turn}-${at}`);
      const ids = [...fresh, ...mine.slice(-3), fresh[0]!];
      const back = turn % 3 === 1;
      const { client } = connection;
      try {
        await client.query('BEGIN');
        const rows = await accept(client, tenant, ids);
        if (turn % 5 === 0) await accept(client, tenant, [`${name}-${turn}-second`]);
        await client.query(back ? 'ROLLBACK' : 'COMMIT');
        if (back) {
          for (const id of fresh) undone.add(id);
          continue;
        }
        for (const [at, row] of rows.entries()) promise(ids[at]!, row.leaf_index);
        seen.duplicates += rows.filter((row) => row.outcome === 'duplicate').length;
        mine.push(...fresh);
      } catch (error) {
        if (!isLimit(error, connection)) throw error;
        await client.end();
        connection = await connect(tenant.url);
      }
    }
  }

  /** What a client does: post, and post the same again after a 503. */
  async function writeOverHttp(process: number, name: string): Promise<void> {
    for (let turn = 0; !stop.signal.aborted; turn++) {
      const ids = Array.from({ length: 1 + (turn % 5) }, (_, at) => `${name}-${turn}-${at}`);
      for (;;) {
        const { status, retryAfter, lines } = await apis[process]!.post(tenant, ...ids);
        if (status === 503) {
          assert.equal(retryAfter, '1');
          continue;
        }
        assert.ok(status === 200 || status === 201, String(status));
        for (const [at, line] of lines.entries()) promise(ids[at]!, line.leafIndex);
        seen.answered[process]!++;
        break;
      }
    }
  }

  /** Begins, writes and then says nothing more. The server ends it. */
  async function hang(): Promise<void> {
    const client = await db.connect(tenant.url);
    const ended = new Promise<string | undefined>((resolve) => {
      client.on('error', (error: Error & { code?: string }) => resolve(error.code));
    });
    await client.query('BEGIN');
    await accept(client, tenant, ['hung-1', 'hung-2']);
    undone.add('hung-1').add('hung-2');
    hungCode = await ended;
  }

  /** Cuts each period as soon as it is over, and reads all cuts after each of its own. */
  async function cut(through: number): Promise<void> {
    let connection = await connect(db.urls.kiff_sealing);
    for (let period = tenant.firstPeriod; period <= through;) {
      const { client } = connection;
      try {
        const { rows } = await client.query<Cut>(`SELECT * FROM ${tenant.role}.collect($1)`, [period]);
        read.push(rows, await allSeals(client));
        seen.cuts++;
        period += P;
      } catch (error) {
        if ((error as { code?: string }).code === 'KF004') {
          await delay(20);
          continue;
        }
        if (!isLimit(error, connection)) throw error;
        await client.end();
        connection = await connect(db.urls.kiff_sealing);
      }
    }
  }

  before(async () => {
    db = await createProductDatabase({ periodSeconds: P });
    apis = await Promise.all([startApiProcess(db), startApiProcess(db)]);
    tenant = await db.createTenant({ limits: { requests: null, records: null } });
    observer = await db.connect(db.superuserUrl);

    const writers = [
      ...[0, 1, 2, 3].map((at) => writeDirectly(`direct-${at}`)),
      ...[0, 1, 0, 1].map((process, at) => writeOverHttp(process, `http-${at}`)),
    ];
    const last = tenant.firstPeriod + PERIODS * P;
    const cuts = Promise.all([cut(last), cut(last)]);
    const hung = (async () => {
      while ((await databaseTime(observer)) < tenant.firstPeriod + 2 * P) await delay(20);
      await hang();
    })();
    try {
      await Promise.race([Promise.all([cuts, hung]), Promise.all(writers)]);
    } finally {
      stop.abort();
    }
    await Promise.all([...writers, cuts, hung]);
    // What was written after the last cut.
    const current = Math.floor((await databaseTime(observer)) / P) * P;
    await cut(current);
  });
  after(async () => {
    await Promise.all(apis.map((api) => api.stop()));
    await db.drop();
  });

  it('was one: rollbacks, duplicates, both processes, a writer that the server ended, records in many periods', async () => {
    assert.ok(undone.size > 100);
    assert.ok(seen.duplicates > 100);
    for (const answers of seen.answered) assert.ok(answers > 10);
    assert.ok(seen.cuts > 2 * PERIODS);
    assert.match(hungCode ?? '', /^25P0[34]$/);
    const sizes = new Set((await allSeals(observer)).map((seal) => seal.tree_size));
    assert.ok(sizes.size > 4, `only ${sizes.size} different sizes`);
  });

  it('each cut reads the same when it is read again', async () => {
    const final = await allSeals(observer);
    for (const cuts of read) {
      for (const seal of cuts) assert.deepEqual(seal, final[seal.seq - 1]);
    }
  });

  it('indexes are gapless, order is time order, no record is in two periods or none', async () => {
    assert.deepEqual(await logFaults(observer, tenant, P), []);
    const [head] = await db.sql<{ size: number }>(`SELECT size FROM ${tenant.role}.log_head`);
    assert.equal((await allSeals(observer)).at(-1)!.tree_size, head!.size);
  });

  it('every answer is true of the log, and nothing of what was rolled back is in it', async () => {
    const stored = await db.sql<{ id: string; leaf_index: number }>(
      `SELECT id, leaf_index FROM ${tenant.role}.records`,
    );
    const indexes = new Map(stored.map(({ id, leaf_index: index }) => [id, index]));
    assert.equal(indexes.size, stored.length);
    for (const [id, index] of promised) assert.equal(indexes.get(id), index, id);
    for (const id of undone) assert.ok(!indexes.has(id), id);
  });

  it('the control: a record moved over a cut, a gap, a swap and a lost body are each found', async () => {
    const found = async (change: string): Promise<string> => {
      await observer.query('BEGIN');
      try {
        await observer.query(change);
        return (await logFaults(observer, tenant, P)).join('\n');
      } finally {
        await observer.query('ROLLBACK');
      }
    };
    const [{ edge } = { edge: 0 }] = await db.sql<{ edge: number }>(
      `SELECT max(tree_size) AS edge FROM ${tenant.role}.seals
        WHERE tree_size < (SELECT max(tree_size) FROM ${tenant.role}.seals)`,
    );
    const { role } = tenant;
    const seqOfEdge = `(SELECT min(seq) FROM ${role}.seals WHERE tree_size = ${edge})`;
    assert.match(
      await found(
        `ALTER TABLE ${role}.seals DISABLE TRIGGER ALL;
         UPDATE ${role}.seals SET tree_size = tree_size - 1 WHERE seq = ${seqOfEdge}`,
      ),
      new RegExp(`leaf ${edge - 1} lies in the range of seal \\d+, not in its period`),
    );
    assert.match(
      await found(
        `UPDATE ${role}.records SET received_at = received_at - interval '10 seconds' WHERE leaf_index = ${edge}`,
      ),
      new RegExp(`leaf ${edge} is older than the one before it`),
    );
    assert.match(await found(`DELETE FROM ${role}.records WHERE leaf_index = 1`), /leaf 2 stands at place 1/);
    assert.match(await found(`DELETE FROM ${role}.bodies WHERE leaf_index = 1`), /leaf 1 has no body/);
    assert.match(await found(`UPDATE ${role}.log_head SET size = size + 1`), /the head says/);
    assert.match(
      await found(`DELETE FROM ${role}.seals WHERE seq = ${seqOfEdge}`),
      /seal \d+ is of period \d+\n(.|\n)*lies in the range/,
    );
  });
});

/** The 5 s limits (statement, transaction) may end whoever waits behind the one that hangs. */
function isLimit(error: unknown, { end }: { end: { code?: string } }): boolean {
  return [error as { code?: string }, end].some(({ code = '' }) => /^(?:57014|25P0[34])$/.test(code));
}
