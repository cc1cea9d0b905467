/**
 * KIFF's own guard SDK for Python, as its users install it, against this API. It is no dependency of ours: where there is no
 * Python, or the package cannot be had, this is skipped; kiff-clients.test.ts replays what it sends in any case.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, renameSync, rmSync, writeFileSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cacheDirectory } from '../../dev/cache.ts';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { startIngestApi, type IngestApi } from './ingest-api.ts';

const run = promisify(execFile);

const VERSION = '1.7.0';
const SHA256 = '83993e2849a7c535fefc5673711ccc58ce55f60e1d8153c4d62a6e71fc38d649';
const WHEEL = `kiff_guard-${VERSION}-py3-none-any.whl`;

/** The wheel's file; Python imports from it as it is. @throws when it cannot be had here */
async function wheel(): Promise<string> {
  await run('python3', ['--version']);
  const cache = cacheDirectory('kiff-guard');
  const file = join(cache, WHEEL);
  if (existsSync(file)) return file;
  const directory = mkdtempSync(join(cache, 'download-'));
  try {
    writeFileSync(join(directory, 'wanted.txt'), `kiff-guard==${VERSION} --hash=sha256:${SHA256}\n`);
    const download = ['download', '--quiet', '--no-deps', '--only-binary=:all:', '--require-hashes'];
    await run('python3', ['-m', 'pip', ...download, '-r', 'wanted.txt', '-d', '.'], {
      cwd: directory,
      timeout: 60_000,
    });
    renameSync(join(directory, WHEEL), file);
    return file;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** A user's program: what it learns, it prints as JSON. */
const PROGRAM = `
import json, os
from kiff_guard import Guard, Hold, HTTPClient, ToolMap

tools = ToolMap().bind("refund_order", action="REFUND_ORDER", entity_type="Order", entity_arg="order_id")
client = HTTPClient(api_key=os.environ["KEY"], tool_map=tools, base_url=os.environ["URL"])
said = {}

watching = Guard(client=client, mode="observe")
connection = watching.connect("agno", project="shop", sdk_version="${VERSION}")
said["connection"] = vars(connection)
said["agent"] = watching.agent
watching.evaluate("refund_order", {"order_id": "o1"}, lambda: None)
said["observed"] = [vars(tool) for tool in watching.observe_push("agno", project="shop").tools]
try:
    watching.save_draft("refunds")
except ConnectionError as refusal:
    said["draft"] = str(refusal)

ran = []
holding = Guard(client=client, agent="support", mode="enforce")
try:
    holding.evaluate("refund_order", {"order_id": "o1", "amount": 5}, lambda: ran.append(1))
except Hold as hold:
    said["held"] = [hold.decision.outcome, hold.decision.reason]
said["ran"] = len(ran)

stranger = HTTPClient(api_key="kiff_live_acme_x", tool_map=tools, base_url=os.environ["URL"])
decision = stranger.decide("", "support", "refund_order", {"order_id": "o1"})
said["stranger"] = [decision.allowed, decision.outcome]
try:
    stranger.connect_guard(agent_id="a", adapter="agno", mode="observe")
except ConnectionError as refusal:
    said["refused"] = str(refusal)
print(json.dumps(said))
`;

describe('the guard SDK of KIFF for Python', function () {
  this.timeout(90_000);
  let db: ProductDatabase;
  let api: IngestApi;
  let tenant: TestTenant;
  let path: string;

  before(async function () {
    try {
      path = await wheel();
    } catch (error) {
      console.log(`    (not run: ${(error as Error).message.split('\n')[0]})`);
      this.skip();
    }
    db = await createProductDatabase();
    api = await startIngestApi(db);
    tenant = await db.createTenant();
  });
  after(async () => {
    if (api === undefined) return;
    await api.stop();
    await db.drop();
  });

  it('connects, reports what it saw, and holds what it asks about', async () => {
    const env = { PATH: process.env['PATH'], PYTHONPATH: path, KEY: tenant.apiKey, URL: api.url };
    const { stdout } = await run('python3', ['-c', PROGRAM], { env, timeout: 60_000 });
    const said = JSON.parse(stdout) as Record<string, any>;

    const { runtime_id, first_seen_at, last_seen_at, ...connection } = said['connection'];
    assert.deepEqual(connection, {
      tenant_id: tenant.id,
      project: 'shop',
      environment: 'dev',
      agent_id: tenant.keyId,
      workflow: 'default',
      adapter: 'agno',
      mode: 'observe',
      sdk_version: VERSION,
      seen_count: 1,
      heartbeat_interval: '60s',
    });
    assert.equal(said['agent'], tenant.keyId);
    assert.deepEqual([first_seen_at, runtime_id.length], [last_seen_at, 27]);
    assert.deepEqual(
      said['observed'].map((tool: Record<string, unknown>) => [
        tool['name'],
        tool['action'],
        tool['observed_call_count'],
      ]),
      [['refund_order', 'REFUND_ORDER', 1]],
    );
    assert.match(said['draft'], /^save draft failed: Domains belong to a KIFF runtime/);
    assert.equal(said['held'][0], 'invalid');
    assert.match(said['held'][1], /^Whether an action may run is decided by a KIFF runtime/);
    assert.equal(said['ran'], 0, 'the tool did not run');
    assert.deepEqual(said['stranger'], [false, 'invalid']);
    assert.match(said['refused'], /^guard connect failed: The API key is mistyped/);

    const [log] = await db.sql<{ size: number }>(`SELECT size FROM ${tenant.role}.log_head`);
    assert.equal(log?.size, 2, 'a connect and an observation');
  });
});
