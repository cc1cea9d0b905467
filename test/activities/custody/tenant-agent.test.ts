/**
 * A log passes to the tenant's own signer, which fetches its work over HTTP and is never called, and comes back to a fresh key of ours:
 * with the real activities of signer and wallet, and the real ingest API.
 */
import assert from 'node:assert/strict';
import { createWalletClient, http } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { createCustodyKeyActivities } from '../../../activities/keyadmin/custody.ts';
import { createPool } from '../../../activities/database.ts';
import { LOCAL_ROLES } from '../../../dev/kms-roles.ts';
import { registryAbi } from '../../../contracts/registry.ts';
import { toHex, type Hex } from '../../../protocol/hex.ts';
import { sealDigest } from '../../../protocol/seal.ts';
import { startIngestApi, type IngestApi } from '../../api/ingest-api.ts';
import { createOwnSigner, type OwnSigner, type SigningRequest } from '../../custody/own-signer.ts';
import type { TestTenant } from '../../product-database.ts';
import { anvil } from '../../parts.ts';
import { createPlane, failsAs, type Plane } from '../plane.ts';
import { recoveryPlane } from '../recovery-plane.ts';
import type { Admin } from '../../custody/admins.ts';
import { createSteps, type Steps } from './steps.ts';

/** Anvil's second account: anybody with some money. */
const STRANGER = privateKeyToAccount('0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d');

/** Of secp256k1's group (SEC 2, section 2.4.1). */
const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;

