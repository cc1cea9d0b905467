/**
 * `npm start` itself, as a newcomer runs it: the first receipt, a second start that continues, and how it ends. One file,
 * because a start is slow: most cases go on with the state folder that the one before has left.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { startAnvil } from '../../dev/anvil.ts';
import { untilFinal, verifyWithCli } from '../../dev/demo.ts';
import { removePostgres, startPostgres } from '../../dev/postgres.ts';
import { processBirth } from '../../dev/process-identity.ts';
import { PROCESSES } from '../../dev/processes.ts';
import { packageRoot } from '../../dev/root.ts';
import { startTemporal } from '../../dev/temporal.ts';
import { temporalBinary } from '../../dev/temporal-binary.ts';
import type { LocalTenant } from '../../dev/tenant.ts';
import { parsePolicy, verifyReceipt } from '../../protocol/index.ts';
import { SEARCH_ATTRIBUTES } from '../../workflows/attributes.ts';
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
  let root: string;
  let state: string;
  const running = new Set<Run>();

  before(() => {
    root = mkdtempSync(join(tmpdir(), 'kiff-cloud-start-'));
    chmodSync(root, 0o755); // PostgreSQL runs as another user when we are root
    state = join(root, 'state');
  });

  after(async () => {
    for (const run of running) process.kill(run.pid, 'SIGTERM');
    await Promise.all([...running].map((run) => run.ended));
    for (const name of readdirSync(root)) await removePostgres(join(root, name, 'postgres'));
    rmSync(root, { recursive: true, force: true });
  });

  function start(args: string[], environment: NodeJS.ProcessEnv = {}): Run {
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
  const untilOutput = (run: Run, pattern: RegExp): Promise<true> =>
    until(
      `${pattern} in the output`,
      async () => {
        if (pattern.test(run.output())) return true;
        assert.ok(running.has(run), `it ended:\n${run.output()}`);
        return undefined;
      },
      120_000,
    );

  /** Every process that the run named, and those that left a pid file. */
  function assertNothingRuns(output: string): void {
    const pids = ownPids(output);
    assert.ok(pids.length >= 5);
    for (const pid of pids) assert.equal(processBirth(pid), undefined, `process ${pid} still runs`);
    assertNothingRunsOn(state);
  }

  function postmaster(): number {
    return Number(readFileSync(join(state, 'postgres', 'postmaster.pid'), 'utf8').split('\n', 1)[0]);
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

    // The policy is what the API hands out: what the workers found out about the contract and the operator's key is in it.
    const { address, codeHash, fromBlock } = read('contract.json') as Record<string, unknown>;
    const { registry, logs } = parsePolicy(read('policy.json'));
    assert.deepEqual(registry, {
      chainId: 31337,
      contract: address,
      codeHash,
      fromBlock,
      periodSeconds: PERIOD_SECONDS,
    });
    assert.match(run.output(), /✓ signature +signed with the key 0x/);
    assert.equal(logs[0]?.checkpointKeys?.length, 1);
    assert.ok(verification.proved.includes('The operator signed the same size and root (checkpoint).'));
  });

  it('a second start continues the same log, verifies against the chain, and ends cleanly on a double Ctrl-C', async () => {
    const before = read('demo/receipt.json') as { leafIndex: number; seal: { seq: number; logId: string } };
    // As a tool would that made a tenant of its own.
    const dev = read('dev.json') as { tenants: LocalTenant[] };
    const other: LocalTenant = { ...dev.tenants[0]!, id: 'other', origin: 'kiff.dev/other' };
    writeFileSync(join(state, 'dev.json'), JSON.stringify({ ...dev, tenants: [...dev.tenants, other] }));

    await delay(2 * PERIOD_SECONDS * 1_000); // one period at least begins and ends with nobody there
    const run = start([]);
    await untilOutput(run, /until Ctrl-C/);
    assert.match(run.output(), /catching up \d+ periods/);
    assert.deepEqual((read('dev.json') as typeof dev).tenants, [...dev.tenants, other]);
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
    assertNothingRunsOn(state);
  });

  it('--fresh ends what a killed start left and begins anew; a PostgreSQL that dies is named', async () => {
    const policy = () => (read('policy.json') as { logs: { genesisSigner: string }[] }).logs[0]!;
    const earlier = policy();
    const killed = start([]);
    await until(
      'all processes',
      async () => (ownPids(killed.output()).length === PROCESSES.length ? true : undefined),
      60_000,
    );
    process.kill(killed.pid, 'SIGKILL');
    await killed.ended;
    const pidFiles = readdirSync(state).filter((name) => name.endsWith('.pid') && name !== 'start.pid');
    const left = [postmaster(), ...pidFiles.map((name) => (read(name) as { pid: number }).pid)];
    assert.equal(left.length, 1 + 3 + PROCESSES.length);
    const births = left.map((pid) => processBirth(pid));
    assert.ok(!births.includes(undefined), 'control: they outlive it');

    const run = start(['--fresh']);
    await untilOutput(run, /until Ctrl-C/);
    for (const [index, pid] of left.entries()) assert.notEqual(processBirth(pid), births[index]);
    assert.notEqual(policy().genesisSigner, earlier.genesisSigner);
    assert.equal((read('demo/receipt.json') as { leafIndex: number }).leafIndex, 299, '300 records, from leaf 0');
    assert.equal((read('dev.json') as { tenants: unknown[] }).tenants.length, 1);

    process.kill(postmaster(), 'SIGKILL');
    assert.equal((await run.ended).code, 1);
    assert.match(run.output(), /FAILED {2}PostgreSQL ended by itself/);
    assertNothingRuns(run.output());
  });

  it('--fresh leaves a folder alone that is none of its own', async () => {
    const folder = join(root, 'letters');
    mkdirSync(folder, { mode: 0o700 });
    writeFileSync(join(folder, 'secrets.txt'), 'mine');
    const run = start(['--fresh'], { KIFF_STATE_DIR: folder });
    assert.equal((await run.ended).code, 1);
    assert.match(run.output(), /does not look like a state folder/);
    assert.deepEqual(readdirSync(folder), ['secrets.txt']);
    assert.equal(readFileSync(join(folder, 'secrets.txt'), 'utf8'), 'mine');
    assert.equal(statSync(folder).mode & 0o777, 0o700);
  });

  it('Ctrl-C ends a start that has just begun', async () => {
    const fresh = join(root, 'begun');
    const run = start(['--fresh'], { KIFF_STATE_DIR: fresh }); // on a folder that is not there yet
    await untilOutput(run, /\n/);
    process.kill(run.pid, 'SIGINT');
    assert.equal((await run.ended).code, 130, run.output());
    assert.doesNotMatch(run.output(), /FAILED/);
    assertNothingRunsOn(fresh);
  });

  it('Ctrl-C ends a start whose Temporal server is being built, with its compilers', async () => {
    const fresh = join(root, 'building');
    const bin = join(root, 'bin');
    const compiler = join(bin, 'compiler.pid');
    mkdirSync(bin);
    const go = `#!/bin/sh\n[ "$1" = version ] && exit 0\nsleep 600 &\necho $! >'${compiler}.new'\nmv '${compiler}.new' '${compiler}'\nwait\n`;
    writeFileSync(join(bin, 'go'), go, { mode: 0o755 });
    const path = (process.env['PATH'] ?? '').split(delimiter).filter((each) => !existsSync(join(each, 'temporal')));
    const run = start([], {
      KIFF_STATE_DIR: fresh,
      TEMPORAL_ADDRESS: undefined,
      XDG_CACHE_HOME: join(root, 'cache'),
      HTTPS_PROXY: 'http://127.0.0.1:9', // no download instead
      PATH: [bin, ...path].join(delimiter),
    });
    await until('the build', async () => (existsSync(compiler) ? true : undefined));
    await untilOutput(run, /PostgreSQL +ready/);
    assert.ok(process.platform !== 'linux' || processesOn(fresh).length > 1, 'control: they are found');
    const pid = Number(readFileSync(compiler, 'utf8'));
    assert.ok(processBirth(pid));
    process.kill(run.pid, 'SIGINT');
    assert.equal((await run.ended).code, 130, run.output());
    assert.equal(processBirth(pid), undefined);
    assert.deepEqual(readdirSync(join(root, 'cache/kiff-cloud/temporal')), []);
    assertNothingRunsOn(fresh);
  });

  it('embedded parts yield to real ones, which are left running', async () => {
    const dataDir = join(root, 'real/postgres');
    const binary = await temporalBinary({ onProgress: () => undefined });
    const logs = join(root, 'real/logs');
    const parts = await Promise.all([
      startPostgres({ dataDir, durable: false }),
      startAnvil({ blockTime: 1, logFile: join(logs, 'anvil.log') }),
      startTemporal({ binary, searchAttributes: SEARCH_ATTRIBUTES, logFile: join(logs, 'temporal.log') }),
    ]);
    const [postgres, anvil, temporal] = parts;
    try {
      const own = join(root, 'own');
      const run = start(['--once'], {
        KIFF_STATE_DIR: own,
        DATABASE_URL: postgres.superuserUrl,
        BASE_RPC_URL: anvil.rpcUrl,
        TEMPORAL_ADDRESS: temporal.address,
      });
      assert.equal((await run.ended).code, 0, run.output());
      assert.match(run.output(), /Verified: every check held/);
      const made = readdirSync(own);
      for (const name of ['postgres', 'anvil.json', 'temporal.db']) assert.ok(!made.includes(name), name);
      assert.ok(made.includes('kms.json'), 'control: what is not given is embedded');
      assertNothingRunsOn(own);

      for (const { pid } of [anvil, temporal]) assert.ok(processBirth(pid));
      const client = new pg.Client({ connectionString: new URL('/kiff', postgres.superuserUrl).href });
      await client.connect();
      const { rows } = await client.query('SELECT id FROM kiff.tenants');
      await client.end();
      assert.deepEqual(rows, [{ id: 'demo' }]);
    } finally {
      await Promise.all(parts.map((each) => each.stop()));
    }
  });

  it('an API that refuses ends the wait for the seal, with its answer', async () => {
    const api = createServer((_, response) => response.writeHead(503).end('{"error":"unavailable"}'));
    api.listen(0, '127.0.0.1');
    await once(api, 'listening');
    const lines: string[] = [];
    const tenant: LocalTenant = { id: 'demo', origin: 'kiff.dev/demo', genesisSigner: '0x', apiKey: 'key' };
    const waiting = { periodSeconds: 3600, deadlineMs: 60_000, stopped: new AbortController().signal };
    try {
      await assert.rejects(
        untilFinal(
          `http://127.0.0.1:${(api.address() as AddressInfo).port}`,
          tenant,
          { id: 'r1', receivedAt: new Date().toISOString() },
          { ...waiting, write: (line) => void lines.push(line) },
        ),
        /seal: the API answered 503: {"error":"unavailable"}/,
      );
    } finally {
      api.close();
    }
    assert.equal(lines.length, 1);
    assert.match(lines[0]!, /seal +FAILED/);
  });

  it('lists every problem of its configuration at once', async () => {
    const run = start([], { BASE_RPC_URL: 'nowhere', KIFF_PERIOD_SECONDS: 'short', KIFF_HOST: 'Not A Host' });
    assert.equal((await run.ended).code, 1);
    for (const name of ['BASE_RPC_URL', 'KIFF_PERIOD_SECONDS', 'KIFF_HOST'])
      assert.match(run.output(), new RegExp(`${name}: `));
  });
});

/** Processes that have a folder in their command or environment, ours aside; known on Linux only. */
function processesOn(directory: string): string[] {
  if (process.platform !== 'linux') return [];
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
  return pids.filter((pid) =>
    ['cmdline', 'environ'].some((name) => {
      try {
        return readFileSync(join('/proc', pid, name), 'utf8').includes(directory);
      } catch {
        return false; // it has ended, or is another user's
      }
    }),
  );
}

function assertNothingRunsOn(directory: string): void {
  const left = readdirSync(directory).filter((name) => name.endsWith('.pid'));
  assert.deepEqual(left, []);
  assert.deepEqual(processesOn(directory), []);
}

/** Our own processes, as a start names them. */
function ownPids(output: string): number[] {
  return [...output.matchAll(/process (\d+)/g)].map((match) => Number(match[1]));
}
