import assert from 'node:assert/strict';
import { parseCheckpoint } from '../../protocol/note.ts';
import { verifyReceipt } from '../../protocol/verify.ts';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { recordText, startIngestApi, type IngestApi } from './ingest-api.ts';
import { LogSealer, SIGNER } from './seal-log.ts';

/** All checks but those that ask the chain. */
const verify = async (receipt: unknown) => {
  const { checks } = await verifyReceipt(receipt, null, { trustReceipt: true, offline: true });
  return checks.filter(({ status }) => status !== 'held' && status !== 'waived').map(({ name }) => name);
};

describe('receipts and seals', () => {
  let db: ProductDatabase;
  let api: IngestApi;
  let tenant: TestTenant;
  let sealer: LogSealer;
  let firstSeq: number;

  const receiptOf = (id: string) => api.get(`/v1/records/${id}/receipt`, tenant.apiKey);
  const levelOf = async (id: string): Promise<string> => (await api.get(`/v1/records/${id}`, tenant.apiKey)).json.level;

  const exotic = recordText('exotic').slice(0, -1).concat(',"big":123456789012345678901,"huge":1e400,"zero":-0}');

  before(async function () {
    this.timeout(60_000);
    db = await createProductDatabase({ periodSeconds: 1 });
    api = await startIngestApi(db);
    tenant = await db.createTenant({ genesisSigner: SIGNER });
    sealer = new LogSealer(db, tenant);
    const lines = Array.from({ length: 600 }, (_, at) => recordText(`r-${at}`));
    assert.equal((await api.postLines(tenant.apiKey, [exotic, ...lines].join('\n'))).status, 200);
    firstSeq = await sealer.collect();
  });
  after(async () => {
    await sealer.close();
    await api.stop();
    await db.drop();
  });

  it('the level rises with the seal, and there is no receipt before `included`', async () => {
    const { sealBy } = (await api.get('/v1/records/exotic', tenant.apiKey)).json;
    const pending = async (level: string): Promise<void> => {
      assert.equal(await levelOf('exotic'), level);
      const { status, json } = await receiptOf('exotic');
      assert.deepEqual([status, json], [202, { id: 'exotic', level, sealBy }]);
    };
    await pending('accepted');
    await sealer.hash(firstSeq);
    await pending('accepted');
    await sealer.sign();
    await pending('sealed');
    for (const level of ['included', 'safe', 'included'] as const) {
      await sealer.setLevel(firstSeq, level);
      assert.equal(await levelOf('exotic'), level);
      assert.equal((await receiptOf('exotic')).json.anchor.level, level);
    }
    await sealer.setLevel(firstSeq, 'sealed'); // a reorg
    await pending('sealed');
    await sealer.setLevel(firstSeq, 'final');
    assert.equal(await levelOf('exotic'), 'final');
  });

  it('every record’s receipt verifies, with the record byte for byte (B12)', async () => {
    for (const id of ['exotic', 'r-0', 'r-254', 'r-255', 'r-256', 'r-599']) {
      const { status, json } = await receiptOf(id);
      assert.equal(status, 200);
      assert.deepEqual(await verify(json), []);
    }
    const { json } = await receiptOf('exotic');
    assert.equal(json.disclosure.body, `{"attribution":null,"record":${exotic}}`);
    assert.deepEqual(json.registry, { chainId: db.chainId, contract: db.contract });
    assert.deepEqual([json.origin, json.genesisSigner, json.handovers], [tenant.origin, SIGNER, []]);
    assert.deepEqual(parseCheckpoint(json.checkpoint).size, json.seal.treeSize);
    assert.deepEqual(json.anchor, {
      txHash: `0x${'aa'.repeat(32)}`,
      blockNumber: 1_000 + json.seal.seq,
      blockHash: `0x${'bb'.repeat(32)}`,
      logIndex: json.seal.seq,
      level: 'final',
    });
    assert.ok((await verify({ ...json, leafIndex: json.leafIndex + 1 })).includes('inclusion'), 'control');
  });

  it('are made against the first seal that covers the leaf, also when the log has grown since', async () => {
    const before = (await receiptOf('r-300')).json;
    await api.postLines(tenant.apiKey, Array.from({ length: 300 }, (_, at) => recordText(`s-${at}`)).join('\n'));
    const seq = await sealer.collect();
    await sealer.hash(seq);
    await sealer.sign();
    await sealer.setLevel(seq, 'included');

    assert.deepEqual((await receiptOf('r-300')).json, before);
    const later = (await receiptOf('s-0')).json;
    assert.deepEqual(await verify(later), []);
    const covering = await db.sql<{ seq: number }>(
      `SELECT min(seq) AS seq FROM ${tenant.role}.seals WHERE tree_size > $1`,
      [later.leafIndex],
    );
    assert.equal(later.seal.seq, covering[0]!.seq);
    assert.equal(before.seal.seq < later.seal.seq, true);
  });

  it('a duplicate says how far its record really is', async () => {
    const one = await api.post(tenant.apiKey, recordText('r-1'));
    assert.deepEqual([one.status, one.json.status, one.json.level], [200, 'duplicate', 'final']);
    const lines = await api.postLines(
      tenant.apiKey,
      [recordText('s-1'), recordText('r-2'), recordText('new')].join('\n'),
    );
    assert.deepEqual(
      lines.json.map((item: { level: string }) => item.level),
      ['included', 'final', 'accepted'],
    );
  });

  it('of an erased record withhold the disclosure and still prove the leaf', async () => {
    await db.sql(
      `DELETE FROM ${tenant.role}.bodies b USING ${tenant.role}.records r WHERE r.leaf_index = b.leaf_index AND r.id = 'r-7'`,
    );
    const { status, json } = await receiptOf('r-7');
    assert.deepEqual([status, json.disclosure], [200, null]);
    assert.ok(!(await verify(json)).includes('inclusion'));
    assert.equal((await api.get('/v1/records/r-7', tenant.apiKey)).json.record, null);
  });

  it('seals are listed page by page and found by seq', async () => {
    const all = (await api.get('/v1/seals', tenant.apiKey)).json;
    assert.equal(all.next, null);
    assert.deepEqual(
      all.seals.map(({ seq }: { seq: number }) => seq),
      all.seals.map((_: unknown, at: number) => at + 1),
    );
    const paged: unknown[] = [];
    for (let after: number | null = 0; after !== null;) {
      const { json } = await api.get(`/v1/seals?limit=1&after=${after}`, tenant.apiKey);
      paged.push(...json.seals);
      after = json.next;
    }
    assert.deepEqual(paged, all.seals);

    const { json: receipt } = await receiptOf('exotic');
    const { json: seal } = await api.get(`/v1/seals/${receipt.seal.seq}`, tenant.apiKey);
    const { level, sealHash, checkpoint, anchor, registry, sealInput, ...statement } = seal;
    assert.deepEqual(registry, receipt.registry);
    const { logId, seq, period, treeSize, root, signature } = receipt.seal;
    assert.deepEqual(sealInput, { logId, seq, period, treeSize, root, signature }, 'what the contract takes');
    assert.deepEqual(statement, receipt.seal);
    assert.deepEqual({ ...anchor, level }, receipt.anchor);
    assert.equal(checkpoint, receipt.checkpoint);
    assert.equal(all.seals[seal.seq].prev, sealHash);
  });

  it('a damaged log hands out nothing: 500 log-damaged, and an error in the log', async () => {
    const schema = tenant.role;
    const [tile] = await db.sql<{ hashes: Buffer }>(`SELECT hashes FROM ${schema}.tiles WHERE level = 0 AND index = 1`);
    const put = async (hashes: Buffer): Promise<void> => {
      await db.sql(`ALTER TABLE ${schema}.tiles DISABLE TRIGGER ALL`);
      await db.sql(`DELETE FROM ${schema}.tiles WHERE level = 0 AND index = 1`);
      if (hashes.length > 0) await db.sql(`INSERT INTO ${schema}.tiles VALUES (0, 1, $1)`, [hashes]);
      await db.sql(`ALTER TABLE ${schema}.tiles ENABLE TRIGGER ALL`);
    };
    const altered = Buffer.from(tile!.hashes);
    altered[40]! ^= 1;
    for (const hashes of [altered, tile!.hashes.subarray(0, 32), Buffer.alloc(0)]) {
      await put(hashes);
      const { status, json } = await receiptOf('r-260');
      assert.deepEqual([status, json.type], [500, 'https://kiff.dev/problems/log-damaged']);
    }
    assert.match(api.logged(), /"problem":"log-damaged"/);
    await put(tile!.hashes);
    assert.deepEqual(await verify((await receiptOf('r-260')).json), []);
  });
});
