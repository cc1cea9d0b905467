/** What strangers may hand to `kiff verify`: endless, enormous and absurd. Each has a clear end, and takes bounded memory. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bundleOf, makeEntry, makeLog, textOf, type MadeLog } from '../protocol/bundle-factory.ts';
import { makePolicy, makeReceipt, PERIOD } from '../protocol/receipt-factory.ts';
import { kiff } from './kiff-process.ts';

const GIGABYTE = 1_000_000_000;
/** Node alone has about 50 MiB. */
const MAX_MIB = 300;

/** Has the command say at its end what it took. */
const MEASURED = [
  `--import=data:text/javascript,process.on('exit',()=>process.stderr.write('peak '+process.resourceUsage().maxRSS))`,
];

async function measured(args: readonly string[], input: AsyncIterable<Uint8Array> | string = '') {
  const ran = await kiff(['verify', ...args], { input, node: MEASURED });
  const mib = Number(/peak (\d+)$/.exec(ran.stderr)?.[1] ?? assert.fail(ran.stderr)) / 1024;
  assert(mib < MAX_MIB, `${mib} MiB`);
  return ran;
}

/** A log's first hour, and records for 100 MB that all say the same. */
async function* longBundle(log: MadeLog): AsyncGenerator<Uint8Array> {
  const [header, seal] = textOf(bundleOf(log)).split('\n');
  yield Buffer.from(`${header}\n${seal}\n`);
  const { entry, disclosure } = makeEntry(0, new Date(PERIOD * 1000).toISOString());
  const body = disclosure!.body.replace('"o-0"', `"${'x'.repeat(60_000)}"`);
  const line = Buffer.from(`${JSON.stringify({ entry, disclosure: { ...disclosure, body } })}\n`);
  for (let size = 0; size < 100_000_000; size += line.length) yield line;
}

describe('cli: kiff verify, limits', function () {
  this.timeout(60_000);

  let folder: string;
  let policyFile: string;
  let log: MadeLog;
  const path = (name: string): string => join(folder, name);

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'kiff-limits-'));
    policyFile = path('policy.json');
    writeFileSync(policyFile, JSON.stringify(makePolicy()));
    log = await makeLog();
  });
  after(() => rmSync(folder, { recursive: true }));

  const offline = (file: string): string[] => [file, '--policy', policyFile, '--offline'];

  /** A file of a size, of which only the beginning is written. */
  function sparse(name: string, beginning: string, size: number): string {
    const file = openSync(path(name), 'w');
    writeSync(file, beginning);
    ftruncateSync(file, size);
    closeSync(file);
    return path(name);
  }

  it('a bundle of 5 GB that is one line', async () => {
    const [header = ''] = textOf(bundleOf(log)).split('\n');
    const { code, stdout } = await measured(offline(sparse('bundle', `${header}\n`, 5 * GIGABYTE)));
    assert.equal(code, 1);
    assert.match(stdout, /FAILED: line 2: is longer than 1048576 bytes/);
  });

  it('a bundle of 100 MB that is read to its end', async () => {
    const { code, stdout } = await measured(offline('-'), longBundle(log));
    assert.equal(code, 1);
    assert.match(stdout, /FAILED: its last line is missing/);
    assert.match(stdout, /commitment +FAILED: 16\d\d findings/);
  });

  it('a receipt of 100 MB', async () => {
    const { code, stderr } = await measured(
      offline(sparse('receipt', JSON.stringify(await makeReceipt()), 100_000_000)),
    );
    assert.equal(code, 2);
    assert.match(stderr, /the receipt is larger than 16777216 bytes/);
  });

  it('JSON that is nested a million deep, as a receipt, a policy and a line of a bundle', async () => {
    const deep = '['.repeat(1_000_000);
    const receipt = await measured(offline('-'), deep);
    assert.equal(receipt.code, 1);
    assert.match(receipt.stdout, /FAILED: .*nested too deep/);
    const policy = await measured([path('receipt'), '--policy', '-', '--offline'], deep);
    assert.deepEqual([policy.code, policy.stderr.includes('nested too deep')], [2, true]);
    const bundle = await measured(offline('-'), textOf(bundleOf(log)).replace('\n', `\n${deep}\n`));
    assert.equal(bundle.code, 1);
    assert.match(bundle.stdout, /FAILED: line 2: .*nested too deep/);
  });

  describe('a hostile node', () => {
    let server: Server;
    let url: string;
    /** The beginning of an answer, and what is repeated behind it for ever. */
    let answer: { head: string; again: string };

    before(async () => {
      server = createServer((_request, response) => {
        const more = Buffer.from(answer.again.repeat(Math.ceil(65_536 / answer.again.length)));
        const write = (): void => {
          while (!response.destroyed && response.write(more));
        };
        response.on('drain', write).write(answer.head, write);
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    });
    after(() => {
      server.closeAllConnections();
      server.close();
    });

    for (const again of [' ', '[', '[],', '{"a":0},']) {
      it(`that repeats ${JSON.stringify(again)} for ever`, async () => {
        answer = { head: '{"jsonrpc":"2.0","id":1,"result":[', again };
        writeFileSync(path('whole'), textOf(bundleOf(log)));
        const { code, stdout } = await measured([path('whole'), '--policy', policyFile, '--rpc', url]);
        assert.equal(code, 3);
        assert.match(stdout, /its answer is larger than 8388608 bytes/);
      });
    }
  });
});
