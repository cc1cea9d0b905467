/** Wall 3: the signer signs one story, whatever the product database, the workflow, the chain or KMS says. */
import assert from 'node:assert/strict';
import { DescribeKeyCommand, GetKeyPolicyCommand, PutKeyPolicyCommand } from '@aws-sdk/client-kms';
import pg from 'pg';
import { ed25519PublicKey, OPERATOR_ALIAS, tenantKeyAlias } from '../../activities/kms/keys.ts';
import { fromHex, toHex } from '../../protocol/hex.ts';
import { verifyCheckpoint, parseCheckpoint } from '../../protocol/note.ts';
import { sealDigest } from '../../protocol/seal.ts';
import { rootFromTiles, TileSet } from '../../protocol/tile.ts';
import { recoverSigner } from '../../protocol/signature.ts';
import { connectAgreedChain } from '../../workers/chain.ts';
import { anvil } from '../parts.ts';
import { startWeather } from '../weather/proxy.ts';
import { createProductDatabase, type TestTenant } from '../product-database.ts';
import { createPlane, failsAs, type Plane } from './plane.ts';

/** Half of the order of secp256k1: no s above it is canonical. */
const HALF_N = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0n;

const schema = (tenant: TestTenant): string => `kiff_t_${tenant.id}`;

describe('the signer', function () {
  this.timeout(60_000);
  let plane: Plane;

  before(async () => {
    plane = await createPlane();
  });
  after(() => plane.stop());
  beforeEach(() => plane.alerts());
  afterEach(() => plane.kms.clearFaults());

  /** A tenant with `seals` hashed seals over some records, none of them signed. */
  async function hashed(seals: number): Promise<TestTenant> {
    const tenant = await plane.tenant();
    let seq = 0;
    while (seq < seals) {
      await plane.post(tenant, 3);
      seq = await plane.collect(tenant);
    }
    await plane.log.hashSeals({ tenantId: tenant.id, throughSeq: seq });
    return tenant;
  }

  const sign = (tenant: TestTenant, seq: number) => plane.signing.signSeals({ tenantId: tenant.id, seqs: [seq] });

  const stored = async (tenant: TestTenant, seq: number) => {
    const [row] = await plane.database.sql<{
      period: number;
      tree_size: number;
      root: Buffer;
      prev: Buffer;
      seal_hash: Buffer;
      signature: Buffer | null;
      checkpoint: string;
      level: string;
    }>(`SELECT * FROM ${schema(tenant)}.seals WHERE seq = $1`, [seq]);
    return row!;
  };

  /** Runs SQL as somebody who is past all guards of the product database. */
  async function tamper(tenant: TestTenant, sql: string, values: unknown[] = []): Promise<void> {
    await plane.database.sql(`ALTER TABLE ${schema(tenant)}.seals DISABLE TRIGGER ALL`);
    await plane.database.sql(`ALTER TABLE ${schema(tenant)}.tiles DISABLE TRIGGER ALL`);
    await plane.database.sql(sql, values);
  }

  it('signs seals in order; each signature recovers to the log’s key, each checkpoint to the operator’s', async () => {
    const tenant = await hashed(2);
    const first = await sign(tenant, 1);
    await sign(tenant, 2);
    const [one, two] = [await stored(tenant, 1), await stored(tenant, 2)];
    assert.equal(toHex(one.prev), `0x${'00'.repeat(32)}`);
    assert.equal(toHex(two.prev), first[0]);
    const publicKey = await ed25519PublicKey(plane.kmsAs('signer'), OPERATOR_ALIAS);
    for (const [index, seal] of [one, two].entries()) {
      const digest = sealDigest(
        { chainId: plane.database.chainId, contract: plane.registry.address },
        {
          logId: tenant.logId,
          seq: index + 1,
          period: seal.period,
          treeSize: seal.tree_size,
          root: toHex(seal.root),
          prev: toHex(seal.prev),
        },
      );
      assert.equal(recoverSigner(digest, toHex(seal.signature!)), tenant.genesisSigner);
      assert.ok(verifyCheckpoint(seal.checkpoint, { origin: tenant.origin, publicKey }));
      assert.equal(parseCheckpoint(seal.checkpoint).root, toHex(seal.root));
    }
  });

  it('asked again, by a signer that remembers nothing, gives the same signature and does not ask KMS', async () => {
    const tenant = await hashed(1);
    await sign(tenant, 1);
    const { signature } = await stored(tenant, 1);
    await plane.kms.resetCalls();
    await plane.newSigner().signSeals({ tenantId: tenant.id, seqs: [1] });
    assert.deepEqual((await stored(tenant, 1)).signature, signature);
    assert.equal(await plane.kms.count({ action: 'Sign' }), 0);
  });

  it('two signers at once state one thing, and one signature stands', async () => {
    const tenant = await hashed(1);
    const signers = [plane.signing, plane.newSigner(), plane.newSigner()];
    const answers = await Promise.all(signers.map((signer) => signer.signSeals({ tenantId: tenant.id, seqs: [1] })));
    assert.equal(new Set(answers.flat()).size, 1);
    assert.equal((await stored(tenant, 1)).level, 'sealed');
  });

  it('does not sign ahead of order, nor what is not hashed, nor what is not there', async () => {
    const tenant = await hashed(2);
    await assert.rejects(sign(tenant, 2), failsAs('out-of-order'));
    await assert.rejects(sign(tenant, 999), failsAs('seal-unknown'));
    const seq = await plane.collect(tenant);
    await assert.rejects(sign(tenant, seq), failsAs('out-of-order'));
  });

  it('refuses for good to state something else for a seq that it has stated (a restored or altered database)', async () => {
    const tenant = await hashed(1);
    await plane.kms.inject({ fault: 'lose-answer', action: 'Sign', times: 1 });
    await assert.rejects(sign(tenant, 1), failsAs('kms-unavailable'));
    // The statement is journaled, though nothing was signed as far as anybody knows. Now the story changes.
    await tamper(tenant, `UPDATE ${schema(tenant)}.seals SET root = $1 WHERE seq = 1`, [Buffer.alloc(32, 7)]);
    await plane.kms.resetCalls();
    await assert.rejects(
      plane.newSigner().signSeals({ tenantId: tenant.id, seqs: [1] }),
      failsAs('statement-conflict'),
    );
    assert.equal(await plane.kms.count({ action: 'Sign' }), 0, 'KMS was not even asked');
    assert.deepEqual(
      plane.alerts().map((alert) => alert.name),
      ['statement-conflict'],
    );
  });

  it('refuses a root that the entries do not give', async () => {
    const tenant = await hashed(1);
    await tamper(tenant, `UPDATE ${schema(tenant)}.seals SET root = $1 WHERE seq = 1`, [Buffer.alloc(32, 7)]);
    await assert.rejects(sign(tenant, 1), failsAs('seal-altered'));
  });

  it('refuses a tree that does not extend the last one, though its entries, tiles and root agree', async () => {
    const tenant = await hashed(2);
    await sign(tenant, 1);
    const two = await stored(tenant, 2);
    // History is rewritten consistently: another first entry, its leaf hash, the tile, and the root that follows from it.
    await plane.database.sql(`ALTER TABLE ${schema(tenant)}.records DROP CONSTRAINT leaf_hash_of_entry`);
    const [first] = await plane.database.sql<{ leaf_hash: Buffer }>(
      `UPDATE ${schema(tenant)}.records SET entry = other.bytes, leaf_hash = sha256('\\x00'::bytea || other.bytes)
         FROM (SELECT convert_to(replace(convert_from(entry, 'UTF8'), '"key":"k', '"key":"x'), 'UTF8') AS bytes
                 FROM ${schema(tenant)}.records WHERE leaf_index = 0) other
        WHERE leaf_index = 0 RETURNING leaf_hash`,
    );
    await tamper(
      tenant,
      `UPDATE ${schema(tenant)}.tiles SET hashes = $1::bytea || substring(hashes FROM 33) WHERE level = 0 AND index = 0`,
      [first!.leaf_hash],
    );
    const [tile] = await plane.database.sql<{ hashes: Buffer }>(
      `SELECT hashes FROM ${schema(tenant)}.tiles WHERE level = 0 AND index = 0`,
    );
    const forged = rootFromTiles(new TileSet([{ level: 0, index: 0, hashes: tile!.hashes }]), two.tree_size);
    assert.notEqual(toHex(forged), toHex(two.root), 'control: it is another history');
    await plane.database.sql(`UPDATE ${schema(tenant)}.seals SET root = $1 WHERE seq = 2`, [Buffer.from(forged)]);
    await assert.rejects(sign(tenant, 2), failsAs('not-an-extension'));
    assert.deepEqual(
      plane.alerts().map((alert) => alert.name),
      ['not-an-extension'],
    );
  });

  it('refuses a period that is not the next one', async () => {
    const tenant = await hashed(2);
    await sign(tenant, 1);
    await tamper(tenant, `UPDATE ${schema(tenant)}.seals SET period = period + 1000 WHERE seq >= 2`);
    await assert.rejects(sign(tenant, 2), failsAs('not-an-extension'));
  });

  it('refuses when the chain is ahead of its journal (a lost or restored journal)', async () => {
    const tenant = await hashed(2);
    await sign(tenant, 1);
    await plane.anchorAll();
    const empty = await createProductDatabase({ chainId: plane.database.chainId, contract: plane.registry.address });
    try {
      const forgetful = plane.newSigner(empty.urls.kiff_journal);
      await assert.rejects(forgetful.signSeals({ tenantId: tenant.id, seqs: [1] }), failsAs('chain-ahead'));
      await plane.unfreeze(tenant);
      await assert.rejects(forgetful.signSeals({ tenantId: tenant.id, seqs: [2] }), failsAs('chain-ahead'));
    } finally {
      await empty.drop();
    }
    await plane.unfreeze(tenant);
    // The signer that remembers goes on.
    await sign(tenant, 2);
  });

  it('waits for a log that the contract does not know, and leaves no trace of it in the journal', async () => {
    const tenant = await plane.tenant({ register: false });
    const seq = await plane.collect(tenant);
    await plane.log.hashSeals({ tenantId: tenant.id, throughSeq: seq });
    await assert.rejects(sign(tenant, 1), failsAs('log-unregistered'));
    const journal = new pg.Client({ connectionString: plane.database.journalSuperuserUrl });
    await journal.connect();
    const { rows } = await journal.query('SELECT FROM journal.logs WHERE tenant = $1', [tenant.id]);
    await journal.end();
    assert.equal(rows.length, 0);
    await plane.anchorAll();
    await sign(tenant, 1);
  });

  it('signs nothing while one of its RPC endpoints contradicts the others, and goes on when they agree', async () => {
    const tenant = await hashed(1);
    const { rpcUrl, chainId } = await anvil();
    const liar = await startWeather({ upstream: rpcUrl, seed: 1 });
    try {
      const chain = await connectAgreedChain([rpcUrl, `${rpcUrl}/`, liar.url], chainId, plane.alert);
      const signer = plane.newSigner(undefined, { chain });
      liar.set({ fault: { do: 'contradict', about: 'state' } });
      await plane.kms.resetCalls();
      const signing = () => signer.signSeals({ tenantId: tenant.id, seqs: [1] });
      await assert.rejects(signing(), failsAs('chain-disagrees'));
      assert.equal(await plane.kms.count({ action: 'Sign' }), 0);
      assert.deepEqual(
        plane.alerts().map(({ name, fields }) => [name, fields]),
        [['chain-disagrees', { endpoints: '1+2 against 3' }]],
      );
      liar.set();
      await signing();
    } finally {
      await liar.stop();
    }
  });

  it('does not use a key whose policy drifted', async () => {
    const tenant = await hashed(1);
    const admin = plane.kmsAs('admin');
    const { KeyMetadata } = await admin.send(new DescribeKeyCommand({ KeyId: tenantKeyAlias(tenant.id) }));
    const breakGlass = plane.kmsAs('breakGlass');
    const KeyId = KeyMetadata?.KeyId;
    const { Policy } = await breakGlass.send(new GetKeyPolicyCommand({ KeyId, PolicyName: 'default' }));
    const drifted = Policy!.replace('kms:DeleteAlias', 'kms:ListKeyPolicies');
    assert.notEqual(drifted, Policy);
    const put = (policy: string) =>
      breakGlass.send(
        new PutKeyPolicyCommand({ KeyId, PolicyName: 'default', Policy: policy, BypassPolicyLockoutSafetyCheck: true }),
      );
    await put(drifted);
    await assert.rejects(sign(tenant, 1), failsAs('policy-drift'));
    assert.deepEqual(
      plane.alerts().map((alert) => alert.name),
      ['policy-drift'],
    );
    await put(Policy!);
    await sign(tenant, 1);
  });

  it('throws every malformed signature away, and one by another key; told once, and signed once KMS answers well', async () => {
    const tenant = await hashed(1);
    const forms = ['truncated', 'trailing', 'negative-r', 'padded-r', 'zero-r', 'zero-s'] as const;
    const faults = [
      ...forms.map((form) => ({ fault: 'malformed-signature', form }) as const),
      { fault: 'other-key' } as const,
    ];
    for (const fault of faults) {
      await plane.kms.inject({ ...fault, times: 1 });
      await assert.rejects(sign(tenant, 1), failsAs('foreign-signature'));
      assert.equal((await stored(tenant, 1)).signature, null);
    }
    assert.deepEqual(
      plane.alerts().map((alert) => alert.name),
      ['foreign-signature'],
    );
    await plane.kms.inject({ fault: 's-value', s: 'high', times: 1 });
    await sign(tenant, 1);
    assert.ok(BigInt(toHex((await stored(tenant, 1)).signature!.subarray(32, 64))) <= HALF_N, 'high s is stored low');
  });

  it('its journal takes no gap and no rewrite, even from the signer’s own login', async () => {
    const tenant = await hashed(2);
    await sign(tenant, 1);
    const journal = new pg.Client({ connectionString: plane.database.urls.kiff_journal });
    await journal.connect();
    try {
      const insert = (seq: number, period: number, size: number) =>
        journal.query(
          `INSERT INTO journal.statements (log_id, epoch, seq, period, tree_size, root, prev, seal_hash)
           VALUES ($1, 0, $2, $3, $4, $5, $5, $5)`,
          [Buffer.from(fromHex(tenant.logId)), seq, period, size, Buffer.alloc(32, 1)],
        );
      const { period, tree_size } = await stored(tenant, 1);
      await assert.rejects(insert(3, period + 2, tree_size), { code: 'KF041' });
      await assert.rejects(insert(2, period + 1, tree_size), { code: 'KF041' }, 'prev is not the journal’s head');
      await assert.rejects(insert(1, period, tree_size), { code: '23505' });
    } finally {
      await journal.end();
    }
  });
});
