/**
 * A superuser changes one stored thing of a log, any byte of it, past every trigger and constraint. Before anything is signed it is
 * found, and named: a record by its index, a tile by its place, a seal by its seq.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type pg from 'pg';
import { createPool } from '../../activities/database.ts';
import type { FailureDetails } from '../../activities/failures.ts';
import { writeTiles } from '../../activities/log/tiles.ts';
import { treeExtends } from '../../activities/signing/extends.ts';
import { extendTiles } from '../../protocol/extend.ts';
import { hashLeaf } from '../../protocol/hash.ts';
import { toHex } from '../../protocol/hex.ts';
import { edgeTiles, TileSet } from '../../protocol/tile.ts';
import type { TestTenant } from '../product-database.ts';
import { createPlane, failsAs, type Plane } from './plane.ts';

/** A log with signed seals, and one new seal over new records. */
interface Log {
  tenant: TestTenant;
  schema: string;
  /** Of the newest signed seal, and its tree's size. */
  signed: { seq: number; size: number };
  /** Of the seal that is to be signed next. */
  next: { seq: number; size: number };
  hashed: boolean;
}

interface Dice {
  log: Log;
  /** One of 0 … n-1. */
  pick: (n: number) => number;
  /** What a byte is changed by. */
  mask: number;
}

/** How to change one thing: the statement, and what has to be named. */
type Alteration = (dice: Dice) => { sql: string; named: FailureDetails };

const flip = (column: string, at: string, mask: number): string =>
  `${column} = set_byte(${column}, ${at}, get_byte(${column}, ${at}) # ${mask})`;

/** Any byte of a column of any record. */
const record =
  (table: 'records' | 'bodies', change: (dice: Dice) => string): Alteration =>
  (dice) => {
    const index = dice.pick(dice.log.next.size);
    return { sql: `UPDATE ${table} SET ${change(dice)} WHERE leaf_index = ${index}`, named: { index } };
  };
const recordByte = (table: 'records' | 'bodies', column: string): Alteration =>
  record(table, ({ pick, mask }) => flip(column, `(${pick(100_000)} % octet_length(${column}))`, mask));

/** Any tile that is stored by now. */
const tile =
  (statement: (where: string, dice: Dice) => string): Alteration =>
  (dice) => {
    const { signed, next, hashed } = dice.log;
    const leaves = hashed ? next.size : signed.size;
    const tiles = Math.ceil(leaves / 256);
    const at = dice.pick(tiles + 1);
    const named = at < tiles ? { level: 0, index: at } : { level: 1, index: 0 };
    return { sql: statement(`level = ${named.level} AND index = ${named.index}`, dice), named };
  };

const signedSeal =
  (statement: (seq: number, dice: Dice) => string): Alteration =>
  (dice) => {
    const seq = 1 + dice.pick(dice.log.signed.seq);
    return { sql: statement(seq, dice), named: { seq } };
  };
const signedSealByte = (column: string, length: number): Alteration =>
  signedSeal(
    (seq, { pick, mask }) => `UPDATE seals SET ${flip(column, String(pick(length)), mask)} WHERE seq = ${seq}`,
  );
const nextSeal =
  (change: (dice: Dice) => string): Alteration =>
  (dice) => {
    const { seq } = dice.log.next;
    return { sql: `UPDATE seals SET ${change(dice)} WHERE seq = ${seq}`, named: { seq } };
  };

const ALTERATIONS: Record<string, Alteration> = {
  'a byte of an entry': recordByte('records', 'entry'),
  'a byte of a leaf hash': recordByte('records', 'leaf_hash'),
  'the id beside an entry': record('records', () => `id = left(id, 35) || '~'`),
  'the time beside an entry': record('records', ({ mask }) => `received_at = received_at + interval '${mask} ms'`),
  'a record that is deleted': (dice) => {
    const index = dice.pick(dice.log.next.size);
    return { sql: `DELETE FROM records WHERE leaf_index = ${index}`, named: { index } };
  },
  'a byte of a body': recordByte('bodies', 'body'),
  'a byte of a salt': recordByte('bodies', 'salt'),
  'where the record begins in its body': record(
    'bodies',
    ({ pick }) => `record_offset = record_offset + 1 + ${pick(9)}`,
  ),
  'a byte of a tile': tile(
    (where, { pick, mask }) =>
      `UPDATE tiles SET ${flip('hashes', `(${pick(8_192)} % octet_length(hashes))`, mask)} WHERE ${where}`,
  ),
  'a tile that is cut short': tile(
    (where) => `UPDATE tiles SET hashes = substring(hashes FROM 1 FOR octet_length(hashes) - 32) WHERE ${where}`,
  ),
  'a tile that is no row of hashes': tile((where) => `UPDATE tiles SET hashes = hashes || '\\x00' WHERE ${where}`),
  'a tile that is deleted': tile((where) => `DELETE FROM tiles WHERE ${where}`),
  'a byte of a sealed root': signedSealByte('root', 32),
  'a byte of a sealed prev': signedSealByte('prev', 32),
  'a byte of a seal’s hash': signedSealByte('seal_hash', 32),
  'a byte of a seal’s signer': signedSealByte('signer', 20),
  'a byte of a signature': signedSealByte('signature', 65),
  'a letter of a checkpoint': signedSeal(
    (seq, { pick }) =>
      `UPDATE seals SET checkpoint = overlay(checkpoint PLACING '~' FROM 1 + ${pick(100)} FOR 1) WHERE seq = ${seq}`,
  ),
  'a sealed size': signedSeal((seq, { mask }) => `UPDATE seals SET tree_size = tree_size + ${mask} WHERE seq = ${seq}`),
  'a sealed period': signedSeal(
    (seq, { mask }) => `UPDATE seals SET period = period + 1000 + ${mask} WHERE seq = ${seq}`,
  ),
  'the size of the next seal, up': nextSeal(({ mask }) => `tree_size = tree_size + ${mask}`),
  'a sealed epoch': signedSeal((seq) => `UPDATE seals SET epoch = epoch + 1 WHERE seq = ${seq}`),
  'a sealed seal that is deleted': signedSeal((seq) => `DELETE FROM seals WHERE seq = ${seq}`),
  'the size of the next seal, down': nextSeal(({ pick }) => `tree_size = tree_size - 1 - ${pick(100)}`),
  'the period of the next seal': nextSeal(({ mask }) => `period = period + ${mask}`),
};
/** Only there once it is hashed. */
const OF_A_HASHED_SEAL: Record<string, Alteration> = {
  'a byte of the next seal’s root': nextSeal(({ pick, mask }) => flip('root', String(pick(32)), mask)),
};

