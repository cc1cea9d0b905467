/** The log as it is published, over HTTP and under it in the database: who may read it, how much of it, and what proves it. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type pg from 'pg';
import { leafHash, verifyConsistency, verifyInclusion } from '../../protocol/index.ts';
import { parseCheckpoint, verifyCheckpoint } from '../../protocol/note.ts';
import { parsePublishedCheckpoint, sealIsSigned } from '../../protocol/seal-line.ts';
import { decodeBundle } from '../../protocol/tlog-tiles.ts';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { assertProblem, recordText, startIngestApi, type Answer, type IngestApi } from './ingest-api.ts';
import { LogSealer, SIGNER } from './seal-log.ts';
import { sessionToken } from './session-tokens.ts';

const questions = (id: string): string[] => [
  `SELECT * FROM kiff.published_checkpoint('${id}', 1, NULL)`,
  `SELECT * FROM kiff.published_checkpoint('${id}', 1, 1)`,
  `SELECT * FROM kiff.published_tiles('${id}', 1, '{0}', '{0}')`,
  `SELECT * FROM kiff.published_entries('${id}', 1, 0, 256)`,
];

/** How many rows each of them finds. */
async function rowsFor(client: pg.Client, id: string): Promise<number[]> {
  const counts = [];
  for (const question of questions(id)) counts.push((await client.query(question)).rowCount ?? 0);
  return counts;
}

