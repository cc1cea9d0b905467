/** Merkle-hash: every leaf is read and hashed again, and what does not fit is named before anything is signed. */
import assert from 'node:assert/strict';
import { hashLeaf } from '../../protocol/hash.ts';
import { toHex } from '../../protocol/hex.ts';
import { ReferenceTree } from '../protocol/reference-tree.ts';
import type { TestTenant } from '../product-database.ts';
import { createPlane, failsAs, type Plane } from './plane.ts';

describe('hashing a period', function () {
  this.timeout(60_000);
  let plane: Plane;

  before(async () => {
    plane = await createPlane();
  });
  after(() => plane.stop());
  beforeEach(() => plane.alerts());

  const hash = (tenant: TestTenant, throughSeq: number) => plane.log.hashSeals({ tenantId: tenant.id, throughSeq });

  async function collected(records: number): Promise<{ tenant: TestTenant; seq: number }> {
    const tenant = await plane.tenant();
    await plane.post(tenant, records);
    return { tenant, seq: await plane.collect(tenant) };
  }

  it('gives the root of all entries, and the same again', async () => {
    const { tenant, seq } = await collected(300);
    await hash(tenant, seq);
    await hash(tenant, seq);
    const entries = await plane.database.sql<{ entry: Buffer }>(
      `SELECT entry FROM kiff_t_${tenant.id}.records ORDER BY leaf_index`,
    );
    const [seal] = await plane.database.sql<{ root: Buffer; tree_size: number }>(
      `SELECT root, tree_size FROM kiff_t_${tenant.id}.seals WHERE seq = $1`,
      [seq],
    );
    assert.equal(seal?.tree_size, 300);
    assert.equal(toHex(seal.root), toHex(new ReferenceTree(entries.map(({ entry }) => hashLeaf(entry))).root(300)));
  });

  it('two at once write one tree', async () => {
    const { tenant, seq } = await collected(600);
    await Promise.all([hash(tenant, seq), hash(tenant, seq), hash(tenant, seq)]);
    const rows = await plane.database.sql(`SELECT FROM kiff_t_${tenant.id}.seals WHERE level = 'hashed'`);
    assert.equal(rows.length, seq);
  });

  const damage = async (tenant: TestTenant, sql: string) => {
    await plane.database.sql(`ALTER TABLE kiff_t_${tenant.id}.records DROP CONSTRAINT leaf_hash_of_entry`);
    await plane.database.sql(sql);
  };

  it('names the index of an altered entry', async () => {
    const { tenant, seq } = await collected(5);
    await damage(tenant, `UPDATE kiff_t_${tenant.id}.records SET entry = entry || ' ' WHERE leaf_index = 3`);
    await assert.rejects(hash(tenant, seq), (error: { type?: string; details?: unknown[] }) => {
      assert.equal(error.type, 'record-altered');
      assert.deepEqual(error.details, [{ index: 3 }]);
      return true;
    });
    assert.deepEqual(
      plane.alerts().map((alert) => alert.name),
      ['record-altered'],
    );
    const rows = await plane.database.sql(
      `SELECT FROM kiff_t_${tenant.id}.seals WHERE root IS NOT NULL AND tree_size > 0`,
    );
    assert.equal(rows.length, 0);
  });

  it('names the index of a missing record', async () => {
    const { tenant, seq } = await collected(5);
    await damage(tenant, `DELETE FROM kiff_t_${tenant.id}.records WHERE leaf_index = 2`);
    await assert.rejects(hash(tenant, seq), (error: { type?: string; details?: unknown[] }) => {
      assert.equal(error.type, 'record-missing');
      assert.deepEqual(error.details, [{ index: 2 }]);
      return true;
    });
  });

  it('does not build on tiles that no longer give the root that was sealed', async () => {
    const { tenant, seq } = await collected(5);
    await hash(tenant, seq);
    await plane.database.sql(`ALTER TABLE kiff_t_${tenant.id}.tiles DISABLE TRIGGER ALL`);
    await plane.database.sql(
      `UPDATE kiff_t_${tenant.id}.tiles SET hashes = set_byte(hashes, 40, (get_byte(hashes, 40) + 1) % 256)`,
    );
    await plane.post(tenant, 1);
    await assert.rejects(hash(tenant, await plane.collect(tenant)), failsAs('tile-altered'));
  });

  it('goes on where an earlier attempt stopped, and the signer finds what was altered behind it', async () => {
    const tenant = await plane.tenant();
    for (let posted = 0; posted < 9_000; posted += 1_000) await plane.post(tenant, 1_000);
    const seq = await plane.collect(tenant);
    const records = `kiff_t_${tenant.id}.records`;
    await damage(
      tenant,
      `CREATE TABLE public.kept AS SELECT * FROM ${records} WHERE leaf_index = 8500;
       DELETE FROM ${records} WHERE leaf_index = 8500`,
    );
    await assert.rejects(hash(tenant, seq), failsAs('record-missing'));
    await plane.database.sql(`INSERT INTO ${records} SELECT * FROM public.kept; DROP TABLE public.kept`);
    await plane.unfreeze(tenant);

    const [altered] = await plane.database.sql<{ entry: Buffer }>(
      `UPDATE ${records} r SET entry = o.entry, leaf_hash = sha256('\\x00'::bytea || o.entry)
         FROM (SELECT convert_to(replace(convert_from(entry, 'UTF8'), '"key":"k', '"key":"x'), 'UTF8') AS entry
                 FROM ${records} WHERE leaf_index = 5) o
        WHERE leaf_index = 5 RETURNING r.entry`,
    );
    assert.match(altered!.entry.toString(), /"key":"x/, 'control: it is another entry, with its own hash');
    await hash(tenant, seq);
    const seqs = Array.from({ length: seq }, (_, index) => index + 1);
    await assert.rejects(plane.signing.signSeals({ tenantId: tenant.id, seqs }), (error: { details?: unknown[] }) => {
      assert.deepEqual(error.details, [{ level: 0, index: 0 }]);
      return failsAs('tile-altered')(error);
    });
    const signed = await plane.database.sql(
      `SELECT FROM kiff_t_${tenant.id}.seals WHERE signature IS NOT NULL AND tree_size > 5`,
    );
    assert.equal(signed.length, 0);
  });
});
