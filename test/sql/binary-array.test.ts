import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type pg from 'pg';
import { byteaArray, integerArray, textArray } from '../../sql/binary-array.ts';
import { createProductDatabase, type ProductDatabase } from '../product-database.ts';

describe('an array as a binary parameter', () => {
  let db: ProductDatabase;
  let client: pg.Client;

  before(async function () {
    this.timeout(60_000);
    db = await createProductDatabase();
    client = await db.connect(db.superuserUrl);
  });
  after(() => db.drop());

  /** What the server read, next to the same values as the driver sends them by itself. */
  async function bothWays(type: string, array: Buffer, values: unknown[]): Promise<[unknown, unknown]> {
    const { rows } = await client.query<{ ours: unknown; theirs: unknown }>(
      `SELECT $1::${type}[] AS ours, $2::${type}[] AS theirs`,
      [array, values],
    );
    return [rows[0]!.ours, rows[0]!.theirs];
  }

  it('is read as the values that were put in', async () => {
    const bytes = [Buffer.alloc(0), Buffer.from([0]), randomBytes(70_000), Buffer.from('"{},\\NULL')];
    const texts = ['', 'NULL', '"{},\\', 'é😀', 'x'.repeat(70_000)];
    const integers = [0, 1, -1, 2 ** 31 - 1, -(2 ** 31)];
    for (const [ours, theirs] of [
      await bothWays('bytea', byteaArray(bytes), bytes),
      await bothWays('text', textArray(texts), texts),
      await bothWays('integer', integerArray(integers), integers),
    ]) {
      assert.deepEqual(ours, theirs);
    }
  });

  it('may be empty', async () => {
    for (const [type, array] of [
      ['bytea', byteaArray([])],
      ['text', textArray([])],
      ['integer', integerArray([])],
    ] as const) {
      assert.deepEqual(await bothWays(type, array, []), [[], []]);
    }
  });

  it('is refused by the server as another type, and when it is cut off (control)', async () => {
    await assert.rejects(bothWays('text', integerArray([1]), []), { code: '42804' });
    await assert.rejects(bothWays('bytea', byteaArray([Buffer.alloc(9)]).subarray(0, -1), []), {
      code: /^(08P01|22P03)$/,
    });
  });
});
