/** `kiff anchor`: what the API answers of a seal, sent by somebody with no part in this; and the wallet takes it as done. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { anchorCommand } from '../../cli/anchor.ts';
import { toHex } from '../../protocol/hex.ts';
import { createPlane, type Plane } from '../activities/plane.ts';
import { startIngestApi, type IngestApi } from '../api/ingest-api.ts';
import { anvil } from '../parts.ts';
import type { TestTenant } from '../product-database.ts';

const KIFF = join(import.meta.dirname, '../../cli/kiff.js');

/** anvil's third account: somebody with money and no part in this. */
const STRANGER = '0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a';
/** A key that nobody ever paid. */
const POOR = `0x${'17'.repeat(32)}`;

/** STRANGER under the password "password"; scrypt with n = 2, which takes no time and protects nothing. */
const KEYSTORE = {
  version: 3,
  crypto: {
    cipher: 'aes-128-ctr',
    cipherparams: { iv: '02020202020202020202020202020202' },
    ciphertext: '9af68411ba055d1633c532ae3a1fc582d6e6b2fae3caa81fe8822c095fd9eaa1',
    mac: '84c665d7accdacf264fa1b5ebf5d7e46f962a552a334d81a3d149b5c04a15afd',
    kdf: 'scrypt',
    kdfparams: {
      n: 2,
      r: 8,
      p: 1,
      dklen: 32,
      salt: '0101010101010101010101010101010101010101010101010101010101010101',
    },
  },
};

