import assert from 'node:assert/strict';
import { parsePolicyText } from '../../protocol/index.ts';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { assertProblem, startIngestApi, type IngestApi } from './ingest-api.ts';

const PATH = '/.well-known/kiff-policy.json';
const CODE_HASH = '11'.repeat(32);
const KEYS = ['22'.repeat(32), '33'.repeat(32)] as const;
const NEXT = `0x${'44'.repeat(32)}` as const;

describe('the policy that the API hands out', () => {
  let db: ProductDatabase;
  let api: IngestApi;
  let tenant: TestTenant;
  let clock = Date.now();

  const as = async (login: 'kiff_anchoring' | 'kiff_signing', statement: string, ...values: unknown[]) => {
    const client = await db.connect(db.urls[login]);
    try {
      await client.query(statement, values);
    } finally {
      await client.end();
    }
  };
  const publishRegistry = (hash: string): Promise<void> =>
    as('kiff_anchoring', 'SELECT kiff.publish_registry($1, 7)', Buffer.from(hash, 'hex'));
  const publishKey = (key: string): Promise<void> =>
    as('kiff_signing', 'SELECT kiff.publish_checkpoint_key($1)', Buffer.from(key, 'hex'));

  before(async function () {
    this.timeout(60_000);
    db = await createProductDatabase();
    api = await startIngestApi(db, { now: () => clock, otherPromiseKeys: [NEXT] });
    tenant = await db.createTenant();
    await db.createTenant();
  });
  after(async () => {
    await api.stop();
    await db.drop();
  });

  it('is not there until the workers have published what only they know', async () => {
    assertProblem(await api.get(PATH), 503, 'unavailable');
    await publishRegistry(CODE_HASH);
    assertProblem(await api.get(PATH, tenant.apiKey), 503, 'unavailable');
    await publishKey(KEYS[0]);
    assert.equal((await api.get(PATH)).status, 200);
  });

  it('names the registry to everybody, and no log', async () => {
    const answer = await api.get(PATH);
    assert.deepEqual(parsePolicyText(answer.text), {
      format: 'kiff.policy/1',
      registry: {
        chainId: db.chainId,
        contract: db.contract,
        codeHash: `0x${CODE_HASH}`,
        fromBlock: 7,
        periodSeconds: db.periodSeconds,
      },
      logs: [],
      require: [],
    });
    assert.equal(answer.headers.get('vary'), 'Authorization');
  });

  it('names its own log to whoever holds a key, whatever the key may do, with every key of operator and promises', async () => {
    await publishKey(KEYS[1]);
    await publishKey(KEYS[1]);
    clock += 60_000; // past the cache
    const { key } = await db.createKey(tenant, { scopes: ['ingest'] });
    for (const apiKey of [tenant.apiKey, key]) {
      const { logs } = parsePolicyText((await api.get(PATH, apiKey)).text);
      assert.deepEqual(logs, [
        {
          origin: tenant.origin,
          genesisSigner: tenant.genesisSigner,
          checkpointKeys: [`0x${KEYS[1]}`, `0x${KEYS[0]}`],
          promiseKeys: [api.promises.publicKey, NEXT],
        },
      ]);
    }
  });

  it('takes no wrong key for none', async () => {
    assertProblem(await api.get(PATH, 'kiff_live_wrong'), 401, 'unauthorized');
    const deleted = await fetch(api.url + PATH, { method: 'DELETE' });
    assert.equal(deleted.status, 405);
  });

  it('keeps its word: another contract’s code is refused, and nobody else may publish', async () => {
    await publishRegistry(CODE_HASH);
    await assert.rejects(publishRegistry('55'.repeat(32)), { code: 'KF012' });
    const others = {
      kiff_signing: 'SELECT kiff.publish_registry($1, 7)',
      kiff_anchoring: 'SELECT kiff.publish_checkpoint_key($1)',
    };
    for (const [login, statement] of Object.entries(others)) {
      await assert.rejects(as(login as keyof typeof others, statement, Buffer.alloc(32)), { code: '42501' });
    }
    const stranger = await db.connect(tenant.url);
    for (const statement of Object.values(others)) {
      await assert.rejects(stranger.query(statement, [Buffer.alloc(32)]), { code: '42501' });
    }
  });
});
