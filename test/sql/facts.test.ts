import assert from 'node:assert/strict';
import type pg from 'pg';
import { LogSealer, SIGNER } from '../api/seal-log.ts';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { accept } from './batch.ts';

const ones = (length: number): string => `'\\x${'11'.repeat(length)}'`;

describe('what was once fixed stays', () => {
  let db: ProductDatabase;
  let tenant: TestTenant;
  let sealer: LogSealer;
  let seq: number;
  let sealing: pg.Client;
  let signing: pg.Client;

  before(async function () {
    this.timeout(60_000);
    db = await createProductDatabase({ periodSeconds: 1 });
    tenant = await db.createTenant({ genesisSigner: SIGNER });
    sealer = new LogSealer(db, tenant);
    sealing = await db.connect(db.urls.kiff_sealing);
    signing = await db.connect(db.urls.kiff_signing);
    await accept(await db.connect(tenant.url), tenant, ['a', 'b', 'c']);
    seq = await sealer.collect();
    await sealer.hash(seq);
  });
  after(async () => {
    await sealer.close();
    await db.drop();
  });

  /** As superuser, and so past every grant: only the trigger stands in the way. */
  const update = (set: string): Promise<unknown> =>
    db.sql(`UPDATE ${tenant.role}.seals SET ${set} WHERE seq = $1`, [seq]);

  it('a root, as soon as there is one; the same root again is no news', async () => {
    await assert.rejects(update(`root = ${ones(32)}`), { code: 'KF030' });
    await assert.rejects(update(`root = NULL, level = 'collected'`), { code: 'KF030' });
    const record = (root: Buffer): Promise<unknown> =>
      sealing.query(`SELECT ${tenant.role}.record_root($1, $2)`, [seq, root]);
    const [{ root }] = (await db.sql<{ root: Buffer }>(`SELECT root FROM ${tenant.role}.seals WHERE seq = $1`, [
      seq,
    ])) as [{ root: Buffer }];
    await record(root);
    await assert.rejects(record(Buffer.alloc(32)), { code: 'KF007' });
  });

  it('seq, period and size of a seal, from the cut on', async () => {
    for (const change of ['seq = 9999', 'period = period + 1', 'tree_size = tree_size + 1']) {
      await assert.rejects(update(change), { code: 'KF030' });
    }
  });

  it('a statement and its signature; a second signature over it is the same seal', async () => {
    await sealer.sign();
    for (const change of ['prev', 'seal_hash'])
      await assert.rejects(update(`${change} = ${ones(32)}`), { code: 'KF030' });
    await assert.rejects(update(`signature = ${ones(65)}`), { code: 'KF030' });
    await assert.rejects(update(`signer = ${ones(20)}`), { code: 'KF030' });
    await assert.rejects(update('epoch = 1'), { code: 'KF030' });
    const [row] = await db.sql<Record<string, unknown>>(`SELECT * FROM ${tenant.role}.seals WHERE seq = $1`, [seq]);
    const sign = (hash: unknown, signature: Buffer): Promise<unknown> =>
      signing.query(`SELECT ${tenant.role}.record_signature($1, $2, $3, 0, $4, $5, 'note')`, [
        seq,
        row!['prev'],
        hash,
        row!['signer'],
        signature,
      ]);
    await sign(row!['seal_hash'], Buffer.alloc(65, 1));
    await assert.rejects(sign(Buffer.alloc(32), Buffer.alloc(65, 1)), { code: 'KF006' });
    const [after] = await db.sql<Record<string, unknown>>(`SELECT * FROM ${tenant.role}.seals WHERE seq = $1`, [seq]);
    assert.deepEqual(after, row);
  });

  it('a level may rise and fall until it is final, never afterwards', async () => {
    await sealer.setLevel(seq, 'included');
    await sealer.setLevel(seq, 'sealed');
    await sealer.setLevel(seq, 'final');
    const level = async () =>
      (await db.sql<{ level: string }>(`SELECT level FROM ${tenant.role}.seals WHERE seq = $1`, [seq]))[0]!.level;
    await sealer.setLevel(seq, 'included'); // kiff.set_levels passes final seals over
    assert.equal(await level(), 'final');
    await assert.rejects(update(`level = 'safe'`), { code: 'KF030' });
    await assert.rejects(update(`tx_hash = ${ones(32)}`), { code: 'KF030' });
    await assert.rejects(update(`block_hash = ${ones(32)}`), { code: 'KF030' });
    const [log] = await db.sql('SELECT signed_seq, included_seq, final_seq FROM kiff.logs WHERE tenant = $1', [
      tenant.id,
    ]);
    assert.deepEqual(log, { signed_seq: seq, included_seq: seq, final_seq: seq });
  });

  it('a tile’s hashes: it grows at its end, and is not rewritten, shortened or removed', async () => {
    const put = (hashes: string): Promise<unknown> =>
      sealing.query(`UPDATE ${tenant.role}.tiles SET hashes = ${hashes} WHERE level = 0 AND index = 0`);
    await assert.rejects(put(`overlay(hashes PLACING '\\xff' FROM 5)`), { code: 'KF031' });
    await assert.rejects(put('substring(hashes FROM 1 FOR 64)'), { code: 'KF031' });
    await assert.rejects(put(`hashes || '\\x00'`), { code: '23514' });
    await assert.rejects(sealing.query(`DELETE FROM ${tenant.role}.tiles`), { code: '42501' });
    await assert.rejects(sealing.query(`UPDATE ${tenant.role}.tiles SET index = 1`), { code: '42501' });
    await put(`hashes || ${ones(32)}`); // control
  });

  it('a log’s identity', async () => {
    const open = (origin: string, signer: Buffer): Promise<unknown> =>
      sealing.query('SELECT kiff.open_log($1, $2, $3, $4)', [
        tenant.id,
        origin,
        signer,
        Buffer.from(tenant.logId.slice(2), 'hex'),
      ]);
    const signer = Buffer.from(tenant.genesisSigner.slice(2), 'hex');
    await open(tenant.origin, signer);
    await assert.rejects(open(tenant.origin, Buffer.alloc(20)), { code: 'KF010' });
    await assert.rejects(open('kiff.test/t/other', signer), { code: 'KF010' });
    const again = await sealing.query<{ period: number }>('SELECT kiff.activate_tenant($1) AS period', [tenant.id]);
    assert.equal(again.rows[0]!.period, tenant.firstPeriod);
  });
});
