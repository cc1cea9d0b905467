/** `kiff export` from a real API and its database, and `kiff verify` of what came: whole, in parts, and after it broke off. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BundleHeader, BundleLine, Policy } from '../../protocol/index.ts';
import { recordText, startIngestApi, type IngestApi } from '../api/ingest-api.ts';
import { LogSealer, SIGNER } from '../api/seal-log.ts';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { bytesOf } from '../protocol/receipt-factory.ts';
import { kiff, type Ran } from './kiff-process.ts';

/** What a page holds at most. */
const PAGE = 1_000;

describe('cli: kiff export', function () {
  this.timeout(60_000);

  let db: ProductDatabase;
  let api: IngestApi;
  let tenant: TestTenant;
  let sealer: LogSealer;
  let folder: string;
  let policyFile: string;
  let lastSeq: number;
  /** In front of the API: counts what is asked, and answers in its place where a test says so. */
  let proxy: Server;
  let proxyUrl: string;
  let asked: string[] = [];
  let instead: ((nth: number, response: ServerResponse) => boolean) | undefined;

  const path = (name: string): string => join(folder, name);
  const run = (name: string, more: readonly string[] = [], key = tenant.apiKey): Promise<Ran> =>
    kiff(['export', '--api', proxyUrl, '-o', path(name), ...more], { env: { KIFF_API_KEY: key } });
  const verify = (name: string): Promise<Ran> =>
    kiff(['verify', path(name), '--policy', policyFile, '--offline', '--json']);
  const linesOf = (name: string): (BundleHeader | BundleLine)[] =>
    readFileSync(path(name), 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as BundleLine);

  async function post(from: number, count: number): Promise<void> {
    for (let at = from; at < from + count; at += PAGE) {
      const lines = Array.from({ length: Math.min(PAGE, from + count - at) }, (_, index) =>
        recordText(`r-${at + index}`),
      );
      assert.equal((await api.postLines(tenant.apiKey, lines.join('\n'))).status, 200);
    }
  }

  async function pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
    asked.push(request.url ?? '');
    if (instead?.(asked.length, response) === true) return;
    const answer = await fetch(api.url + (request.url ?? ''), {
      headers: { authorization: request.headers.authorization ?? '' },
    });
    const link = answer.headers.get('link');
    response.writeHead(answer.status, { ...(link !== null && { link }) });
    response.end(Buffer.from(await answer.arrayBuffer()));
  }

  before(async () => {
    db = await createProductDatabase({ periodSeconds: 1 });
    api = await startIngestApi(db);
    tenant = await db.createTenant({ genesisSigner: SIGNER, limits: { requests: null, records: null } });
    sealer = new LogSealer(db, tenant);
    await post(0, 2_500);
    await sealer.collect();
    await post(2_500, 3);
    await sealer.collect();
    await post(2_503, 400);
    lastSeq = await sealer.collect();
    for (let seq = 1; seq <= lastSeq; seq++) await sealer.hash(seq);
    await sealer.sign();
    await sealer.setLevel(lastSeq, 'final');
    // An erased record: what stays is its entry.
    await db.sql(`DELETE FROM ${tenant.role}.bodies WHERE leaf_index = 7`);

    folder = mkdtempSync(join(tmpdir(), 'kiff-export-'));
    policyFile = path('policy.json');
    const { chainId, contract } = db;
    const policy: Policy = {
      format: 'kiff.policy/1',
      registry: { chainId, contract, codeHash: bytesOf('code'), fromBlock: 0, periodSeconds: 1 },
      logs: [{ origin: tenant.origin, genesisSigner: SIGNER }],
      require: [],
    };
    writeFileSync(policyFile, JSON.stringify(policy));
    proxy = createServer((request, response) => void pass(request, response));
    proxy.listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    proxyUrl = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  });
  after(async () => {
    proxy.closeAllConnections();
    proxy.close();
    await sealer.close();
    await api.stop();
    await db.drop();
    rmSync(folder, { recursive: true });
  });
  beforeEach(() => {
    asked = [];
    instead = undefined;
  });

  it('writes the whole log, which verifies; records are withheld unless asked for', async () => {
    const { code, stdout, stderr } = await run('whole', ['--tenant', tenant.id]);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /2903 entries/);
    const verified = await verify('whole');
    assert.equal(verified.code, 0, verified.stdout);
    const report = JSON.parse(verified.stdout) as { seals: number; entries: number; disclosed: number };
    assert.deepEqual([report.seals, report.entries, report.disclosed], [lastSeq, 2_903, 0]);
  });

  it('with the records, of which the erased one is missing and verifies all the same', async () => {
    assert.equal((await run('records', ['--records'])).code, 0);
    const { code, stdout } = await verify('records');
    assert.equal(code, 0, stdout);
    assert.equal((JSON.parse(stdout) as { disclosed: number }).disclosed, 2_902);
    const entries = linesOf('records').filter((line) => 'entry' in line);
    assert.equal(entries[7]?.disclosure, null);
    assert.match(entries[8]?.disclosure?.body ?? '', /"id":"r-8"/);
  });

  it('any stretch of periods, from a base on', async () => {
    const seals = linesOf('whole').filter((line) => 'seal' in line);
    for (const [first, last] of [
      [1, 1],
      [2, lastSeq],
      [lastSeq, lastSeq],
    ] as const) {
      const name = `part-${first}-${last}`;
      const from = String(seals[first - 1]!.seal.period);
      const to = new Date(seals[last - 1]!.seal.period * 1000).toISOString();
      assert.equal((await run(name, ['--from', from, '--to', to])).code, 0);
      const { code, stdout } = await verify(name);
      assert.equal(code, 0, stdout);
      assert.equal((JSON.parse(stdout) as { seals: number }).seals, last - first + 1);
    }
  });

  it('goes on where it broke off, whatever was written, and asks for nothing twice', async () => {
    const whole = readFileSync(path('whole'));
    const pages = 4;
    for (const share of [0, 0.001, 0.2, 0.5, 0.77, 0.9999]) {
      writeFileSync(path('cut'), whole.subarray(0, Math.floor(whole.length * share)));
      asked = [];
      assert.equal((await run('cut')).code, 0);
      assert.deepEqual(readFileSync(path('cut')), whole, `after ${share}`);
      assert(asked.length <= Math.ceil((1 - share) * pages) + 1, `${asked.length} pages from ${share} on`);
    }
  });

  it('a complete one is left alone', async () => {
    assert.equal((await run('whole')).code, 0);
    assert.deepEqual(asked, []);
  });

  it('asks again when the service is busy, and ends when it refuses; the next call goes on', async () => {
    instead = (nth, response) => {
      if (nth % 2 === 0) return false;
      if (nth === 1) response.destroy();
      else response.writeHead(503, { 'retry-after': '0' }).end();
      return true;
    };
    const busy = await run('busy');
    assert.equal(busy.code, 0, busy.stderr);
    assert.deepEqual(readFileSync(path('busy')), readFileSync(path('whole')));

    asked = [];
    instead = (nth, response) => {
      if (nth < 2) return false;
      response.writeHead(403, { 'content-type': 'application/problem+json' }).end('{"detail":"No.\\u001b[2J"}');
      return true;
    };
    const refused = await run('refused');
    assert.deepEqual([refused.code, refused.stderr], [3, 'kiff export: the service refuses: 403: No.?[2J\n']);
    instead = undefined;
    asked = [];
    assert.equal((await run('refused')).code, 0);
    assert(asked.every((url) => url.includes('seq=')));
    assert.deepEqual(readFileSync(path('refused')), readFileSync(path('whole')));
  });

  it('refuses wrong keys, other tenants, other files and arguments, each with its code', async () => {
    assert.equal((await run('none', [], 'kiff_nobody')).code, 3);
    const ingestOnly = await db.createKey(tenant, { scopes: ['ingest'] });
    assert.equal((await run('none', [], ingestOnly.key)).code, 3);
    assert.match((await run('other', ['--tenant', 'somebody'])).stderr, /not somebody/);
    writeFileSync(path('letter'), 'Dear reader,\n');
    const letter = await run('letter');
    assert.deepEqual([letter.code, readFileSync(path('letter'), 'utf8')], [2, 'Dear reader,\n']);
    for (const more of [
      ['--from', 'yesterday'],
      ['--log', '0'],
      ['--from', '10', '--to', '9'],
      ['more'],
      ['--wrong'],
    ]) {
      assert.equal((await run('none', more)).code, 2, more.join(' '));
    }
    assert.equal(
      (await kiff(['export', '--api', proxyUrl, '-o', path('none')], { env: { KIFF_API_KEY: '' } })).code,
      2,
    );
  });

  it('a seal that is not final yet is in it only if asked for, and is named where it is in no block', async () => {
    await post(2_903, 5);
    const seq = await sealer.collect();
    for (let each = lastSeq + 1; each <= seq; each++) await sealer.hash(each);
    await sealer.sign();
    assert.equal((await run('final')).code, 0);
    assert.equal(linesOf('final').filter((line) => 'seal' in line).length, lastSeq);

    const to = String(Math.floor(Date.now() / 1000));
    assert.equal((await run('all', ['--to', to])).code, 0);
    const { code, stdout } = await verify('all');
    assert.equal(code, 1);
    const { findings } = JSON.parse(stdout) as { findings: { kind: string; seq: number | null }[] };
    assert.deepEqual(
      findings.filter(({ kind }) => kind === 'unanchored').map((finding) => finding.seq),
      Array.from({ length: seq - lastSeq }, (_, index) => lastSeq + 1 + index),
    );
  });
});
