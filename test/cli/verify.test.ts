/** The `kiff` command as people run it: a process of its own, its exit code and what it prints; one section per code. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { sign } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CHECK_NAMES,
  leafHash,
  promiseBytes,
  RpcRefused,
  toHex,
  type PromiseTerms,
  type Receipt,
  type Rpc,
  type SealPromise,
  type Verification,
} from '../../protocol/index.ts';
import {
  edited,
  makePolicy,
  makeReceipt,
  named,
  operatorOf,
  ORIGIN,
  PERIOD,
  PERIOD_SECONDS,
} from '../protocol/receipt-factory.ts';
import { bundleOf, makeLog, textOf } from '../protocol/bundle-factory.ts';
import { logChain } from '../protocol/log-chain.ts';
import { scriptedChain } from '../protocol/scripted-chain.ts';
import { kiff } from './kiff-process.ts';

/** A JSON-RPC server; `answer` may write the response itself and return undefined. */
async function serve(
  answer: (body: { id: number; method: string; params: unknown[] }, response: ServerResponse) => unknown,
) {
  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    let text = '';
    for await (const chunk of request) text += String(chunk);
    const answered = await answer(JSON.parse(text) as never, response);
    if (answered !== undefined) response.setHeader('content-type', 'application/json').end(JSON.stringify(answered));
  };
  const server = createServer((request, response) => void handle(request, response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async stop() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Serves an RPC function as a node would. */
function serveRpc(rpc: Rpc) {
  return serve(async ({ id, method, params }) => {
    try {
      return { jsonrpc: '2.0', id, result: await rpc(method, params) };
    } catch (error) {
      if (!(error instanceof RpcRefused)) throw error;
      return { jsonrpc: '2.0', id, error: { code: error.code, message: error.message } };
    }
  });
}

const PROMISES = operatorOf('promises');

function promiseOf({ origin, leafIndex, leafHash: leaf, sealBy }: PromiseTerms): SealPromise {
  const terms = { origin, leafIndex, leafHash: leaf, sealBy };
  return { ...terms, signature: toHex(sign(null, promiseBytes(terms), PROMISES.privateKey)) };
}

describe('cli: kiff verify', function () {
  this.timeout(30_000);

  let folder: string;
  let receipt: Receipt;
  let receiptFile: string;
  let policyFile: string;
  let promiseFile: string;
  let node: Awaited<ReturnType<typeof serve>>;

  function file(name: string, content: string | Uint8Array): string {
    const path = join(folder, name);
    writeFileSync(path, content);
    return path;
  }

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'kiff-cli-'));
    receipt = await makeReceipt({ epoch: 1 });
    receiptFile = file('receipt.json', JSON.stringify(receipt, null, 2));
    policyFile = file('policy.json', JSON.stringify(makePolicy({ promiseKeys: [PROMISES.publicKey] })));
    const { leafIndex, entry } = receipt;
    const sealBy = PERIOD + 2 * PERIOD_SECONDS;
    promiseFile = file(
      'promise.json',
      JSON.stringify(promiseOf({ origin: ORIGIN, leafIndex, leafHash: leafHash(entry), sealBy })),
    );
    node = await serveRpc(scriptedChain(receipt));
  });

  after(async () => {
    await node.stop();
    rmSync(folder, { recursive: true });
  });

  describe('exit 0', () => {
    it('with a policy and a chain: every check held', async () => {
      const { code, stdout, stderr } = await kiff(['verify', receiptFile, '--policy', policyFile, '--rpc', node.url]);
      assert.equal(code, 0, stdout + stderr);
      const lines = stdout.split('\n').slice(0, CHECK_NAMES.length);
      assert.deepEqual(
        lines.map((line) => line.slice(2, 12).trim()),
        CHECK_NAMES,
      );
      assert(lines.every((line) => line.startsWith('✓ ')));
      assert.match(stdout, /\nProved:\n {2}\S/u);
      assert.match(stdout, /\nNot proved:\n {2}\S/u);
      assert.match(stdout, /\nVerified: every check held\.\n$/u);
      assert(!stdout.includes('\u001b'), 'no colour where there is no terminal');
      assert.equal(stderr, '');
    });

    it('offline and trusting: what was waived is named', async () => {
      const { code, stdout } = await kiff(['verify', receiptFile, '--trust-receipt', '--offline']);
      assert.equal(code, 0);
      assert.match(stdout, /Verified, as far as asked: waived were policy, anchor, finality\.\n$/u);
    });

    it('from standard input', async () => {
      const { code } = await kiff(['verify', '-', '--policy', policyFile, '--offline'], {
        input: JSON.stringify(receipt),
      });
      assert.equal(code, 0);
    });

    it('--json prints one object', async () => {
      const { code, stdout } = await kiff(['verify', receiptFile, '--policy', policyFile, '--rpc', node.url, '--json']);
      assert.equal(code, 0);
      const verification = JSON.parse(stdout) as Verification;
      assert.equal(verification.ok, true);
      assert.deepEqual(named(verification.checks, 'held'), CHECK_NAMES);
      assert(verification.proved.length > 0 && verification.notProved.length > 0);
    });

    it('for a promise, alone and with the receipt that shows it was kept', async () => {
      const alone = await kiff(['verify', '--promise', promiseFile, '--policy', policyFile]);
      assert.equal(alone.code, 0, alone.stdout + alone.stderr);
      assert.match(alone.stdout, /Verified, as far as asked: waived were receipt, leaf, kept\.\n$/u);
      const args = ['verify', '--promise', '-', '--policy', policyFile, '--receipt', receiptFile, '--rpc', node.url];
      const kept = await kiff(args, { input: readFileSync(promiseFile) });
      assert.equal(kept.code, 0, kept.stdout + kept.stderr);
      assert.match(kept.stdout, /\n {2}The promise was kept\.\n/u);
    });

    it('for a whole log, from its bundle and from the chain alone', async () => {
      const log = await makeLog();
      const own = await serveRpc(logChain(log));
      try {
        const bundle = file('log.bundle', textOf(bundleOf(log)));
        const whole = await kiff(['verify', bundle, '--policy', policyFile, '--rpc', own.url]);
        assert.equal(whole.code, 0, whole.stdout + whole.stderr);
        assert.match(whole.stdout, /\nVerified, as far as asked: waived were base, end\.\n$/u);
        const listed = await kiff(['verify', '--log', ORIGIN, '--policy', policyFile, '--rpc', own.url]);
        assert.equal(listed.code, 0, listed.stdout + listed.stderr);
        for (const { seal } of log.hours) assert(listed.stdout.includes(seal.seal.root), listed.stdout);

        const cut = file('cut.bundle', textOf(edited(bundleOf(log), ({ lines }) => void lines.splice(4, 1))));
        const gap = await kiff(['verify', cut, '--policy', policyFile, '--rpc', own.url]);
        assert.equal(gap.code, 1);
        assert.match(gap.stdout, /\nFound:\n {2}seal 2 is missing\n {2}the period \S+ has no seal\n/u);
      } finally {
        await own.stop();
      }
    });

    it('--help', async () => {
      for (const args of [['--help'], ['help'], ['verify', '--help'], ['verify', '-h', 'x', 'y']]) {
        const { code, stdout } = await kiff(args);
        assert.equal(code, 0, args.join(' '));
        assert.match(stdout, /^Usage: kiff/u);
      }
    });
  });

  describe('exit 1', () => {
    it('names the checks that failed', async () => {
      const forged = edited(receipt, (copy) => {
        copy.leafIndex = 2;
        copy.seal.signer = copy.genesisSigner;
      });
      const path = file('forged.json', JSON.stringify(forged));
      const { code, stdout } = await kiff(['verify', path, '--policy', policyFile, '--offline']);
      assert.equal(code, 1);
      assert.match(stdout, /^✗ inclusion {3}FAILED: /mu);
      assert.match(stdout, /NOT verified\. Failed: inclusion, signature, handovers\.\n$/u);
    });

    it('without a policy, and without trust', async () => {
      const { code, stdout } = await kiff(['verify', receiptFile, '--offline', '--json']);
      assert.equal(code, 1);
      assert.deepEqual(named((JSON.parse(stdout) as Verification).checks, 'failed'), ['policy']);
    });

    it('for a document that is no receipt', async () => {
      for (const text of ['{}', 'null', '[]', JSON.stringify(receipt).replace('{', '{"origin":"x",')]) {
        const { code, stdout } = await kiff(['verify', '-', '--policy', policyFile, '--offline', '--json'], {
          input: text,
        });
        assert.equal(code, 1, text.slice(0, 40));
        assert.deepEqual(named((JSON.parse(stdout) as Verification).checks, 'failed'), ['format']);
      }
    });

    it('when a policy requires what was waived', async () => {
      const strict = file('strict.json', JSON.stringify(makePolicy({ require: ['anchor'] })));
      const { code, stdout } = await kiff(['verify', receiptFile, '--policy', strict, '--offline', '--json']);
      assert.equal(code, 1);
      assert.deepEqual(named((JSON.parse(stdout) as Verification).checks, 'failed'), ['anchor']);
    });

    it('when the node answers, and not with this seal', async () => {
      const other = await serveRpc(scriptedChain(await makeReceipt()));
      try {
        const { code } = await kiff(['verify', receiptFile, '--policy', policyFile, '--rpc', other.url]);
        assert.equal(code, 1);
      } finally {
        await other.stop();
      }
    });

    it('when the node answers with errors', async () => {
      const refusing = await serve(({ id }) => ({
        jsonrpc: '2.0',
        id,
        error: { code: -32601, message: '\u001b[2Jno' },
      }));
      try {
        const { code, stdout } = await kiff(['verify', receiptFile, '--policy', policyFile, '--rpc', refusing.url]);
        assert.equal(code, 1);
        assert.match(stdout, /Failed: anchor, finality\./u);
        assert(!stdout.includes('\u001b'), 'what a node says does not reach the terminal as it is');
      } finally {
        await refusing.stop();
      }
    });

    it('for a promise that was not signed, or not kept', async () => {
      const promised = JSON.parse(readFileSync(promiseFile, 'utf8')) as SealPromise;
      const late = file('late.json', JSON.stringify(promiseOf({ ...promised, sealBy: PERIOD })));
      const notKept = ['verify', '--promise', late, '--policy', policyFile, '--receipt', receiptFile, '--offline'];
      assert.match((await kiff(notKept)).stdout, /NOT verified\. Failed: kept\.\n$/u);
      const forged = file('forged-promise.json', JSON.stringify({ ...promised, leafIndex: 9 }));
      const { code, stdout } = await kiff(['verify', '--promise', forged, '--policy', policyFile, '--json']);
      assert.equal(code, 1);
      assert.deepEqual(named((JSON.parse(stdout) as Verification).checks, 'failed'), ['signature']);
    });

    it('also when the node is away: a failed check decides', async () => {
      const forged = file('forged2.json', JSON.stringify(edited(receipt, (copy) => void (copy.leafIndex = 2))));
      const { code } = await kiff(['verify', forged, '--policy', policyFile, '--rpc', 'http://127.0.0.1:1']);
      assert.equal(code, 1);
    });
  });

  describe('exit 2', () => {
    it('for arguments that make no sense, with a sentence that says which', async () => {
      const cases: [string[], RegExp][] = [
        [[], /no command/],
        [['seal'], /no command seal/],
        [['verify'], /no receipt/],
        [['verify', '--offline'], /no receipt/],
        [['verify', 'RECEIPT', 'RECEIPT', '--offline'], /one receipt/],
        [['verify', 'RECEIPT', '--trust-receipt'], /--rpc URL .*--offline/],
        [['verify', 'RECEIPT', '--policy', 'POLICY'], /--rpc URL .*--offline/],
        [['verify', 'RECEIPT', '--offline', '--rpc', 'http://127.0.0.1:1'], /either --rpc or --offline/],
        [
          ['verify', 'RECEIPT', '--offline', '--policy', 'POLICY', '--trust-receipt'],
          /either --policy or --trust-receipt/,
        ],
        [['verify', 'RECEIPT', '--rpc', 'not a url'], /http or https/],
        [['verify', 'RECEIPT', '--rpc', 'file:///etc/passwd'], /http or https/],
        [['verify', 'RECEIPT', '--rpc', 'http://user:secret@127.0.0.1:1'], /no user name or password/],
        [['verify', 'RECEIPT', '--offline', '--unknown'], /--unknown/],
        [['verify', 'RECEIPT', '--offline', '--policy'], /--policy/],
        [['verify', 'RECEIPT', '--offline', '--receipt', 'RECEIPT'], /goes with --promise/],
        [['verify', '--promise', 'RECEIPT'], /needs --policy/],
        [['verify', '--promise', 'RECEIPT', '--policy', 'POLICY', '--trust-receipt'], /no meaning/],
        [['verify', '--promise', 'RECEIPT', '--policy', 'POLICY', 'RECEIPT'], /as --receipt FILE/],
        [['verify', '--promise', 'RECEIPT', '--policy', 'POLICY', '--receipt', 'RECEIPT'], /--rpc URL .*--offline/],
        [['verify', '--promise', '-', '--policy', 'POLICY', '--receipt', '-', '--offline'], /standard input/],
      ];
      for (const [args, saying] of cases) {
        const given = args.map((arg) => (arg === 'RECEIPT' ? receiptFile : arg === 'POLICY' ? policyFile : arg));
        const { code, stdout, stderr } = await kiff(given);
        assert.equal(code, 2, args.join(' '));
        assert.match(stderr, saying);
        assert.equal(stdout, '');
      }
    });

    it('for files that are not there or are no JSON', async () => {
      const bytes = new TextEncoder().encode(JSON.stringify(receipt));
      const unusable: [string, RegExp][] = [
        [join(folder, 'missing.json'), /ENOENT/],
        [folder, /EISDIR/],
        [file('empty.json', ''), /not JSON/],
        [file('cut.json', bytes.subarray(0, -1)), /not JSON/],
        [file('bom.json', Buffer.concat([Buffer.of(0xef, 0xbb, 0xbf), bytes])), /byte order mark/],
        [file('latin1.json', Buffer.concat([bytes, Buffer.of(0xff)])), /UTF-8/],
        [file('huge.json', Buffer.alloc(16 * 1024 * 1024 + 1, ' ')), /larger than/],
      ];
      for (const [path, saying] of unusable) {
        const asReceipt = await kiff(['verify', path, '--policy', policyFile, '--offline', '--json']);
        assert.equal(asReceipt.code, 2, path);
        assert.match(asReceipt.stderr, saying);
        const { ok, error } = JSON.parse(asReceipt.stdout) as { ok: boolean; error: string };
        assert.equal(ok, false);
        assert.match(error, saying);
        const asPolicy = await kiff(['verify', receiptFile, '--policy', path, '--offline']);
        assert.equal(asPolicy.code, 2, path);
        assert.match(asPolicy.stderr, /policy/);
      }
    });

    it('for a policy that breaks its format', async () => {
      const path = file('bad-policy.json', JSON.stringify({ ...makePolicy(), extra: 1 }));
      const { code, stderr } = await kiff(['verify', receiptFile, '--policy', path, '--offline']);
      assert.equal(code, 2);
      assert.match(stderr, /the policy is unusable: \/extra/);
    });
  });

  describe('exit 3', () => {
    it('when nobody listens', async () => {
      const gone = await serve(() => undefined);
      await gone.stop();
      const { code, stdout } = await kiff(['verify', receiptFile, '--policy', policyFile, '--rpc', gone.url]);
      assert.equal(code, 3);
      assert.match(stdout, /\? anchor {6}NOT-RUN: the RPC is unreachable: ECONNREFUSED/u);
      assert.match(stdout, /NOT verified: the RPC is unreachable\.\n$/u);
    });

    it('when what answers is no JSON-RPC node', async () => {
      const answers: [string, (id: number, response: ServerResponse) => unknown][] = [
        ['a web page', (_id, response) => void response.end('<html>')],
        ['status 503', (_id, response) => void response.writeHead(503).end('{}')],
        ['status 429', (_id, response) => void response.writeHead(429).end()],
        ['a redirect', (_id, response) => void response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end()],
        ['a cut connection', (_id, response) => void response.destroy()],
        [
          'half an answer',
          (_id, response) => {
            response.writeHead(200, { 'content-length': '100' });
            response.write('{"jsonrpc":', () => response.destroy());
          },
        ],
        ['a list', () => []],
        ["another call's answer", (id) => ({ jsonrpc: '2.0', id: id + 1, result: '0x1' })],
        ['a rate limit', (id) => ({ jsonrpc: '2.0', id, error: { code: -32005, message: 'slow down' } })],
      ];
      for (const [name, answer] of answers) {
        const server = await serve(({ id }, response) => answer(id, response));
        try {
          const { code, stdout } = await kiff(['verify', receiptFile, '--policy', policyFile, '--rpc', server.url]);
          assert.equal(code, 3, `${name}: ${stdout}`);
        } finally {
          await server.stop();
        }
      }
    });
  });
});
