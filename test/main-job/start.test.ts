/** `npm start` itself, as a newcomer runs it: the first receipt, a second start that continues, and how it ends. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { verifyWithCli } from '../../dev/demo.ts';
import { processBirth } from '../../dev/process-identity.ts';
import { packageRoot } from '../../dev/root.ts';
import { verifyReceipt } from '../../protocol/index.ts';
import { until } from './client.ts';

const PERIOD_SECONDS = 5;

interface Run {
  /** What it has printed so far. */
  output(): string;
  pid: number;
  ended: Promise<{ code: number | null }>;
}

describe('npm start', function () {
  this.timeout(180_000);
  let state: string;
  const running = new Set<Run>();

  before(() => {
    state = mkdtempSync(join(tmpdir(), 'kiff-cloud-start-'));
    chmodSync(state, 0o755);
  });

  after(async () => {
    for (const run of running) process.kill(run.pid, 'SIGTERM');
    await Promise.all([...running].map((run) => run.ended));
    rmSync(state, { recursive: true, force: true });
  });

  function start(args: string[], environment: Record<string, string> = {}): Run {
    const child = spawn(process.execPath, [join(packageRoot, 'dist/dev/start.js'), ...args], {
      env: { ...process.env, KIFF_STATE_DIR: state, KIFF_PERIOD_SECONDS: String(PERIOD_SECONDS), ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text));
    assert.ok(child.pid);
    const run: Run = {
      output: () => output,
      pid: child.pid,
      ended: once(child, 'close').then(([code]) => {
        running.delete(run);
        return { code: code as number | null };
      }),
    };
    running.add(run);
    return run;
  }

  const read = (name: string): unknown => JSON.parse(readFileSync(join(state, name), 'utf8'));

  /** Every process that the run named, and those that left a pid file. */
  function assertNothingRuns(output: string): void {
    const pids = [...output.matchAll(/process (\d+)/g)].map((match) => Number(match[1]));
    assert.ok(pids.length >= 5);
    for (const pid of pids) assert.equal(processBirth(pid), undefined, `process ${pid} still runs`);
    for (const name of ['anvil.json.pid', 'temporal.db.pid', 'kms.pid', 'start.pid']) {
      assert.ok(!existsSync(join(state, name)), `${name} was left behind`);
    }
  }

  it('--once ends with a verified receipt, and leaves what a tool needs', async () => {
    const run = start(['--once']);
    const { code } = await run.ended;
    assert.equal(code, 0, run.output());
    assert.match(run.output(), /Verified: every check held/);
    assertNothingRuns(run.output());

    assert.equal(statSync(join(state, 'dev.json')).mode & 0o777, 0o600);
    const dev = read('dev.json') as Record<string, unknown> & { tenants: Record<string, unknown>[] };
    for (const name of [
      'apiUrl',
      'temporalAddress',
      'temporalNamespace',
      'temporalUiUrl',
      'rpcUrl',
      'contract',
      'databaseUrl',
      'kmsUrl',
    ]) {
      assert.equal(typeof dev[name], 'string', name);
    }
    assert.equal(dev['chainId'], 31337);
    assert.deepEqual(Object.keys(dev.tenants[0] ?? {}).toSorted(), ['apiKey', 'genesisSigner', 'id', 'origin']);

    // Offline, with nothing of ours running any more.
    const verification = await verifyReceipt(read('demo/receipt.json'), read('policy.json'), { offline: true });
    assert.ok(verification.ok);
  });

  it('a second start continues the same log, verifies against the chain, and ends cleanly on a double Ctrl-C', async () => {
    const before = read('demo/receipt.json') as { leafIndex: number; seal: { seq: number; logId: string } };
    const run = start([]);
    await until('the second receipt', async () => (run.output().includes('until Ctrl-C') ? true : undefined), 120_000);
    assert.match(run.output(), /catching up \d+ periods/);
    const receipt = read('demo/receipt.json') as typeof before & { seal: { root: string } };
    assert.equal(receipt.seal.logId, before.seal.logId);
    assert.ok(receipt.leafIndex > before.leafIndex && receipt.seal.seq > before.seal.seq);

    const { rpcUrl } = read('dev.json') as { rpcUrl: string };
    const policy = join(state, 'policy.json');
    const verify = async (file: unknown, rpc: string) => {
      writeFileSync(join(state, 'demo/changed.json'), JSON.stringify(file));
      return verifyWithCli([join(state, 'demo/changed.json'), '--policy', policy, '--rpc', rpc]);
    };
    assert.equal((await verify(receipt, rpcUrl)).code, 0);
    const forged = { ...receipt, anchor: { ...(receipt as { anchor?: object }).anchor, logIndex: 7_777 } };
    const refused = await verify(forged, rpcUrl);
    assert.equal(refused.code, 1);
    assert.match(refused.output, /✗ anchor/);
    assert.equal((await verify(receipt, 'http://127.0.0.1:9')).code, 3);

    const second = start([]);
    assert.equal((await second.ended).code, 1, 'one stack on one state folder');
    assert.match(second.output(), /runs on .* already/);

    process.kill(run.pid, 'SIGINT');
    process.kill(run.pid, 'SIGINT');
    assert.equal((await run.ended).code, 0, run.output());
    assertNothingRuns(run.output());
  });

  it('a part that does not come up is named, and the exit code says so', async () => {
    const run = start(['--once'], { BASE_RPC_URL: 'http://127.0.0.1:9' });
    assert.equal((await run.ended).code, 1);
    assert.match(run.output(), /FAILED {2}Base devnet: /);
    for (const name of ['temporal.db.pid', 'kms.pid', 'start.pid']) assert.ok(!existsSync(join(state, name)));
  });

  it('lists every problem of its configuration at once', async () => {
    const run = start([], { BASE_RPC_URL: 'nowhere', KIFF_PERIOD_SECONDS: 'short', KIFF_HOST: 'Not A Host' });
    assert.equal((await run.ended).code, 1);
    for (const name of ['BASE_RPC_URL', 'KIFF_PERIOD_SECONDS', 'KIFF_HOST'])
      assert.match(run.output(), new RegExp(`${name}: `));
  });
});
