/**
 * The end of a log, end to end: a record was altered (F33), the log is frozen, an operator ends it, and the tenant's next log
 * begins. Receipts of both logs verify, and are shown apart by the operator's signed statement.
 */
import assert from 'node:assert/strict';
import { createHttpRpc } from '../../cli/rpc.ts';
import { OPERATOR_ALIAS, ed25519PublicKey } from '../../activities/kms/keys.ts';
import { endLog, NotFrozen } from '../../sql/archive.ts';
import { toHex } from '../../protocol/hex.ts';
import {
  parseEnd,
  parsePolicy,
  verifyEnd,
  verifyEndText,
  verifyReceiptText,
  type Policy,
} from '../../protocol/index.ts';
import { recordText, startIngestApi, type IngestApi } from '../api/ingest-api.ts';
import type { TestTenant } from '../product-database.ts';
import { createPlane, failsAs, type Plane } from './plane.ts';
import { recoveryPlane, type RecoveryPlane } from './recovery-plane.ts';

describe('the end of a log', function () {
  this.timeout(120_000);
  let plane: Plane;
  let operator: RecoveryPlane;
  let api: IngestApi;
  let tenant: TestTenant;
  let note: string;
  let policy: Policy;
  let time = Date.now();
  const schema = () => `kiff_t_${tenant.id}`;
  const origin = () => tenant.origin;

  before(async () => {
    plane = await createPlane();
    operator = await recoveryPlane(plane);
    api = await startIngestApi(plane.database, { now: () => time });
    tenant = await plane.tenant();
  });
  after(async () => {
    await api.stop();
    await operator.close();
    await plane.stop();
  });

  const post = async (...ids: string[]) => {
    for (const id of ids) {
      const { status, json } = await api.post(tenant.apiKey, recordText(id));
      assert.equal(status, 201, JSON.stringify(json));
    }
  };
  async function seal(): Promise<number> {
    const throughSeq = await plane.collect(tenant);
    await plane.log.hashSeals({ tenantId: tenant.id, throughSeq });
    const seqs = await plane.log.unsignedSeals({ tenantId: tenant.id, throughSeq });
    await plane.signing.signSeals({ tenantId: tenant.id, seqs });
    await plane.anchorAll();
    return throughSeq;
  }
  const receiptOf = async (id: string, log?: number): Promise<string> => {
    const { status, text } = await api.get(
      `/v1/records/${id}/receipt${log === undefined ? '' : `?log=${log}`}`,
      tenant.apiKey,
    );
    assert.equal(status, 200, text);
    return text;
  };
  const rpc = () => createHttpRpc(new URL(operator.rpcUrl));

  it('does not come by itself: an altered record freezes the log, and neither resuming nor ending goes without cause', async () => {
    await post('first', 'second');
    await seal();
    const fine = await operator.recovery().compare(origin());
    assert.deepEqual([fine.open, fine.logs[0]!.differences], [{ product: true, journal: true }, []], 'control');
    await assert.rejects(operator.recovery().end(origin(), null), /not frozen: say --reason/);
    await assert.rejects(operator.recovery().resume(origin()), /is not frozen/);

    await post('third', 'altered', 'fifth', 'sixth');
    await plane.database.sql(`ALTER TABLE ${schema()}.records DROP CONSTRAINT leaf_hash_of_entry`);
    await plane.database.sql(
      `UPDATE ${schema()}.records SET entry = convert_to(replace(convert_from(entry, 'UTF8'), 'altered', 'changed'), 'UTF8')
        WHERE leaf_index = 3`,
    );
    await plane.database.sql(`DELETE FROM ${schema()}.bodies WHERE leaf_index = 4`);
    await assert.rejects(seal(), failsAs('record-altered'));

    const { logs } = await operator.recovery().compare(origin());
    assert.deepEqual(logs[0]!.differences, [{ reason: 'record-altered', facts: { index: 3 } }]);
    assert.equal(logs[0]!.log.frozenReason, 'record-altered');
    await assert.rejects(operator.recovery().resume(origin()), /still differs/);
  });

  it('is stated by the signer only if an operator has ordered it, and only with the last good seal', async () => {
    const ordinal = 1;
    await assert.rejects(operator.ends.signEnd({ tenantId: tenant.id, ordinal }), failsAs('end-not-ordered'));
    const journal = await plane.database.connect(plane.database.urls.kiff_journal_recovery);
    const id = Buffer.from(tenant.logId.slice(2), 'hex');
    const { logs } = await operator.recovery().compare(origin());
    const { seq, block } = logs[0]!.lastGood;
    const order = (lastSeq: number, lastBlock: number) =>
      journal.query('INSERT INTO journal.end_orders (log_id, reason, last_seq, last_block) VALUES ($1, $2, $3, $4)', [
        id,
        'record-altered',
        lastSeq,
        lastBlock,
      ]);
    for (const [lastSeq, lastBlock] of [
      [0, 0],
      [0, block + 1],
      [seq + 1, block],
      [seq, block + 1],
    ] as const) {
      await order(lastSeq, lastBlock);
      await assert.rejects(operator.ends.signEnd({ tenantId: tenant.id, ordinal }), failsAs('end-not-ordered'));
    }
    // Nobody but the operator's login orders; and what it may write of an end is nothing without an order.
    for (const login of ['kiff_journal'] as const) {
      const signer = await plane.database.connect(plane.database.urls[login]);
      await assert.rejects(
        signer.query(`INSERT INTO journal.end_orders (log_id, reason, last_seq, last_block) VALUES ($1, 'x-y', 0, 0)`, [
          id,
        ]),
        { code: '42501' },
      );
      await assert.rejects(
        signer.query(
          `INSERT INTO journal.ends (log_id, seq, seal_hash, tree_size, root, reason, successor)
           VALUES ($1, 0, $2, 0, sha256(''), 'chain-ahead', 'x')`,
          [id, Buffer.alloc(32)],
        ),
        { code: 'KF044' },
      );
      await signer.end();
    }
    await journal.end();
  });

  it('waits until every API process knows that the log is frozen', async () => {
    const client = await plane.database.connect(plane.database.urls.kiff_recovery);
    const bytes = Buffer.alloc(32);
    const end = {
      tenantId: tenant.id,
      ordinal: 1,
      last: { seq: 0, sealHash: bytes, treeSize: 0, root: bytes },
      reason: 'record-altered',
      statement: '',
      successor: { origin: 'x', genesisSigner: Buffer.alloc(20), logId: bytes },
      firstRecord: { id: 'x', body: bytes, recordOffset: 1, salt: bytes, commitment: bytes },
      finalSeals: [],
      carryFrom: 0,
    };
    await plane.database.sql('UPDATE kiff.logs SET frozen_at = clock_timestamp() WHERE tenant = $1', [tenant.id]);
    await assert.rejects(endLog(client, end), NotFrozen);
    await client.end();
    await operator.freeze(tenant, 'record-altered'); // and moved back: an operator would wait ten seconds
  });

  it('names the last good seal, the reason and the next log; what no seal covers goes over, or is named', async () => {
    const last = (await operator.recovery().compare(origin())).logs[0]!.lastGood;
    const ended = await operator.recovery().end(origin(), null);
    note = ended.note;
    const publicKey = await ed25519PublicKey(plane.kmsAs('signer'), OPERATOR_ALIAS);
    const statement = verifyEnd(note, publicKey);
    assert.deepEqual(statement, {
      origin: origin(),
      logId: tenant.logId,
      last: {
        seq: last.seq,
        sealHash: last.statement!.sealHash,
        treeSize: 2,
        root: last.statement!.seal.root,
      },
      reason: 'record-altered',
      successor: `${origin()}/2`,
    });
    assert.deepEqual(ended.carried, {
      from: 2,
      to: 6,
      carried: 2,
      altered: [[3, 3]],
      missing: [],
      erased: [[4, 4]],
      refused: [],
    });
    await assert.rejects(operator.recovery().end(origin(), 'record-altered'), /has ended already/);
    const [usage] = await plane.database.sql<{ records: number }>(
      `SELECT (hour_records + (SELECT coalesce(sum(u.records), 0) FROM kiff.usage u WHERE u.tenant = $1))::bigint AS records
         FROM ${schema()}.log_head`,
      [tenant.id],
    );
    assert.equal(usage!.records, 6, 'what went over was used once');
    await assert.rejects(plane.database.sql('UPDATE kiff.ended_logs SET reason = reason'), { code: 'KF070' });
  });

  it('the next log begins with a record of ours that names the old log, and takes records at once', async () => {
    time += 5_000;
    const rows = await plane.database.sql<{ entry: Buffer; body: Buffer }>(
      `SELECT r.entry, b.body FROM ${schema()}.records r JOIN ${schema()}.bodies b USING (leaf_index) ORDER BY leaf_index`,
    );
    assert.equal(rows.length, 3);
    const first = JSON.parse(rows[0]!.entry.toString()) as { key: string };
    assert.equal(first.key, 'kiff');
    const { record } = JSON.parse(rows[0]!.body.toString()) as { record: { data: Record<string, unknown> } };
    assert.deepEqual(parseEnd(record.data['statement'] as string), parseEnd(note));
    assert.deepEqual([record.data['origin'], record.data['seq']], [origin(), parseEnd(note).last.seq]);

    const { status, json } = await api.post(tenant.apiKey, recordText('new'));
    assert.deepEqual([status, json.leafIndex, json.promise.origin], [201, 3, `${origin()}/2`]);
    const again = await api.post(tenant.apiKey, recordText('third'));
    assert.deepEqual([again.status, again.json.status, again.json.promise.origin], [200, 'duplicate', `${origin()}/2`]);
  });

  it('is sealed, anchored and final like any other', async () => {
    await plane.anchorAll(); // the wallet finds a log that the contract does not know, and registers it
    const seq = await seal();
    assert.equal(await plane.level(tenant, seq), 'final');
    const { logs, open } = await operator.recovery().compare(`${origin()}/2`);
    assert.deepEqual([open, logs[0]!.differences, logs[0]!.chain.seq], [{ product: true, journal: true }, [], seq]);
  });

  it('receipts of both logs verify, and are shown to be apart', async () => {
    const answer = await api.get('/v1/logs', tenant.apiKey);
    assert.deepEqual(
      answer.json.logs.map((log: { log: number; end: string | null }) => [log.log, log.end]),
      [
        [2, null],
        [1, note],
      ],
    );
    const publicKey = await ed25519PublicKey(plane.kmsAs('signer'), OPERATOR_ALIAS);
    const code = await plane.chain.getCode({ address: plane.registry.address });
    assert.ok(code);
    policy = parsePolicy({
      format: 'kiff.policy/1',
      registry: {
        chainId: plane.database.chainId,
        contract: plane.registry.address,
        codeHash: plane.registry.codeHash,
        fromBlock: plane.registry.fromBlock,
        periodSeconds: plane.database.periodSeconds,
      },
      logs: answer.json.logs.map((log: { origin: string; genesisSigner: string }) => ({
        origin: log.origin,
        genesisSigner: log.genesisSigner,
        checkpointKeys: [publicKey],
      })),
      require: [],
    });
    const [old, carried, fresh] = [await receiptOf('first'), await receiptOf('third'), await receiptOf('new')];
    assert.equal(await receiptOf('first', 1), old);
    assert.equal((await api.get('/v1/records/first?log=2', tenant.apiKey)).status, 404);
    for (const receipt of [old, carried, fresh]) {
      const { ok, checks } = await verifyReceiptText(receipt, policy, { rpc: rpc() });
      assert.ok(ok, JSON.stringify(checks));
    }
    const report = await verifyEndText(note, policy, { receipts: [old, fresh], rpc: rpc() });
    assert.ok(report.ok, JSON.stringify(report.checks));
    const apart = report.checks.find(({ name }) => name === 'discontinuity');
    assert.equal(apart?.status, 'held');
    assert.match(apart.detail, /DISCONTINUITY.* ended after seal \d+ \(record-altered\).* does not continue it/);
    assert.ok(report.notProved.some((sentence) => sentence.includes(`${origin()}/2 continues`)));
    const one = await verifyEndText(note, policy, { receipts: [fresh, carried], rpc: rpc() });
    assert.equal(one.checks.find(({ name }) => name === 'discontinuity')?.status, 'waived', 'control: one log only');
  });

  it('nothing is ever signed for the old log again, and nobody writes its archive', async () => {
    const journal = await plane.database.connect(plane.database.urls.kiff_journal);
    const id = Buffer.from(tenant.logId.slice(2), 'hex');
    const { seq, treeSize, root, sealHash } = parseEnd(note).last;
    const { rows } = await journal.query<{ period: number }>(
      'SELECT period FROM journal.statements WHERE log_id = $1 AND seq = $2',
      [id, seq],
    );
    const next = [
      id,
      seq + 1,
      rows[0]!.period + 1,
      treeSize,
      Buffer.from(root.slice(2), 'hex'),
      Buffer.from(sealHash.slice(2), 'hex'),
    ];
    await assert.rejects(
      journal.query(
        `INSERT INTO journal.statements (log_id, epoch, seq, period, tree_size, root, prev, seal_hash)
         VALUES ($1, 0, $2, $3, $4, $5, $6, sha256('x'))`,
        next,
      ),
      { code: 'KF042' },
    );
    // A log after the next one: the journal knows no end that would let it begin.
    await assert.rejects(
      journal.query(
        `INSERT INTO journal.logs (log_id, tenant, ordinal, origin, genesis_signer, chain_id, contract, period_seconds)
         VALUES (sha256('3'), $1, 3, $2, $3, $4, $5, 1)`,
        [
          tenant.id,
          `${origin()}/3`,
          Buffer.alloc(20, 1),
          plane.database.chainId,
          Buffer.from(plane.registry.address.slice(2), 'hex'),
        ],
      ),
      { code: 'KF043' },
    );
    await journal.end();

    const archive = `kiff_ended_${tenant.id}_1`;
    const granted = await plane.database.sql<{ grantee: string; privilege: string }>(
      `SELECT DISTINCT pg_get_userbyid(a.grantee)::text AS grantee, a.privilege_type AS privilege
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) a
        WHERE n.nspname = $1 AND a.grantee <> c.relowner`,
      [archive],
    );
    assert.deepEqual(granted, [{ grantee: tenant.role, privilege: 'SELECT' }]);
    const functions = await plane.database.sql(
      `SELECT proname FROM pg_proc WHERE pronamespace = $1::regnamespace AND prorettype <> 'trigger'::regtype`,
      [archive],
    );
    assert.deepEqual(functions, []);
    const sealing = await plane.database.connect(plane.database.urls.kiff_sealing);
    await assert.rejects(sealing.query(`SELECT FROM ${archive}.records`), { code: '42501' });
    await sealing.end();
    assert.equal(toHex(id), tenant.logId);
  });
});