describe('custody: a log passes to the tenant’s own signer, and back', function () {
  this.timeout(120_000);
  let plane: Plane;
  let steps: Steps;
  let api: IngestApi;
  let of: { tenant: TestTenant; people: Admin[] };
  let tenant: TestTenant;
  let own: OwnSigner;

  before(async () => {
    plane = await createPlane({ coolingOffSeconds: 1 });
    api = await startIngestApi(plane.database, { contract: plane.registry.address });
    steps = createSteps(plane);
    of = await steps.tenant();
    tenant = of.tenant;
    const { key } = await plane.database.createKey(tenant, { scopes: ['signer'] });
    own = createOwnSigner(api.url, key);
  });
  after(async () => {
    await own.leave();
    await api.stop();
    await plane.stop();
  });

  /** As if its signer had not looked for work for a minute. */
  const longAway = ({ id }: TestTenant) =>
    plane.database.sql(`UPDATE kiff.signers_seen SET seen_at = seen_at - interval '1 minute' WHERE tenant = $1`, [id]);

  const registry = () => ({ chainId: plane.database.chainId, contract: plane.registry.address });

  /** A try to sign while it is away, from its own point of view and ours. */
  async function refusesAs(type: string): Promise<void> {
    await longAway(tenant);
    await assert.rejects(plane.sign(tenant), failsAs(type));
  }

  /** How far the tenant's signer is behind, as the tenant reads it. */
  async function lagOf({ apiKey }: TestTenant): Promise<Record<string, unknown> | null> {
    return (await api.get('/v1/logs', apiKey)).json.logs[0].ownSigner;
  }

  /** The newest seq whose checkpoint is published. */
  async function published(): Promise<number> {
    const [row] = await plane.database.sql<{ seq: number }>(
      `SELECT max(seq) AS seq FROM kiff_t_${tenant.id}.seals WHERE checkpoint IS NOT NULL`,
    );
    return row!.seq;
  }

  it('it proves that it is there, signs on trial, and takes the log over; then its seals are the log’s', async () => {
    own.come();
    const migration = await steps.begin(of, { custody: 3, signer: own.address });
    assert.equal(migration.newSigner, own.address);
    await steps.prove(migration);
    assert.equal((await steps.custody.snapshotKey(migration.ref)).signer, tenant.genesisSigner);
    await steps.propose(migration);
    const { seq, head } = await steps.accept(migration);
    await steps.settle();
    assert.deepEqual(await steps.custody.learnSuccession({ tenantId: tenant.id }), { epoch: 1 });
    assert.deepEqual(
      own.signed.map(({ kind }) => kind),
      ['proof', 'shadow', 'shadow', 'handover', 'accept'],
    );
    await steps.end(migration, 'completed');

    const next = await steps.seal(tenant);
    assert.ok(next > seq);
    const last = own.signed.at(-1)!;
    assert.deepEqual([last.kind, last.seal?.epoch, last.seal?.seq], ['seal', 1, next]);
    assert.equal(own.signed.find(({ seal }) => seal?.epoch === 1)?.typedData.message['prev'], head);
    assert.equal(await plane.level(tenant, next), 'final');
    assert.equal(await plane.frozen(tenant), null);
  });

  it('away, it holds up neither records nor checkpoints; back again, everything is signed in order (C7)', async () => {
    await own.leave();
    const before = own.signed.length;
    const seqs: number[] = [];
    for (let hour = 0; hour < 3; hour++) {
      await plane.post(tenant, 1);
      seqs.push(await plane.collect(tenant));
      await refusesAs('signer-absent');
      assert.equal(await published(), seqs.at(-1), 'the operator’s checkpoint does not wait');
    }
    const lag = await lagOf(tenant);
    const waiting = await own.list();
    const asked = waiting.map(({ seal }) => seal!.seq);
    const [oldest] = await plane.database.sql<{ at: Date }>(
      'SELECT min(created_at) AS at FROM kiff.signer_requests WHERE tenant = $1 AND signed_at IS NULL',
      [tenant.id],
    );
    const { seen, ...rest } = lag!;
    assert.deepEqual(rest, {
      signedSeq: asked[0]! - 1,
      unsigned: asked.length,
      waiting: asked.length,
      fromSeq: asked[0],
      since: oldest!.at.toISOString(),
      declined: null,
      refused: null,
    });
    assert.ok(Date.parse(String(seen)) < oldest!.at.getTime(), 'it was there last before the oldest one was asked for');
    assert.deepEqual(
      asked,
      asked.toSorted((a, b) => a - b),
    );
    assert.equal(asked.at(-1), seqs.at(-1));
    own.come();
    await plane.sign(tenant);
    await plane.anchorAll();
    assert.deepEqual(
      own.signed.slice(before).map(({ seal }) => seal!.seq),
      asked,
    );
    assert.equal(await plane.level(tenant, seqs.at(-1)!), 'final');
    const { signedSeq, unsigned, waiting: open, since } = (await lagOf(tenant))!;
    assert.deepEqual([signedSeq, unsigned, open, since], [asked.at(-1), 0, 0, null], 'it has caught up');
  });

  it('a wrong answer is refused with its reason, here and by the signing plane, and nothing is anchored (C8, B18, B19)', async () => {
    await own.leave();
    await plane.post(tenant, 1);
    const seq = await plane.collect(tenant);
    await refusesAs('signer-absent');
    // Answers are judged in the order of the seals.
    const [request] = (await own.list()) as [SigningRequest];
    const wrong = await own.sign({ digest: `0x${'77'.repeat(32)}` });
    assert.deepEqual(await own.answer(request.id, { signature: wrong }), { status: 422, reason: 'wrong-signer' });
    const good = await own.sign(request);
    const [rs, r, s] = [good.slice(0, -2), good.slice(2, 66), BigInt(`0x${good.slice(66, -2)}`)];
    const [of0, ofN] = ['00'.repeat(32), ORDER.toString(16)];
    const high = `0x${r}${(ORDER - s).toString(16).padStart(64, '0')}${good.endsWith('1b') ? '1c' : '1b'}`;
    const upper = `0x${good.slice(2).toUpperCase()}`;
    const der = `0x30440220${r}0220${good.slice(66, -2)}`;
    const outside = [`0x${of0}${good.slice(66)}`, `0x${r}${ofN}1b`];
    for (const malformed of ['0x', 'x', `${good}00`, rs, `${rs}00`, `${rs}01`, `${rs}1d`, high, upper, der, ...outside])
      assert.deepEqual(await own.answer(request.id, { signature: malformed }), {
        status: 422,
        reason: 'bad-signature',
      });
    for (const elsewhere of [
      { ...registry(), chainId: 1 },
      { ...registry(), contract: own.address },
    ]) {
      const { epoch: _, ...numbers } = request.seal!;
      const digest = sealDigest(elsewhere, { logId: tenant.logId, ...numbers });
      assert.deepEqual(await own.answer(request.id, { signature: await own.sign({ digest }) }), {
        status: 422,
        reason: 'wrong-signer',
      });
    }

    // An API that was taken over can write what it likes, and the signing plane believes none of it.
    const client = await plane.database.connect(tenant.url);
    const forge = (payload: object) =>
      client.query(`INSERT INTO kiff.commands (kind, payload) VALUES ('signer.answer', $1)`, [
        { request: request.id, ...payload },
      ]);
    await forge({ signature: wrong });
    await refusesAs('signer-absent');
    assert.equal((await own.list())[0]?.lastAnswerRefused, 'wrong-signer');
    await forge({ nothing: true });
    await refusesAs('signer-absent');
    await client.end();
    await plane.sendAll();
    assert.ok((await steps.state(tenant)).seq < request.seal!.seq, 'not anchored');

    assert.deepEqual(await own.answer(request.id, { refused: 'the tree is not one that I know' }), {
      status: 204,
      reason: undefined,
    });
    assert.ok((await own.list()).every(({ id }) => id !== request.id));
    await refusesAs('signer-declined');
    const alerted = plane.alerts().map(({ name }) => name);
    assert.ok(alerted.includes('signer-answer-refused') && alerted.includes('signer-declined'));

    assert.equal((await own.answer(request.id, { signature: good })).status, 204);
    assert.equal((await own.answer(request.id, { signature: good })).status, 204, 'the same once more');
    own.come();
    await plane.sign(tenant);
    assert.equal((await own.answer(request.id, { signature: good })).status, 204, 'also when it is done');
    assert.deepEqual(await own.answer(request.id, { refused: 'too late' }), {
      status: 409,
      reason: 'answered-otherwise',
    });
    await plane.anchorAll();
    assert.equal(await plane.level(tenant, seq), 'final');
  });

  it('such a key does nothing else, and others’ requests are nobody’s', async () => {
    const { key } = await plane.database.createKey(tenant, { scopes: ['signer'] });
    assert.equal((await api.get('/v1/seals', key)).status, 403);
    assert.equal((await api.post(key, '{}')).status, 403);
    assert.equal((await api.get('/v1/signer/requests', tenant.apiKey)).status, 403);
    assert.equal((await api.get(`/t/${tenant.id}/checkpoint`, key)).status, 200);
    assert.notEqual((await api.get('/.well-known/kiff-policy.json', key)).status, 403);
    const other = await plane.tenant({ register: false });
    const stranger = createOwnSigner(api.url, (await plane.database.createKey(other, { scopes: ['signer'] })).key);
    const id = own.signed.at(-1)!.id;
    assert.equal((await stranger.answer(id, { signature: await own.sign(own.signed.at(-1)!) })).status, 404);
    assert.deepEqual(await stranger.list(), []);
  });

  it('a second migration brings the log back to a fresh key of ours; the signer hands it over (C12)', async () => {
    const pool = createPool(plane.database.urls.kiff_keyadmin, 1);
    const keys = createCustodyKeyActivities({
      kms: plane.kmsAs('admin'),
      roles: LOCAL_ROLES,
      pool,
      alert: plane.alert,
    });
    const migration = await steps.begin(of, { custody: 1 }, (ref) => keys.makeCustodyKey(ref));
    await steps.prove(migration);
    assert.deepEqual(await steps.custody.snapshotKey(migration.ref), {
      signer: own.address,
      keyRef: null,
      publicKey: null,
      policyHash: null,
    });
    await steps.propose(migration);
    assert.equal(own.signed.at(-1)!.kind, 'handover');
    await steps.accept(migration);
    await steps.settle();
    assert.deepEqual(await steps.custody.learnSuccession({ tenantId: tenant.id }), { epoch: 2 });
    await steps.end(migration, 'completed');
    const signed = own.signed.length;
    const seq = await steps.seal(tenant);
    assert.equal(await plane.level(tenant, seq), 'final');
    assert.equal(own.signed.length, signed, 'it is not asked any more');
    assert.equal(await lagOf(tenant), null, 'and is behind in nothing');
    await pool.end();
  });

  it('an address that is nobody’s key is not taken: another log’s, the relayer’s, zero, a contract (C10, B20)', async () => {
    const other = await steps.tenant();
    const migrationId = await steps.admins.start(other.tenant, other.people[0]!, { custody: 3, signer: own.address });
    const ref = { tenantId: other.tenant.id, migrationId };
    const named = async (signer: Hex) => {
      await plane.database.sql(
        `UPDATE kiff.commands SET payload = payload || jsonb_build_object('signer', $2::text) WHERE payload ->> 'ref' = $1`,
        [migrationId, signer],
      );
      const found = await steps.custody.identifySigner(ref);
      return found.ok ? 'taken' : found.reason;
    };
    assert.deepEqual(
      [
        await named(own.address),
        await named(plane.relayer),
        await named(`0x${'00'.repeat(20)}`),
        await named(plane.registry.address),
        await named(other.tenant.genesisSigner),
        await named(`0x${'12'.repeat(20)}`),
      ],
      [
        'signer-is-another-logs',
        'signer-is-relayer',
        'signer-zero',
        'signer-is-contract',
        'signer-is-current',
        'taken',
      ],
    );
  });

  /** Another tenant, whose log its own signer has taken over, and who is there. */
  async function takenOver() {
    const other = await steps.tenant();
    const { key } = await plane.database.createKey(other.tenant, { scopes: ['signer'] });
    const theirs = createOwnSigner(api.url, key);
    theirs.come();
    const migration = await steps.begin(other, { custody: 3, signer: theirs.address });
    await steps.prove(migration);
    await steps.propose(migration);
    await steps.accept(migration);
    await steps.settle();
    await steps.custody.learnSuccession({ tenantId: other.tenant.id });
    await steps.end(migration, 'completed');
    return { other, theirs };
  }

  /** The tenant's next log is sealed with a key of ours. */
  async function goesOn(next: TestTenant): Promise<void> {
    await plane.anchorAll(); // which registers it
    await plane.post(next, 1);
    const seq = await plane.collect(next);
    await plane.sign(next);
    await plane.anchorAll();
    assert.equal(await plane.level(next, seq), 'final');
  }

  it('signer-lost: gone for good, it freezes nothing; an operator’s word ends the log, and what waited for it goes over', async () => {
    const { other, theirs } = await takenOver();
    const { tenant: lost } = other;
    const sealed = await steps.seal(lost);
    await theirs.leave();
    await plane.post(lost, 2);
    await plane.collect(lost);
    await longAway(lost);
    await assert.rejects(plane.sign(lost), failsAs('signer-absent'));
    assert.equal(await plane.frozen(lost), null, 'it may come back');
    const [waiting] = await theirs.list();
    assert.equal(waiting!.seal!.seq, sealed + 1, 'control: until the end it can be answered');

    const operator = await recoveryPlane(plane);
    assert.deepEqual((await operator.recovery().compare(lost.origin)).logs[0]!.differences, []);
    await assert.rejects(operator.recovery().end(lost.origin, null), /not frozen: say --reason/);
    await operator.freeze(lost, 'signer-lost');
    const { statement, carried } = await operator.recovery().end(lost.origin, 'signer-lost');
    assert.deepEqual([statement.reason, statement.last.seq], ['signer-lost', sealed]);
    assert.equal(carried?.carried, 2);
    await operator.close();

    // Found again after the end: there is nothing left for it to sign.
    assert.deepEqual(await theirs.list(), []);
    assert.equal((await theirs.answer(waiting!.id, { signature: await theirs.sign(waiting!) })).status, 410);
    const signed = theirs.signed.length;
    theirs.come();
    await goesOn(lost);
    await theirs.leave();
    assert.equal(theirs.signed.length, signed, 'the next log is not its');
  });

  it('diverged: a seal of the tenant’s key that we never stated freezes the log; it ends with the last one that we know', async () => {
    const { other, theirs } = await takenOver();
    const agreed = await steps.seal(other.tenant);
    await steps.seal(other.tenant, { anchor: false });
    await theirs.leave();

    const [last] = await plane.database.sql<{ period: number; tree_size: number; seal_hash: Buffer }>(
      `SELECT period, tree_size, seal_hash FROM ${other.tenant.role}.seals WHERE seq = $1`,
      [agreed],
    );
    const unseen = {
      logId: other.tenant.logId,
      seq: agreed + 1,
      period: last!.period + 1,
      treeSize: last!.tree_size + 1,
      root: toHex(Buffer.alloc(32, 9)),
    };
    const digest = sealDigest(registry(), { ...unseen, prev: toHex(last!.seal_hash) });
    const wallet = createWalletClient({ account: STRANGER, transport: http((await anvil()).rpcUrl) });
    await wallet.writeContract({
      chain: null,
      address: plane.registry.address,
      abi: registryAbi,
      functionName: 'anchor',
      args: [[{ ...unseen, period: BigInt(unseen.period), signature: await theirs.sign({ digest }) }]],
    });
    await plane.mine();
    await plane.post(other.tenant, 1);
    await plane.collect(other.tenant);
    await assert.rejects(plane.sign(other.tenant), failsAs('diverged'));
    assert.equal(await plane.frozen(other.tenant), 'diverged');
    assert.deepEqual(await theirs.list(), [], 'a frozen log asks for nothing');
    await plane.unfreeze(other.tenant);
    await plane.sendAll();
    assert.equal(await plane.frozen(other.tenant), 'diverged', 'the wallet finds it too');

    for (let block = 0; block < 3; block++) await plane.mine();
    const operator = await recoveryPlane(plane);
    const [compared] = (await operator.recovery().compare(other.tenant.origin)).logs;
    assert.deepEqual(
      [compared!.differences.map(({ reason }) => reason), compared!.lastGood.seq, compared!.journalBehind],
      [['diverged'], agreed, false],
    );
    await operator.freeze(other.tenant, 'diverged');
    const { statement } = await operator.recovery().end(other.tenant.origin, null);
    assert.deepEqual([statement.reason, statement.last.seq], ['diverged', agreed]);
    await goesOn(other.tenant);
    await operator.close();
  });
});