interface Ran {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** As a user runs it: a process of its own. */
async function kiffProcess(args: readonly string[], env: Record<string, string>): Promise<Ran> {
  const child = spawn(process.execPath, [KIFF, 'anchor', ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout, stderr };
}

/** The same command in this process, which need not load it anew for every case. */
async function kiff(args: readonly string[], env: Record<string, string>, input = ''): Promise<Ran> {
  let stdout = '';
  let stderr = '';
  const names = ['KIFF_ANCHOR_KEY', 'KIFF_KEYSTORE_PASSWORD'];
  Object.assign(process.env, env);
  try {
    const code = await anchorCommand.run(args, {
      stdin: Readable.from([Buffer.from(input)]),
      stdout: { write: (text) => (stdout += text) },
      stderr: { write: (text) => (stderr += text) },
    });
    return { code, stdout, stderr };
  } finally {
    for (const name of names) delete process.env[name];
  }
}

describe('kiff anchor', function () {
  this.timeout(60_000);
  let plane: Plane;
  let api: IngestApi;
  let folder: string;
  let rpc: string;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'kiff-anchor-'));
    ({ rpcUrl: rpc } = await anvil());
    plane = await createPlane();
    api = await startIngestApi(plane.database, { contract: plane.registry.address });
  });
  after(async () => {
    await api.stop();
    await plane.stop();
    rmSync(folder, { recursive: true });
  });

  async function download(tenant: TestTenant, seq: number): Promise<string> {
    const { status, text } = await api.get(`/v1/seals/${seq}`, tenant.apiKey);
    assert.equal(status, 200);
    const file = join(folder, `${tenant.id}-${seq}.json`);
    writeFileSync(file, text);
    return file;
  }

  it('anchors what the API answers, in any order that the log allows; the wallet takes it as done', async () => {
    const tenant = await plane.signed(2);
    await plane.mine();
    const [first, second] = [await download(tenant, 1), await download(tenant, 2)];
    const early = await kiff([second, '--rpc', rpc], { KIFF_ANCHOR_KEY: STRANGER });
    assert.deepEqual([early.code, /an earlier seal/.test(early.stdout)], [1, true]);

    const sent = await kiffProcess([first, '--rpc', rpc, '--json'], { KIFF_ANCHOR_KEY: STRANGER });
    assert.equal(sent.code, 0, sent.stderr);
    const { result, transaction } = JSON.parse(sent.stdout) as { result: string; transaction: string };
    assert.equal(result, 'anchored');
    assert.equal((await kiff([second, '--rpc', rpc], { KIFF_ANCHOR_KEY: STRANGER })).code, 0);

    const again = await kiff([first, '--rpc', rpc], { KIFF_ANCHOR_KEY: STRANGER });
    assert.deepEqual([again.code, /already/.test(again.stdout)], [0, true]);

    plane.events();
    await plane.anchorAll();
    assert.deepEqual(await plane.levels(tenant), ['final', 'final']);
    assert.deepEqual(plane.events(), ['seal.relayed', 'seal.relayed'], 'the wallet sent nothing');
    const [row] = await plane.database.sql<{ tx_hash: Buffer }>(
      `SELECT tx_hash FROM ${tenant.role}.seals WHERE seq = 1`,
    );
    assert.equal(toHex(row!.tx_hash), transaction);
  });

  it('takes the seal from standard input, and the key from an encrypted file', async () => {
    const tenant = await plane.signed(1);
    await plane.mine();
    const { text } = await api.get('/v1/seals/1', tenant.apiKey);
    const keystore = join(folder, 'keystore.json');
    writeFileSync(keystore, JSON.stringify(KEYSTORE));
    const sent = await kiff(['-', '--rpc', rpc, '--keystore', keystore], { KIFF_KEYSTORE_PASSWORD: 'password' }, text);
    assert.equal(sent.code, 0, sent.stderr);
  });

  it('exit code 1: the contract or the node refuses, and why', async () => {
    const tenant = await plane.signed(1);
    await plane.mine();
    const file = await download(tenant, 1);
    const poor = await kiff([file, '--rpc', rpc], { KIFF_ANCHOR_KEY: POOR });
    assert.equal(poor.code, 1);
    assert.match(poor.stdout + poor.stderr, /insufficient funds/i);
    const json = JSON.parse((await api.get('/v1/seals/1', tenant.apiKey)).text) as { sealInput: object };
    const spoilt = { ...json, sealInput: { ...json.sealInput, signature: `0x${'01'.repeat(65)}` } };
    const bad = await kiff(['-', '--rpc', rpc, '--json'], { KIFF_ANCHOR_KEY: STRANGER }, JSON.stringify(spoilt));
    assert.equal(bad.code, 1);
    assert.match(bad.stdout, /not signed by the log’s signer/);
  });

  it('exit code 2: what cannot be used is named, and no secret shown', async () => {
    const tenant = await plane.tenant({ periods: 1 });
    await plane.collect(tenant);
    const unsigned = await download(tenant, 1);
    const key = { KIFF_ANCHOR_KEY: STRANGER };
    const other = JSON.stringify({
      registry: { chainId: 8453, contract: plane.registry.address },
      sealInput: { logId: tenant.logId, seq: 1, period: 0, treeSize: 0, root: tenant.logId, signature: '0x00' },
    });
    for (const [args, env, input, says] of [
      [[unsigned, '--rpc', rpc], key, '', /not signed yet/],
      [['-', '--rpc', rpc], key, other, /chain 8453/],
      [['-', '--rpc', rpc], key, '{}', /registry/],
      [[unsigned], key, '', /--rpc/],
      [[unsigned, '--rpc', 'ftp://x'], key, '', /http/],
      [[unsigned, '--rpc', rpc], {}, '', /KIFF_ANCHOR_KEY/],
      [[unsigned, '--rpc', rpc], { KIFF_ANCHOR_KEY: `${STRANGER}5` }, '', /64 hex digits/],
      [[unsigned, '--rpc', rpc], { KIFF_ANCHOR_KEY: `0x${'0'.repeat(64)}` }, '', /no.* private key/],
      [[unsigned, '--rpc', rpc, '--key', STRANGER], {}, '', /--key/],
    ] as const) {
      const { code, stderr, stdout } = await kiff(args, env, input);
      assert.deepEqual([code, stdout], [2, ''], stderr);
      assert.match(stderr, says);
      if ('KIFF_ANCHOR_KEY' in env) assert.ok(!stderr.includes(env.KIFF_ANCHOR_KEY.slice(2)));
    }
  });

  it('exit code 3: nobody answers', async () => {
    const tenant = await plane.signed(1);
    const file = await download(tenant, 1);
    const { code, stderr } = await kiff([file, '--rpc', 'http://127.0.0.1:1'], { KIFF_ANCHOR_KEY: STRANGER });
    assert.equal(code, 3);
    assert.match(stderr, /unreachable/);
  });
});
