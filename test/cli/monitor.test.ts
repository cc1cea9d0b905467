/** `kiff monitor` as somebody runs it who does not trust the operator: against a contract on a chain and a published log, honest and not. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { toHex } from '../../protocol/index.ts';
import { lengths, newKey, oldKey, stepsOn } from '../contracts/custody.ts';
import { startDevnet, type Devnet } from '../contracts/devnet.ts';
import { openLog, type TestLog } from '../contracts/log.ts';
import { checkpointOf, operatorOf } from '../protocol/receipt-factory.ts';
import { testLeaf, testLeaves } from '../protocol/reference-tree.ts';
import { publishLog, type PublishedLog } from './published-log.ts';

const KIFF = join(import.meta.dirname, '../../cli/kiff.js');
const P = lengths.periodSeconds;
const OPERATOR = operatorOf('operator');

interface Line {
  log: string;
  finding: string;
  state: string;
  says: string;
  facts: Record<string, unknown>;
}

/** Line by line, without what differs from run to run. */
const told = (lines: readonly Line[]): string[] => lines.map(({ finding, state }) => `${finding} ${state}`);

describe('kiff monitor', function () {
  this.timeout(60_000);
  const folder = mkdtempSync(join(tmpdir(), 'kiff-monitor-'));
  let net: Devnet;
  let logs = 0;
  let origin: string;
  let log: TestLog;
  let published: PublishedLog;
  let leaves: Uint8Array[];
  let policy: string;
  let state: string;

  before(async () => {
    net = await startDevnet(lengths);
  });
  after(async () => {
    await net.stop();
    rmSync(folder, { recursive: true });
  });

  /** A log of three sealed hours, the last of which is the last that is over; published as it is. */
  beforeEach(async () => {
    log = await openLog(net, oldKey);
    origin = `kiff.dev/t/test${++logs}`;
    published = await publishLog(origin, `/t/test${logs}`, OPERATOR);
    const now = Math.floor((await net.now()) / P) * P;
    Object.assign(log.standing, { period: now - 4 * P });
    leaves = [];
    for (let hour = 0; hour < 3; hour++) await seal(hour === 1 ? 0 : 200);
    const { codeHash, fromBlock } = net.registry;
    policy = join(folder, `policy-${logs}.json`);
    state = join(folder, `state-${logs}.json`);
    writeFileSync(
      policy,
      JSON.stringify({
        format: 'kiff.policy/1',
        registry: { ...net.domain, codeHash, fromBlock, periodSeconds: P },
        logs: [{ origin, genesisSigner: log.genesisSigner, checkpointKeys: [OPERATOR.publicKey] }],
        require: [],
      }),
    );
  });
  afterEach(() => published.stop());

  /** Adds records, publishes them and anchors the next seal over them. */
  async function seal(records: number): Promise<void> {
    leaves = [...leaves, ...Array.from({ length: records }, (_, at) => testLeaf(leaves.length + at))];
    const root = published.publish(leaves);
    await log.seal({ treeSize: leaves.length, root });
  }

  /** Blocks until this time, and until what is there is final. */
  async function pass(seconds: number): Promise<void> {
    await net.at((await net.now()) + seconds);
    await net.chain.mine({ blocks: 5 });
  }

  async function look(...more: readonly string[]): Promise<{ code: number | null; lines: Line[]; stderr: string }> {
    const rpc = more.includes('--rpc') ? [] : ['--rpc', net.rpcUrl];
    const from = more.includes('--chain-only') ? [] : ['--public-log', published.url];
    const child = spawn(
      process.execPath,
      [KIFF, 'monitor', '--policy', policy, '--state', state, '--once', ...rpc, ...from, ...more],
      { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, KIFF_API_KEY: 'kiff_live_read' } },
    );
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    const [code] = (await once(child, 'close')) as [number | null];
    const lines = stdout.split('\n').filter((line) => line !== '');
    return { code, lines: lines.map((line) => JSON.parse(line) as Line), stderr };
  }

  it('has nothing to say of a log that does as it should, hour after hour', async () => {
    assert.deepEqual(await look(), { code: 0, lines: [], stderr: '' });
    await pass(P);
    await seal(300);
    assert.deepEqual(await look(), { code: 0, lines: [], stderr: '' });
    assert.deepEqual(await look('--chain-only'), { code: 0, lines: [], stderr: '' });
    assert.ok(published.keys.every((key) => key === 'Bearer kiff_live_read'));
    const memory = JSON.parse(readFileSync(state, 'utf8')) as {
      logs: Record<string, { shown: { size: number }; state: { seq: number } }>;
    };
    assert.equal(memory.logs[origin]?.shown.size, 700);
  });

  it('says when a seal is overdue, once, that it came late, and that it is over', async () => {
    assert.equal((await look()).code, 0);
    await pass(2 * P + 1);
    const missing = await look();
    assert.equal(missing.code, 1);
    assert.deepEqual(told(missing.lines), ['seal-overdue open']);
    assert.equal(missing.lines[0]?.facts['seq'], 4);
    const again = await look();
    assert.deepEqual(again, { code: 1, lines: [], stderr: '' }, 'it still is, and was told');
    await seal(10);
    await seal(10);
    const came = await look();
    assert.deepEqual(told(came.lines), ['seal-late happened', 'seal-overdue closed']);
    assert.equal((await look()).code, 0);
  });

  it('tells of a handover before it takes effect, and of the new signer', async () => {
    assert.equal((await look()).code, 0);
    const { draft, propose, cancel, succeed } = stepsOn(net);
    const dropped = await draft(log);
    assert.equal(await propose(dropped), null);
    const proposed = await look('--chain-only');
    assert.deepEqual(told(proposed.lines), ['handover-proposed happened']);
    assert.equal(proposed.lines[0]?.facts['signer'], newKey.address.toLowerCase());
    assert.equal(await cancel(dropped, oldKey), null);
    assert.deepEqual(told((await look('--chain-only')).lines), ['handover-cancelled happened']);
    await succeed(log, await draft(log), oldKey, newKey);
    const changed = await look('--chain-only');
    assert.equal(changed.code, 1);
    assert.deepEqual(
      told(changed.lines).filter((line) => !line.startsWith('seal-')),
      ['signer-changed happened', 'handover-proposed happened'],
    );
  });

  it('is content with a signer that the policy names', async () => {
    const { draft, succeed } = stepsOn(net);
    await succeed(log, await draft(log), oldKey, newKey);
    const known = JSON.parse(readFileSync(policy, 'utf8')) as { logs: [Record<string, unknown>] };
    known.logs[0]['succession'] = [{ epoch: 1, signer: newKey.address.toLowerCase(), afterSeq: 3 }];
    writeFileSync(policy, JSON.stringify(known));
    assert.deepEqual(
      told((await look('--chain-only')).lines).filter((line) => line.startsWith('signer')),
      [],
    );
  });

  it('finds a log whose past was rewritten, although its signer signed it and the contract took it', async () => {
    assert.equal((await look()).code, 0);
    await pass(P);
    leaves = [testLeaf(1_000_000), ...leaves.slice(1)];
    await seal(50);
    const { code, lines } = await look();
    assert.equal(code, 1);
    assert.deepEqual(told(lines), ['not-an-extension open']);
    assert.deepEqual([lines[0]?.facts['size1'], lines[0]?.facts['size2']], [400, 450]);
  });

  it('finds an empty hour in which the past was rewritten', async () => {
    assert.equal((await look()).code, 0);
    await pass(P);
    leaves = [testLeaf(1_000_000), ...leaves.slice(1)];
    await seal(0);
    const { code, lines } = await look();
    assert.equal(code, 1);
    assert.ok(told(lines).includes('not-an-extension open'), String(told(lines)));
  });

  it('keeps a signed checkpoint that the log went on without, for good', async () => {
    assert.equal((await look()).code, 0);
    const honest = leaves;
    published.publish([...honest, ...testLeaves(7)]);
    const ahead = await look();
    assert.deepEqual(ahead, { code: 0, lines: [], stderr: '' }, 'it may be sealed yet');
    await pass(P);
    leaves = honest;
    await seal(20);
    const passed = await look();
    assert.equal(passed.code, 1);
    assert.deepEqual(told(passed.lines), ['checkpoint-differs open']);
    assert.match(String(passed.lines[0]?.facts['checkpoint']), new RegExp(`^${origin}\n407\n`));
    published.publish(honest);
    const later = await look();
    assert.equal(later.code, 1, 'it stays');
    assert.deepEqual(told(later.lines), ['public-log-behind open']);
  });

  it('finds another root for a size that is sealed', async () => {
    published.replaceCheckpoint(checkpointOf(origin, leaves.length, toHex(testLeaf(5)), OPERATOR));
    const { code, lines } = await look();
    assert.equal(code, 1);
    assert.deepEqual(told(lines), ['checkpoint-differs open']);
  });

  it('takes no checkpoint that nobody known has signed', async () => {
    published.replaceCheckpoint(checkpointOf(origin, leaves.length, toHex(testLeaf(5)), operatorOf('another')));
    assert.deepEqual(told((await look()).lines), ['checkpoint-unsigned open']);
    published.replaceCheckpoint('no note');
    assert.deepEqual(told((await look()).lines), []);
    published.publish(leaves);
    const { code, lines } = await look();
    assert.equal(code, 0);
    assert.deepEqual(told(lines), ['checkpoint-unsigned closed']);
  });

  it('tells an absent log and an absent node from one that is wrong', async () => {
    published.fail(500);
    const away = await look();
    assert.equal(away.code, 1);
    assert.deepEqual(told(away.lines), ['public-log-unreachable open']);
    published.fail(null);
    assert.deepEqual(told((await look()).lines), ['public-log-unreachable closed']);
    const noNode = await look('--rpc', 'http://127.0.0.1:9');
    assert.equal(noNode.code, 3);
    assert.deepEqual(told(noNode.lines), ['rpc-unreachable open']);
    assert.equal((await look()).code, 0);
  });

  it('is not fooled by a node that hides a seal', async () => {
    const hiding = createServer((request, response) => {
      void (async () => {
        let body = '';
        for await (const chunk of request) body += String(chunk);
        const answer = await fetch(net.rpcUrl, {
          method: 'POST',
          body,
          headers: { 'content-type': 'application/json' },
        });
        const value = (await answer.json()) as { result: unknown };
        if (body.includes('eth_getLogs')) value.result = (value.result as unknown[]).slice(0, -1);
        response.setHeader('content-type', 'application/json').end(JSON.stringify(value));
      })();
    });
    hiding.listen(0, '127.0.0.1');
    await once(hiding, 'listening');
    try {
      const { code, lines } = await look('--rpc', `http://127.0.0.1:${(hiding.address() as AddressInfo).port}`);
      assert.equal(code, 1);
      assert.deepEqual(told(lines), ['chain-differs open']);
    } finally {
      hiding.closeAllConnections();
      hiding.close();
      await once(hiding, 'close');
    }
  });

  it('finds that what was final is so no more, and goes on saying so', async () => {
    await pass(1);
    assert.equal((await look()).code, 0);
    const remembered = readFileSync(state, 'utf8');
    const { state: standing } = (
      JSON.parse(remembered) as { logs: Record<string, { state: { seq: number; head: string } }> }
    ).logs[origin]!;
    assert.equal(standing.seq, 3);
    writeFileSync(state, remembered.replace(standing.head, toHex(testLeaf(9))));
    assert.deepEqual(told((await look()).lines), ['chain-differs open']);
    assert.deepEqual(await look(), { code: 1, lines: [], stderr: '' });
  });

  it('posts every report to a webhook, and says so when nobody takes it', async () => {
    const got: Line[] = [];
    const hook = createServer((request, response) => {
      void (async () => {
        let body = '';
        for await (const chunk of request) body += String(chunk);
        got.push(JSON.parse(body) as Line);
        response.end();
      })();
    });
    hook.listen(0, '127.0.0.1');
    await once(hook, 'listening');
    published.fail(503);
    const { lines } = await look('--webhook', `http://127.0.0.1:${(hook.address() as AddressInfo).port}`);
    assert.deepEqual(got, lines);
    hook.closeAllConnections();
    hook.close();
    await once(hook, 'close');
  });

  it('runs until it is stopped', async () => {
    const child = spawn(
      process.execPath,
      [
        KIFF,
        'monitor',
        '--policy',
        policy,
        '--state',
        state,
        '--rpc',
        net.rpcUrl,
        '--public-log',
        published.url,
        '--every',
        '1',
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    published.fail(503);
    const [first] = (await once(child.stdout.setEncoding('utf8'), 'data')) as [string];
    assert.equal((JSON.parse(first) as Line).finding, 'public-log-unreachable');
    published.fail(null);
    const [second] = (await once(child.stdout, 'data')) as [string];
    assert.equal((JSON.parse(second) as Line).state, 'closed');
    child.kill('SIGTERM');
    assert.deepEqual(await once(child, 'close'), [0, null]);
  });

  it('refuses what it cannot use, by name', async () => {
    for (const [args, says] of [
      [['--log', 'kiff.dev/t/other'], 'the policy has no log kiff.dev/t/other'],
      [['--every', '5'], '--every has no meaning with --once'],
      [['--rpc', 'ftp://node'], '--rpc takes an http or https URL'],
      [['--public-log', 'http://192.0.2.1'], 'a key is not sent over http to another machine'],
    ] as const) {
      const { code, stderr } = await look(...args);
      assert.equal(code, 2);
      assert.ok(stderr.includes(says), stderr);
    }
    writeFileSync(state, '{"format":"other"}');
    assert.ok((await look()).stderr.includes('not a file that this program wrote'));
  });
});
