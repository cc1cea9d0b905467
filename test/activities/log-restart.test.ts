/** Row F7 of the fault table: the database crashes during a seal. Cut and root come out as if it had not. */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { createPool } from '../../activities/database.ts';
import { createLogActivities } from '../../activities/log/create.ts';
import { hashLeaf } from '../../protocol/hash.ts';
import { toHex } from '../../protocol/hex.ts';
import { tenantSchema } from '../../sql/login.ts';
import { durableCluster, type TestCluster } from '../durable-cluster.ts';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { ReferenceTree } from '../protocol/reference-tree.ts';
import { accept, databaseTime } from '../sql/batch.ts';
import { failsAs } from './plane.ts';

const P = 1;
/** More than one chunk of leaves (8,192, hash.ts), so that there is a middle. */
const RECORDS = 9_000;

describe('a seal while the database crashes (F7)', function () {
  this.timeout(60_000);
  let cluster: TestCluster;
  let db: ProductDatabase;
  let tenant: TestTenant;
  let pool: pg.Pool;
  let log: ReturnType<typeof createLogActivities>;
  const reached: number[] = [];

  before(async () => {
    cluster = await durableCluster();
    db = await createProductDatabase({ superuserUrl: cluster.superuserUrl, periodSeconds: P });
    pool = createPool(db.urls.kiff_sealing, 4);
    log = createLogActivities({
      pool,
      host: db.host,
      alert: (name) => assert.fail(`alert: ${name}`),
      heartbeat: (treeSize) => reached.push(treeSize),
    });
    tenant = await db.createTenant();
    const writer = await db.connect(tenant.url);
    for (let from = 0; from < RECORDS; from += 1_000) {
      await accept(
        writer,
        tenant,
        Array.from({ length: 1_000 }, (_, at) => `r${from + at}`),
      );
    }
  });
  after(async () => {
    await pool.end();
    await cluster.remove();
  });

  async function query<Row extends pg.QueryResultRow>(text: string): Promise<Row[]> {
    const client = await db.connect(db.superuserUrl);
    const { rows } = await client.query<Row>(text.replaceAll('{schema}', tenantSchema(tenant.id)));
    await client.end();
    return rows;
  }
  const seals = () => query<{ seq: number; tree_size: number; root: Buffer | null }>('SELECT * FROM {schema}.seals');
  const ranges = () => query('SELECT seq, period, tree_size FROM {schema}.seals ORDER BY seq');

  it('between cut and hash, and in the middle of hashing: the same ranges, and the root of all records', async () => {
    const observer = await db.connect(db.superuserUrl);
    const period = Math.floor((await databaseTime(observer)) / P) * P;
    while ((await databaseTime(observer)) < period + P) await delay(10);
    const cut = await log.collect({ tenantId: tenant.id, period });
    assert.equal(cut?.treeSize, RECORDS);
    const before = await ranges();

    await cluster.restart({ mode: 'immediate' });
    assert.deepEqual(await ranges(), before);
    assert.deepEqual(await log.collect({ tenantId: tenant.id, period }), cut);

    // The tile of leaf 8,192 is being written by somebody else, so hashing stops there, with what came before it stored.
    const blocker = await db.connect(db.superuserUrl);
    await blocker.query('BEGIN');
    await blocker.query(`INSERT INTO ${tenantSchema(tenant.id)}.tiles VALUES (0, 32, sha256('in the way'))`);
    const hashing = assert.rejects(
      log.hashSeals({ tenantId: tenant.id, throughSeq: cut.seq }),
      failsAs('database-unavailable'),
    );
    while (
      (await query(`SELECT FROM pg_stat_activity WHERE usename = 'kiff_sealing' AND wait_event_type = 'Lock'`))
        .length === 0
    );
    await cluster.restart({ mode: 'immediate' });
    await hashing;
    const stored = reached.at(-1) ?? 0;
    assert.ok(stored > 0 && stored <= 8_192, 'control: a part is hashed');
    assert.equal((await seals()).find((seal) => seal.seq === cut.seq)!.root, null, 'control: it was in the middle');
    const tiles = await query('SELECT FROM {schema}.tiles WHERE level = 0');
    assert.equal(tiles.length, Math.ceil(stored / 256), 'a part is stored, whole');

    // What Temporal would do: the same activities again.
    assert.deepEqual(await log.collect({ tenantId: tenant.id, period }), cut);
    await log.hashSeals({ tenantId: tenant.id, throughSeq: cut.seq });
    assert.deepEqual(await ranges(), before);
    const entries = await query<{ entry: Buffer }>('SELECT entry FROM {schema}.records ORDER BY leaf_index');
    const tree = new ReferenceTree(entries.map(({ entry }) => hashLeaf(entry)));
    for (const seal of await seals()) assert.equal(toHex(seal.root!), toHex(tree.root(seal.tree_size)));
  });
});
