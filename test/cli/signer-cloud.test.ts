/** `kiff signer` and our own cloud: a log passes to the program as tenants run it, by the real API and signing plane, and is sealed by it. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createSteps, type Steps } from '../activities/custody/steps.ts';
import { createPlane, failsAs, type Plane } from '../activities/plane.ts';
import { startIngestApi, type IngestApi } from '../api/ingest-api.ts';
import { createOwnSigner } from '../custody/own-signer.ts';
import { anvil } from '../parts.ts';
import type { TestTenant } from '../product-database.ts';
import { SIGNER } from './signer-agent.ts';
import { makeHome, type Home, type Line } from './signer-process.ts';

describe('kiff signer and the cloud', function () {
  this.timeout(120_000);
  let plane: Plane;
  let steps: Steps;
  let api: IngestApi;
  let of: Awaited<ReturnType<Steps['tenant']>>;
  let tenant: TestTenant;
  let home: Home;
  let signer: ChildProcess;
  let rpc: string;
  let key: string;
  const lines: Line[] = [];

  before(async () => {
    plane = await createPlane({ coolingOffSeconds: 1 });
    api = await startIngestApi(plane.database, { contract: plane.registry.address });
    steps = createSteps(plane);
    of = await steps.tenant();
    tenant = of.tenant;
    ({ key } = await plane.database.createKey(tenant, { scopes: ['signer'] }));
    const registry = { chainId: plane.database.chainId, contract: plane.registry.address, periodSeconds: 1 };
    const policy = {
      format: 'kiff.signer-policy/1',
      origin: tenant.origin,
      logId: tenant.logId,
      registry,
      signer: SIGNER,
      handOverTo: [],
    };
    home = makeHome({ url: api.url, policy }, key);
    rpc = (await anvil()).rpcUrl;
  });
  after(async () => {
    signer.kill('SIGKILL');
    home.remove();
    await api.stop();
    await plane.stop();
  });

  /** Resolves once it has asked the cloud for work. */
  async function start(): Promise<void> {
    signer = home.spawn(['--rpc', rpc]);
    let rest = '';
    signer.stdout!.setEncoding('utf8').on('data', (text: string) => {
      const parts = (rest + text).split('\n');
      rest = parts.pop() ?? '';
      lines.push(...parts.map((line) => JSON.parse(line) as Line));
    });
    while (!/"heard":"/.test((await home.run(['status'])).stdout));
  }
  const signed = (): string[] => lines.flatMap(({ event, kind }) => (event === 'signed' ? [kind ?? ''] : []));

  it('takes the log over, by everything that it verifies, and seals it', async () => {
    await start();
    const migration = await steps.begin(of, { custody: 3, signer: SIGNER });
    await steps.prove(migration);
    await steps.propose(migration);
    await steps.accept(migration);
    await steps.settle();
    assert.deepEqual(await steps.custody.learnSuccession({ tenantId: tenant.id }), { epoch: 1 });
    await steps.end(migration, 'completed');
    assert.deepEqual(signed(), ['proof', 'shadow', 'shadow', 'handover', 'accept']);
    const seq = await steps.seal(tenant);
    assert.equal(signed().at(-1), 'seal');
    assert.equal(await plane.level(tenant, seq), 'final');
    assert.equal((await steps.state(tenant)).signer, SIGNER);
    assert.deepEqual(
      lines.filter(({ event }) => event === 'refused' || event === 'held' || event === 'not-taken'),
      [],
    );
  });

  it('killed and started again, says which answer was thrown back while it was away (C8), and goes on where its journal and the chain are', async () => {
    signer.kill('SIGKILL');
    await once(signer, 'close');
    await plane.post(tenant, 1);
    await plane.collect(tenant);
    const away = async (): Promise<void> => {
      await plane.database.sql(
        `UPDATE kiff.signers_seen SET seen_at = seen_at - interval '1 minute' WHERE tenant = $1`,
        [tenant.id],
      );
      await assert.rejects(plane.sign(tenant), failsAs('signer-absent'));
    };
    await away();
    const stranger = createOwnSigner(api.url, key);
    const [asked] = await stranger.list();
    // Not by the API, which would not take it: by a database that somebody else writes to.
    const client = await plane.database.connect(tenant.url);
    await client.query(`INSERT INTO kiff.commands (kind, payload) VALUES ('signer.answer', $1)`, [
      { request: asked!.id, signature: await stranger.sign(asked!) },
    ]);
    await client.end();
    await away();
    await start();
    const seq = await steps.seal(tenant);
    assert.equal(await plane.level(tenant, seq), 'final');
    assert.deepEqual(
      lines.flatMap(({ event, word, kind }) => (event === 'answer-refused' ? [`${kind} ${word}`] : [])),
      ['seal wrong-signer'],
    );
    signer.kill('SIGTERM');
    assert.deepEqual(await once(signer, 'close'), [0, null]);
  });
});
