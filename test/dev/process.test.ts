import assert from 'node:assert/strict';
import { once } from 'node:events';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from '../../dev/ports.ts';
import { processBirth } from '../../dev/process-identity.ts';
import { startProcess, stopLeftover, type ProcessOptions } from '../../dev/process.ts';

describe('dev/process', () => {
  let directory: string;
  let running: { stop(graceMs?: number): Promise<unknown> }[];

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'kiff-cloud-process-'));
    running = [];
  });

  afterEach(async () => {
    await Promise.all(running.map((each) => each.stop(0)));
    rmSync(directory, { recursive: true, force: true });
  });

  /** A Node program that runs until it is stopped, unless `source` says otherwise. */
  function program(source: string): string {
    const entry = join(directory, 'program.mjs');
    writeFileSync(entry, `setInterval(() => {}, 1000);\n${source}\n`);
    return entry;
  }

  async function start(source: string, options: Partial<ProcessOptions> = {}) {
    const entry = program(source);
    const logFile = join(directory, 'program.log');
    const started = await startProcess({ name: 'program', entry, env: {}, logFile, ready: /^ready$/m, ...options });
    running.push(started);
    return started;
  }

  it('gives a process exactly the environment that is named', async () => {
    process.env['KIFF_TEST_SECRET'] = 'of the supervisor';
    try {
      const { pid } = await start(`console.log(JSON.stringify(process.env)); console.log('ready');`, {
        env: { ONLY: 'this' },
      });
      const [said] = readFileSync(join(directory, 'program.log'), 'utf8').split('\n');
      const { __CF_USER_TEXT_ENCODING: _, ...env } = JSON.parse(said ?? '') as Record<string, string>; // macOS adds it
      assert.deepEqual(env, { ONLY: 'this' });
      if (process.platform === 'linux') assert.equal(readFileSync(`/proc/${pid}/environ`, 'utf8'), 'ONLY=this\0');
    } finally {
      delete process.env['KIFF_TEST_SECRET'];
    }
  });

  it('waits for a pattern, a URL or a question', async () => {
    await start(`setTimeout(() => console.log('ready'), 100)`);
    const port = await freePort();
    await start(
      `import { createServer } from 'node:http'; createServer((_, res) => res.end()).listen(${port}, '127.0.0.1')`,
      {
        ready: `http://127.0.0.1:${port}/healthz`,
      },
    );
    assert.equal((await fetch(`http://127.0.0.1:${port}/`)).status, 200);
    let asked = 0;
    await start('', { ready: async () => ++asked === 3 });
    assert.equal(asked, 3);
  });

  it('says why a process did not start, with the end of its log', async () => {
    await assert.rejects(start(`console.log('almost'); throw new Error('no database');`), /exit code 1[^]*no database/);
  });

  it('ends a process that never becomes ready', async () => {
    const said = await start(`console.log('pid ' + process.pid)`, { readyTimeoutMs: 500 }).then(
      () => assert.fail('it was never ready'),
      (error: Error) => error.message,
    );
    assert.match(said, /was not ready after 0.5 s/);
    assert.equal(processBirth(Number(/pid (\d+)/.exec(said)?.[1])), undefined);
  });

  it('stops gently first, then by force, with everything that the process started', async () => {
    const gentle = await start(`process.on('SIGTERM', () => process.exit(7)); console.log('ready');`);
    assert.deepEqual(await gentle.stop(), { code: 7, signal: null });
    assert.deepEqual(await gentle.stop(), { code: 7, signal: null }, 'repeatable');

    const stubborn = await start(`
      import { spawn } from 'node:child_process';
      process.on('SIGTERM', () => {});
      console.log('child ' + spawn(process.execPath, ['-e', 'process.on("SIGTERM",()=>{});setInterval(()=>{},1000)']).pid);
      console.log('ready');`);
    const child = Number(/child (\d+)/.exec(stubborn.logTail())?.[1]);
    assert.notEqual(processBirth(child), undefined);
    assert.deepEqual(await stubborn.stop(100), { code: null, signal: 'SIGKILL' });
    await gone(child);
  });

  it('ends, at the next start, the process that a killed supervisor left', async () => {
    const pidFile = join(directory, 'program.pid');
    const left = await start(`console.log('ready')`, { pidFile });
    const kept = readFileSync(pidFile, 'utf8');
    await stopLeftover(pidFile);
    assert.deepEqual(await left.exited, { code: null, signal: 'SIGTERM' });
    assert.equal(existsSync(pidFile), false);

    // The same number with another birth is somebody else.
    const other = await start(`console.log('ready')`);
    writeFileSync(pidFile, JSON.stringify({ ...(JSON.parse(kept) as object), pid: other.pid }));
    await stopLeftover(pidFile);
    assert.notEqual(processBirth(other.pid), undefined);
  });

  it('leaves nothing running when the supervisor dies of an error', async () => {
    const entry = program(`console.log('ready');`);
    const supervisor = join(directory, 'supervisor.mjs');
    writeFileSync(
      supervisor,
      `import { startProcess } from ${JSON.stringify(new URL('../../dev/process.js', import.meta.url).href)};
       const options = { name: 'p', entry: ${JSON.stringify(entry)}, env: {}, logFile: ${JSON.stringify(join(directory, 'p.log'))}, ready: /ready/ };
       const { pid } = await startProcess(options);
       console.log(pid);
       setTimeout(() => { throw new Error('a bug'); }, 10);`,
    );
    const { status, stdout } = spawnSync(process.execPath, [supervisor], { encoding: 'utf8' });
    assert.equal(status, 1);
    await gone(Number(stdout));
  });

  it('does not take a zombie for a running process', async function () {
    if (process.platform !== 'linux') this.skip();
    // The shell starts a child and then becomes a program that never collects it.
    const parent = spawn('sh', ['-c', 'sleep 0.01 & echo $!; exec sleep 30'], { stdio: ['ignore', 'pipe', 'ignore'] });
    try {
      const [said] = (await once(parent.stdout, 'data')) as [Buffer];
      await gone(Number(said.toString()));
      assert.equal(existsSync(`/proc/${said.toString().trim()}`), true, 'the zombie is still there');
      assert.notEqual(processBirth(parent.pid ?? 0), undefined, 'a process that sleeps runs');
    } finally {
      parent.kill('SIGKILL');
    }
  });
});

async function gone(pid: number): Promise<void> {
  assert.ok(pid > 1);
  while (processBirth(pid) !== undefined) await delay(10);
}