describe('the public log', () => {
  let db: ProductDatabase;
  let api: IngestApi;
  let tenant: TestTenant;
  let other: TestTenant;
  let sealer: LogSealer;
  let time = 0;
  /** Sizes of the log at each seal, by seq. */
  let sizes: number[] = [];
  let records = 0;

  const at = (end: string, credential: string | undefined = tenant.apiKey): Promise<Answer> =>
    api.get(`/t/${tenant.id}/${end}`, credential);
  const policyOrigins = async (credential?: string): Promise<string[]> =>
    (await api.get('/.well-known/kiff-policy.json', credential)).json.logs.map(
      ({ origin }: { origin: string }) => origin,
    );
  const anonymously = (end: string): Promise<Answer> => api.get(`/t/${tenant.id}/${end}`);

  /** Publishes what there is. */
  async function publish(): Promise<void> {
    const seq = await sealer.collect();
    await sealer.hash(seq);
    await sealer.sign();
    const seals = await db.sql<{ tree_size: number }>(`SELECT tree_size FROM ${tenant.role}.seals ORDER BY seq`);
    sizes = seals.map(({ tree_size }) => tree_size);
  }

  async function append(count: number): Promise<void> {
    const lines = Array.from({ length: count }, (_, each) => recordText(`r-${records + each}`));
    records += count;
    assert.equal((await api.postLines(tenant.apiKey, lines.join('\n'))).status, 200);
  }

  before(async function () {
    this.timeout(60_000);
    db = await createProductDatabase({ periodSeconds: 1 });
    // Its clock stands still unless a test moves it; the database's goes on.
    time = Date.now();
    api = await startIngestApi(db, { now: () => time });
    tenant = await db.createTenant({ genesisSigner: SIGNER });
    other = await db.createTenant();
    sealer = new LogSealer(db, tenant);
  });
  after(async () => {
    await sealer.close();
    await api.stop();
    await db.drop();
  });

  it('has nothing before its first checkpoint, whatever has been accepted', async () => {
    await append(1);
    for (const end of [
      'checkpoint',
      'checkpoint/1',
      'tile/0/000.p/1',
      'tile/entries/000.p/1',
      'proof/inclusion?leaf=0',
    ])
      assertProblem(await at(end), 404, 'not-found');
    assertProblem(await at('end'), 404, 'not-found');
    await publish();
  });

  it('publishes a checkpoint with the operator’s signature and the tenant’s seal', async () => {
    const { status, text, headers } = await at('checkpoint');
    assert.deepEqual([status, headers.get('content-type')], [200, 'text/plain; charset=utf-8']);
    assert.equal(headers.get('cache-control'), 'private, max-age=2');
    const key = { origin: tenant.origin, publicKey: sealer.operatorKey };
    const { size, root } = verifyCheckpoint(text, key)!;
    const { seal } = parsePublishedCheckpoint(text, tenant);
    assert.ok(seal);
    const listed = (await api.get(`/v1/seals/${seal.seq}`, tenant.apiKey)).json;
    assert.deepEqual([size, root, seal.signature], [1, listed.root, listed.signature]);
    assert.ok(sealIsSigned(seal, { chainId: db.chainId, contract: db.contract }, SIGNER));
  });

  it('publishes only what is signed: what is cut, and even hashed, is not there yet', async () => {
    const before = (await at('checkpoint')).text;
    await append(1);
    const seq = await sealer.collect();
    await sealer.hash(seq);
    assert.equal((await at('checkpoint')).text, before);
    for (const end of [`checkpoint/${seq}`, 'tile/0/000.p/2', 'tile/entries/000.p/2', 'proof/inclusion?leaf=1'])
      assertProblem(await at(end), 404, 'not-found');
    assertProblem(await at('proof/consistency?from=1&to=2'), 404, 'not-found');
    await publish();
    assert.equal((await at('tile/0/000.p/2')).status, 200);
  });

  it('keeps every period’s checkpoint, an empty one’s too', async function () {
    this.timeout(30_000);
    for (const count of [252, 2, 0, 3]) {
      if (count > 0) await append(count);
      await publish();
    }
    assert.equal(sizes.at(-1), 259);
    for (const [index, size] of sizes.entries()) {
      const { status, text, headers } = await at(`checkpoint/${index + 1}`);
      assert.deepEqual([status, parseCheckpoint(text).size], [200, size]);
      assert.equal(parsePublishedCheckpoint(text, tenant).seal?.seq, index + 1);
      assert.equal(headers.get('cache-control'), 'private, max-age=2');
    }
    await sealer.setLevel(2, 'final');
    const kept = await at('checkpoint/2');
    assert.equal(kept.headers.get('cache-control'), 'private, max-age=31536000, immutable');
    assertProblem(await at(`checkpoint/${sizes.length + 1}`), 404, 'not-found');
    assertProblem(await at('checkpoint/99999999999'), 404, 'not-found');
  });

  it('serves tiles and entries as they were at each size, also when their full ones are there', async () => {
    const size = sizes.at(-1)!;
    assert.equal(size, 259);
    const full = Buffer.from(await bytesOf('tile/0/000'));
    assert.equal(full.length, 256 * 32);
    const entries = decodeBundle(await bytesOf('tile/entries/000'), 256);
    for (const [index, entry] of entries.entries()) {
      assert.equal(leafHash(entry), `0x${full.subarray(32 * index, 32 * index + 32).toString('hex')}`);
    }
    for (const width of [1, 2, 254, 255]) {
      assert.deepEqual(Buffer.from(await bytesOf(`tile/0/000.p/${width}`)), full.subarray(0, 32 * width));
      assert.equal(decodeBundle(await bytesOf(`tile/entries/000.p/${width}`), width).length, width);
    }
    assert.equal((await bytesOf('tile/0/001.p/3')).length, 96);
    assert.equal((await bytesOf('tile/1/000.p/1')).length, 32);
    const { headers } = await at('tile/0/000');
    assert.equal(headers.get('content-type'), 'application/octet-stream');
    assert.equal(headers.get('cache-control'), 'private, max-age=31536000, immutable');
  });

  it('has nothing else: what no checkpoint covers, and what is no address of a tile', async () => {
    const beyond = [
      '0/001.p/4',
      '0/001',
      '0/002.p/1',
      '1/000.p/2',
      '1/000',
      '1/001.p/1',
      '2/000.p/1',
      '7/000.p/1',
      '8/000.p/1',
    ];
    const none = [
      '63/000.p/1',
      '64/000',
      '-1/000',
      '00/000',
      'x/000',
      '0/0',
      '0/000.p/0',
      '0/000.p/256',
      '0/x999/x999/x999/x999/999',
    ];
    for (const end of [...beyond, ...none]) assertProblem(await at(`tile/${end}`), 404, 'not-found');
    for (const end of ['001.p/4', '001', '002.p/1', 'entries/000', '0', '000.p/999', 'x001/000'])
      assertProblem(await at(`tile/entries/${end}`), 404, 'not-found');
    for (const path of [`/t/${tenant.id}/nothing`, `/t/${tenant.id}`, '/t/', `/t/${tenant.id}/tile/0`])
      assertProblem(await api.get(path, tenant.apiKey), 404, 'not-found');
    // There is one log, and it has no other name.
    for (const log of [`${tenant.id}/2`, `${tenant.id}/99999`])
      assertProblem(await api.get(`/t/${log}/checkpoint`, tenant.apiKey), 404, 'not-found');
    for (const log of [`${tenant.id}/1`, `${tenant.id}/02`, `${tenant.id}/x`, 'A', 'a'.repeat(25)])
      assertProblem(await api.get(`/t/${log}/checkpoint`, tenant.apiKey), 422, 'invalid-parameter');
  });

  it('proves that a leaf stands in a tree, for every published size (B17)', async () => {
    for (const size of new Set([...sizes.filter((each) => each > 0), 3, 255, 257])) {
      for (const leaf of new Set([0, 1, size - 1].filter((each) => each >= 0 && each < size))) {
        const { json } = await at(`proof/inclusion?leaf=${leaf}&size=${size}`);
        assert.ok(verifyInclusion(json), `${leaf} of ${size}`);
        assert.deepEqual([json.leafIndex, json.treeSize], [leaf, size]);
        assert.equal(verifyInclusion({ ...json, leafIndex: leaf + 1 }), false, 'control');
      }
    }
    const newest = (await at('proof/inclusion?leaf=7')).json;
    assert.equal(newest.root, parseCheckpoint((await at('checkpoint')).text).root);
    for (const query of [
      'leaf=259',
      'leaf=2&size=2',
      'leaf=0&size=260',
      `leaf=${'9'.repeat(40)}`,
      `leaf=0&size=${'9'.repeat(40)}`,
    ])
      assertProblem(await at(`proof/inclusion?${query}`), 404, 'not-found');
    for (const query of ['', 'leaf=-1', 'leaf=x', 'leaf=1e3', 'leaf=0&size=0', 'leaf=0&size=', 'leaf=0&leaf=1'])
      assertProblem(await at(`proof/inclusion?${query}`), 422, 'invalid-parameter');
  });

  it('proves that a tree extends another one, between all published sizes', async () => {
    const distinct = [...new Set(sizes)].filter((size) => size > 0);
    for (const from of distinct) {
      for (const to of distinct.filter((each) => each >= from)) {
        const { json } = await at(`proof/consistency?from=${from}&to=${to}`);
        assert.ok(verifyConsistency(json), `${from} to ${to}`);
        assert.equal(verifyConsistency({ ...json, root2: leafHash('x') }), false, 'control');
      }
    }
    const [first, last] = [
      await at(`checkpoint/${sizes.findIndex((size) => size > 0) + 1}`),
      await at('checkpoint'),
    ].map(({ text }) => parseCheckpoint(text));
    const { json } = await at(`proof/consistency?from=${first!.size}`);
    assert.deepEqual([json.root1, json.root2, json.size2], [first!.root, last!.root, last!.size]);
    for (const query of ['from=260', 'from=1&to=260', `from=${'9'.repeat(40)}`])
      assertProblem(await at(`proof/consistency?${query}`), 404, 'not-found');
    for (const query of ['', 'from=0', 'from=3&to=2', 'from=-1', 'from=1&to=0'])
      assertProblem(await at(`proof/consistency?${query}`), 422, 'invalid-parameter');
  });

  it('is read with a key that may read, by its own tenant; to all others it is as if it were not there', async () => {
    const { key: posting } = await db.createKey(tenant, { scopes: ['ingest'] });
    assertProblem(await at('checkpoint', posting), 403, 'missing-scope');
    assertProblem(await at('checkpoint', 'kiff_live_x'), 401, 'unauthorized');
    for (const id of [tenant.id, 'nobody'])
      assertProblem(await api.get(`/t/${id}/checkpoint`, other.apiKey), 404, 'not-found');
    for (const id of [tenant.id, 'nobody']) assertProblem(await api.get(`/t/${id}/checkpoint`), 401, 'unauthorized');
    const events = await db.sql<{ detail: { askedFor: string } }>(
      `SELECT detail FROM ${other.role}.events WHERE kind = 'access.refused'`,
    );
    assert.deepEqual(
      events.map(({ detail }) => detail.askedFor),
      [`log ${tenant.id}/1`],
    );
  });

  describe('and the database, which says the same by itself', () => {
    it('answers the tenant’s login, and nobody else’s while the log is not public', async () => {
      assert.deepEqual(await rowsFor(await db.connect(tenant.url), tenant.id), [1, 1, 1, 256]);
      for (const url of [db.urls.kiff_api, other.url])
        assert.deepEqual(await rowsFor(await db.connect(url), tenant.id), [0, 0, 0, 0]);
    });

    it('answers everybody who may ask once it is, and never with more than is published', async () => {
      await db.sql('UPDATE kiff.tenants SET log_public = true WHERE id = $1', [tenant.id]);
      const client = await db.connect(db.urls.kiff_api);
      assert.deepEqual(await rowsFor(client, tenant.id), [1, 1, 1, 256]);
      await append(1);
      const { rows: entries } = await client.query(`SELECT * FROM kiff.published_entries($1, 1, 256, 512)`, [
        tenant.id,
      ]);
      assert.equal(entries.length, 3);
      for (const table of ['records', 'bodies', 'tiles', 'seals'])
        await assert.rejects(client.query(`SELECT FROM ${tenant.role}.${table}`), { code: '42501' });
      await db.sql('UPDATE kiff.tenants SET log_public = false WHERE id = $1', [tenant.id]);
    });

    it('lets no other login ask', async () => {
      for (const login of [
        'kiff_custody',
        'kiff_webhooks',
        'kiff_anchoring',
        'kiff_keyadmin',
        'kiff_operator',
      ] as const) {
        const client = await db.connect(db.urls[login]);
        for (const question of questions(tenant.id)) await assert.rejects(client.query(question), { code: '42501' });
      }
      const own = await db.connect(tenant.custodyUrl);
      for (const question of questions(tenant.id)) await assert.rejects(own.query(question), { code: '42501' });
    });
  });

  describe('that a tenant makes public', () => {
    let admin: string;
    let organisation: string;
    before(async () => {
      organisation = await db.createOrganisation(tenant);
      admin = sessionToken({ organisation });
      await db.sql('SELECT kiff.publish_registry($1, 7)', [Buffer.alloc(32, 1)]);
      await db.sql('SELECT kiff.publish_checkpoint_key($1)', [Buffer.alloc(32, 2)]);
    });
    const set = (isPublic: boolean, credential = admin): Promise<Answer> =>
      api.call('PUT', '/v1/logs/public', credential, { public: isPublic });

    it('is made so by an admin with a second factor, and by no key', async () => {
      assertProblem(await set(true, tenant.apiKey), 403, 'missing-scope');
      assertProblem(await set(true, sessionToken({ organisation, factors: [0, -1] })), 403, 'second-factor-required');
      const reader = sessionToken({ organisation, permissions: ['org:records:read', 'org:keys:manage'] });
      assertProblem(await set(true, reader), 403, 'missing-permission');
      assert.deepEqual(await policyOrigins(), []);
      assert.equal((await api.get('/v1/logs', tenant.apiKey)).json.public, false);
      for (const _ of [1, 2]) assert.deepEqual((await set(true)).json, { public: true });
      assert.equal((await api.get('/v1/logs', tenant.apiKey)).json.public, true);
      time += 5_000;
    });

    it('is read by anybody: everything that is published, marked as everybody’s to keep', async () => {
      for (const end of [
        'checkpoint',
        'checkpoint/1',
        'tile/0/000',
        'tile/entries/000',
        'proof/inclusion?leaf=0&size=2',
      ]) {
        const found = await anonymously(end);
        assert.equal(found.status, 200, end);
        assert.match(found.headers.get('cache-control') ?? '', /^public, max-age=/);
        assert.equal(found.headers.get('vary'), 'Authorization');
        assert.equal(found.text, (await at(end)).text);
        assert.equal((await at(end, other.apiKey)).status, 200);
      }
      assertProblem(await anonymously('tile/0/001'), 404, 'not-found');
    });

    it('holds no content: what is served has ids, times, keys and commitments, and no other route opens', async () => {
      const { text } = await anonymously('tile/entries/000');
      assert.ok(text.includes('"id":"r-9"') && text.includes('"commitment":"'));
      assert.ok(!text.includes('entity_id') && !text.includes('order-1'), 'which every record here holds');
      for (const path of ['/v1/records/r-9', '/v1/records/r-9/receipt', '/v1/seals', '/v1/logs'])
        assertProblem(await api.get(path), 401, 'unauthorized');
    });

    it('stands in everybody’s policy', async () => {
      assert.deepEqual(await policyOrigins(), [tenant.origin]);
      assert.deepEqual(await policyOrigins(tenant.apiKey), [tenant.origin]);
      assert.deepEqual(await policyOrigins(other.apiKey), [other.origin, tenant.origin]);
    });

    it('is slowed down, and at last refused, when strangers ask without end; the tenant is served all the same', async () => {
      const asked = await Promise.all(Array.from({ length: 800 }, () => anonymously('checkpoint')));
      const refused = asked.filter(({ status }) => status === 429);
      assert.equal(asked.filter(({ status }) => status === 200).length + refused.length, 800);
      assert.ok(refused.length > 50, `${refused.length} refused`);
      assertProblem(refused[0]!, 429, 'rate-limited');
      assert.deepEqual(refused[0]!.json['violated-policies'], ['public-log']);
      assert.ok(Number(refused[0]!.headers.get('retry-after')) >= 1);
      assert.equal((await at('checkpoint')).status, 200);
      assert.equal((await api.get('/v1/records/r-9', tenant.apiKey)).status, 200);
      time += 20_000;
    }).timeout(30_000);

    it('is closed at once when that is taken back, by the database itself', async () => {
      assert.equal((await anonymously('checkpoint')).status, 200);
      admin = sessionToken({ organisation });
      assert.deepEqual((await set(false)).json, { public: false });
      // The list of public logs is still believed here, and nothing comes of it.
      assertProblem(await anonymously('checkpoint'), 404, 'not-found');
      time += 5_000;
      assertProblem(await anonymously('checkpoint'), 401, 'unauthorized');
      assert.deepEqual(await policyOrigins(), []);
      const { json } = await api.get('/v1/audit', admin);
      const told = json.events.filter(({ kind }: { kind: string }) => kind.startsWith('log.'));
      assert.deepEqual(
        told.map(({ kind }: { kind: string }) => kind),
        ['log.published', 'log.withdrawn'],
      );
      assert.match(told[0].detail.by, /^user_/);
    });
  });

  describe('whatever happens behind it', () => {
    it('an entry that is not what was sealed never leaves, since caches would keep it (control)', async () => {
      const [row] = await db.sql<{ entry: Buffer }>(`SELECT entry FROM ${tenant.role}.records WHERE leaf_index = 5`);
      const altered = Buffer.from(row!.entry.toString().replace('"id":"r-', '"id":"R-'));
      const put = (entry: Buffer): Promise<unknown> =>
        db.sql(`UPDATE ${tenant.role}.records SET entry = $1, leaf_hash = $2 WHERE leaf_index = 5`, [
          entry,
          createHash('sha256')
            .update(Buffer.concat([Buffer.of(0), entry]))
            .digest(),
        ]);
      await put(altered);
      assertProblem(await at('tile/entries/000'), 500, 'log-damaged');
      await put(row!.entry);
      assert.equal((await at('tile/entries/000')).status, 200);
    });

    it('does not become shorter when a succession voids what the old signer signed: the operator’s checkpoints stay', async () => {
      const before = (await at('checkpoint')).text;
      const { seal } = parsePublishedCheckpoint(before, tenant);
      const hash = Buffer.alloc(32, 7);
      await db.sql(
        `INSERT INTO kiff.handovers (tenant, log_id, handover_hash, epoch_to, from_signer, to_signer, custody, not_before,
                                     expires_at, nonce, accepted_level, accepted_tx, accepted_block, accepted_block_hash,
                                     accepted_log_index, accepted_seq, accepted_hash)
         SELECT tenant, log_id, $2, 1, genesis_signer, $3, 3, 0, 1, $2, 'final', $2, 1, $2, 1, 2, $2 FROM kiff.logs WHERE tenant = $1`,
        [tenant.id, hash, Buffer.alloc(20, 9)],
      );
      await db.sql('SELECT kiff.cut_over(log_id, $2) FROM kiff.logs WHERE tenant = $1', [tenant.id, hash]);
      const after = (await at('checkpoint')).text;
      assert.ok(before.startsWith(after) && seal !== undefined, 'the same note');
      assert.equal(parsePublishedCheckpoint(after, tenant).seal, undefined, 'without the seal that is void');
      assert.equal(
        parsePublishedCheckpoint((await at('checkpoint/2')).text, tenant).seal?.seq,
        2,
        'what was accepted stays',
      );
    });
  });

  /** The bytes of something that is there. */
  async function bytesOf(end: string): Promise<Uint8Array> {
    const response = await fetch(`${api.url}/t/${tenant.id}/${end}`, {
      headers: { authorization: `Bearer ${tenant.apiKey}` },
    });
    assert.equal(response.status, 200, end);
    return new Uint8Array(await response.arrayBuffer());
  }
});