const TABLES = ['records', 'bodies', 'tiles', 'seals'] as const;

describe('what a superuser tampers with', function () {
  this.timeout(120_000);
  let plane: Plane;
  let superuser: pg.Client;
  let logs: Log[];

  before(async () => {
    plane = await createPlane();
    superuser = await plane.database.connect(plane.database.superuserUrl);
    await superuser.query('SET session_replication_role = replica');
    const [one, other] = [await plane.tenant(), await plane.tenant()];
    logs = await Promise.all([grow(one, false), grow(other, true)]);
  });
  after(() => plane.stop());
  beforeEach(() => plane.alerts());

  /** Two signed seals over 700 records, and one more over 300 that is not signed. */
  async function grow(tenant: TestTenant, hashed: boolean): Promise<Log> {
    const schema = `kiff_t_${tenant.id}`;
    const seal = async (records: number): Promise<{ seq: number; size: number }> => {
      await plane.post(tenant, records);
      const seq = await plane.collect(tenant);
      const [row] = await plane.database.sql<{ size: number }>(
        `SELECT tree_size AS size FROM ${schema}.seals WHERE seq = $1`,
        [seq],
      );
      return { seq, size: row!.size };
    };
    await seal(400);
    const signed = await seal(300);
    await attempt(tenant, signed.seq);
    const next = await seal(300);
    if (hashed) await plane.log.hashSeals({ tenantId: tenant.id, throughSeq: next.seq });
    // The period after the last signed seal is signed too, up to the newest one: only that one is left to tamper with.
    const between = next.seq - 1;
    if (between > signed.seq) {
      await attempt(tenant, between);
      signed.seq = between;
    }
    await superuser.query(
      `ALTER TABLE ${schema}.records DROP CONSTRAINT leaf_hash_of_entry, DROP CONSTRAINT records_id_check`,
    );
    await superuser.query(`ALTER TABLE ${schema}.tiles DROP CONSTRAINT tiles_hashes_check`);
    for (const table of TABLES)
      await superuser.query(`CREATE TABLE ${schema}.${table}_kept AS TABLE ${schema}.${table}`);
    return { tenant, schema, signed, next, hashed };
  }

  /** What a period's end does: hash what is collected, sign what is hashed. */
  async function attempt(tenant: TestTenant, throughSeq: number): Promise<void> {
    await plane.log.hashSeals({ tenantId: tenant.id, throughSeq });
    const seqs = await plane.log.unsignedSeals({ tenantId: tenant.id, throughSeq });
    await plane.signing.signSeals({ tenantId: tenant.id, seqs });
  }

  async function restore({ tenant, schema }: Log): Promise<void> {
    for (const table of TABLES) {
      await superuser.query(`TRUNCATE ${schema}.${table}`);
      await superuser.query(`INSERT INTO ${schema}.${table} SELECT * FROM ${schema}.${table}_kept`);
    }
    await plane.unfreeze(tenant);
  }

  async function found(log: Log, alteration: Alteration, dice: Omit<Dice, 'log'>): Promise<void> {
    const { sql, named } = alteration({ log, ...dice });
    await superuser.query(`SET search_path = ${log.schema}`);
    try {
      const { rowCount } = await superuser.query(sql);
      assert.equal(rowCount, 1, `control: something was changed by ${sql}`);
      await assert.rejects(attempt(log.tenant, log.next.seq), (error: { type?: string; details?: unknown[] }) => {
        assert.deepEqual(error.details, [named], `${error.type} ${JSON.stringify(error.details)} after ${sql}`);
        return true;
      });
      const [alert] = plane.alerts();
      assert.deepEqual(alert?.fields, { ...named, tenantId: log.tenant.id }, 'the alert names it');
    } finally {
      await restore(log);
    }
  }

  const dice = fc.record({
    picked: fc.array(fc.nat(1_000_000), { minLength: 3, maxLength: 3 }),
    mask: fc.integer({ min: 1, max: 255 }),
  });
  for (const [what, alteration] of Object.entries({ ...ALTERATIONS, ...OF_A_HASHED_SEAL })) {
    it(`${what} is found and named, and nothing is signed`, async () => {
      const signatures = await plane.kms.count({ action: 'Sign' });
      for (const log of logs) {
        if (!log.hashed && what in OF_A_HASHED_SEAL) continue;
        await fc.assert(
          fc.asyncProperty(dice, async ({ picked, mask }) => {
            const numbers = picked.values();
            await found(log, alteration, { pick: (n) => (numbers.next().value ?? 0) % n, mask });
          }),
          { numRuns: 2, endOnFailure: true },
        );
      }
      assert.equal(await plane.kms.count({ action: 'Sign' }), signatures);
    });
  }

  it('control: what was put back as it was is signed', async () => {
    for (const log of logs) {
      await attempt(log.tenant, log.next.seq);
      const level = await plane.level(log.tenant, log.next.seq);
      assert.equal(level, 'sealed');
    }
  });

  it('in a log too large to be read whole, an old leaf is read again when its part has its turn', async () => {
    const tenant = await plane.tenant();
    const schema = `kiff_t_${tenant.id}`;
    await plane.post(tenant, 2 * 16_384 + 100);
    const seq = await plane.collect(tenant);
    await attempt(tenant, seq);
    // Three parts, and the newest seq says which one is next: this leaf is in the last, and neither the first nor the last of a period.
    const index = ((seq + 2) % 3) * 16_384 + 50;
    await superuser.query(`ALTER TABLE ${schema}.records DROP CONSTRAINT leaf_hash_of_entry`);
    await superuser.query(`UPDATE ${schema}.records SET ${flip('entry', '60', 1)} WHERE leaf_index = ${index}`);
    for (const next of [seq + 1, seq + 2, seq + 3]) {
      while ((await plane.collect(tenant)) < next);
      await plane.log.hashSeals({ tenantId: tenant.id, throughSeq: next });
      const signing = plane.signing.signSeals({ tenantId: tenant.id, seqs: [next] });
      if (next < seq + 3) await signing;
      else {
        await assert.rejects(signing, (error: { type?: string; details?: unknown[] }) => {
          assert.deepEqual([error.type, error.details], ['record-altered', [{ index }]]);
          return true;
        });
      }
    }
  });

  it('a stolen sealing credential gets nothing signed that was never accepted', async () => {
    const { tenant, schema, next } = logs[0]!;
    const stolen = createPool(plane.database.urls.kiff_sealing, 1);
    const signing = createPool(plane.database.urls.kiff_signing, 1);
    try {
      await plane.post(tenant, 1);
      const seq = await plane.collect(tenant);
      const [{ size, root } = { size: 0, root: Buffer.alloc(0) }] = await plane.database.sql<{
        size: number;
        root: Buffer;
      }>(`SELECT tree_size AS size, root FROM ${schema}.seals WHERE seq = $1`, [next.seq]);
      const { rows } = await stolen.query<{ level: number; index: number; hashes: Buffer }>(
        `SELECT * FROM ${schema}.tiles`,
      );
      const before = new TileSet(rows);
      assert.ok(edgeTiles(size).length > 0);
      // A leaf of its own in place of the one that was accepted: tiles and root that a consistency proof leads to.
      const tree = extendTiles(size, before);
      tree.append([hashLeaf(Buffer.from('{"v":1,"id":"made-up"}'))]);
      await writeTiles(stolen, tenant.id, tree.drain());
      for (let empty = next.seq + 1; empty <= seq; empty++) {
        const {
          rows: [open],
        } = await stolen.query<{ tree_size: number }>(`SELECT tree_size FROM ${schema}.seals WHERE seq = $1`, [empty]);
        await stolen.query(`SELECT ${schema}.record_root($1, $2)`, [
          empty,
          open!.tree_size > size ? Buffer.from(tree.root()) : root,
        ]);
      }
      const forged = { size: tree.size, root: toHex(tree.root()) };
      assert.ok(
        await treeExtends(signing, tenant.id, { size, root: toHex(root) }, forged),
        'control: by tiles and a consistency proof alone it passes',
      );
      const seqs = await plane.log.unsignedSeals({ tenantId: tenant.id, throughSeq: seq });
      await assert.rejects(plane.signing.signSeals({ tenantId: tenant.id, seqs }), failsAs('tile-altered'));
    } finally {
      await stolen.end();
      await signing.end();
    }
  });
});
