/** `kiff signer` as a tenant runs it: its keys, its lock, its health, its questions, and what it takes from a chain of its own. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { CreateKeyCommand, GetPublicKeyCommand } from '@aws-sdk/client-kms';
import { recoverAddress, type TypedDataDefinition } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { addressOfPublicKey, leafHash, type Hex } from '../../protocol/index.ts';
import { keyOfSpki } from '../../protocol/spki.ts';
import { acceptance, lengths, oldKey, stepsOn } from '../contracts/custody.ts';
import { startDevnet } from '../contracts/devnet.ts';
import { openLog } from '../contracts/log.ts';
import { principals, region, startHarness } from '../dev/kms/harness.ts';
import { bytesOf } from '../protocol/receipt-factory.ts';
import { startCloud, type Cloud } from './hostile-cloud.ts';
import { KEY, SIGNER } from './signer-agent.ts';
import { makeHome, type Home, type Line, type Ran } from './signer-process.ts';

const ACCOUNT = privateKeyToAccount(KEY);

/** What was told, in order: events, with the word of a refusal or a hold. */
const told = ({ lines }: Pick<Ran, 'lines'>): string[] =>
  lines.map(({ event, word }) => (word === undefined ? event : `${event} ${word}`));

/** A record as it was posted. */
const own = (id: string): string => `{"id":"${id}","kind":"k","entity_id":"e","entity_type":"t"}\n`;

async function listen(answer: (body: string) => Promise<object>) {
  const server = createServer((request, response) => {
    void (async () => {
      let body = '';
      for await (const chunk of request) body += String(chunk);
      response.end(JSON.stringify(await answer(body)));
    })();
  });
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

describe('kiff signer', function () {
  this.timeout(60_000);
  let cloud: Cloud;
  let home: Home;

  async function begin(...more: Parameters<typeof startCloud>): Promise<void> {
    cloud = await startCloud(...more);
    home = makeHome(cloud);
  }
  beforeEach(() => begin(SIGNER));
  afterEach(async () => {
    home.remove();
    await cloud.stop();
  });

  it('takes a log over and seals it, with a key file, until there is nothing left to sign', async () => {
    cloud.migrate();
    for (let hour = 0; hour < 3; hour++) cloud.seal(300);
    const ran = await home.run(['--once']);
    assert.equal(ran.code, 0, ran.stderr);
    assert.deepEqual(told(ran), Array.from({ length: 8 }, () => ['signing', 'signed']).flat());
    assert.deepEqual(cloud.open, []);
    assert.equal((await home.run(['status'])).code, 3, 'no signer runs');
  });

  it('waits for work, says how it is, has its journal alone, and ends cleanly', async () => {
    const child = home.spawn([]);
    cloud.migrate();
    await cloud.answersReach(5);
    const { code, stdout } = await home.run(['status']);
    assert.equal(code, 0);
    const health = JSON.parse(stdout) as Record<string, unknown>;
    assert.deepEqual([health['ok'], health['epoch'], health['seq']], [true, 1, cloud.standing.seq]);
    const second = await home.run(['--once']);
    assert.equal(second.code, 2);
    assert.match(second.stderr, /another signer has this journal/);
    const line = once(child.stderr!.setEncoding('utf8'), 'data') as Promise<[string]>;
    child.kill('SIGUSR1');
    assert.equal((JSON.parse((await line)[0]) as { log: string }).log, cloud.origin);
    cloud.seal();
    await cloud.answersReach(6);
    child.kill('SIGTERM');
    assert.deepEqual(await once(child, 'close'), [0, null]);
    assert.equal((await home.run(['--once'])).code, 0, 'the lock is free');
  });

  it('says once, and in its health, that an answer was thrown back, and gives the same one again (C8)', async () => {
    cloud.migrate();
    assert.equal((await home.run(['--once'])).code, 0);
    cloud.seal();
    const request = cloud.open[0]!;
    cloud.throwsBack = 'wrong-signer';
    const before = cloud.answers.length;
    const child = home.spawn([]);
    let printed = '';
    child.stdout!.setEncoding('utf8').on('data', (text: string) => (printed += text));
    await cloud.answersReach(before + 3);
    const health = async () =>
      JSON.parse((await home.run(['status'])).stdout) as { ok: boolean; lastNotTaken?: { word: string } };
    const now = await health();
    assert.deepEqual([now.ok, now.lastNotTaken?.word], [false, 'wrong-signer']);
    cloud.throwsBack = null;
    while (!(await health()).ok);
    assert.equal((await health()).lastNotTaken?.word, 'wrong-signer', 'it was so');
    child.kill('SIGTERM');
    await once(child, 'close');
    const lines = printed
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Line);
    assert.deepEqual(told({ lines }), ['signing', 'signed', 'answer-refused wrong-signer']);
    assert.match(lines[2]?.says ?? '', /thrown the last answer.* of another key, or of another statement/);
    assert.equal(new Set(cloud.signaturesOf(request)).size, 1);
    assert.deepEqual(cloud.open, []);
  });

  it('cancels a handover that it signed, and no other one', async () => {
    const handover = cloud.handover();
    const cancel = cloud.cancel(handover.hash);
    const foreign = await startCloud(SIGNER, { origin: 'kiff.dev/t/other' });
    cloud.offer(handover.request, cloud.cancel(bytesOf('other')), foreign.cancel(handover.hash), cancel);
    await foreign.stop();
    const ran = await home.run(['--once']);
    assert.deepEqual(
      told(ran),
      ['signing', 'signed', 'refused unknown-handover', 'refused wrong-log', 'signing', 'signed'],
      ran.stderr,
    );
    assert.match(
      ran.lines[4]?.says ?? '',
      new RegExp(`That the handover ${handover.hash} of .* is cancelled, for ever`),
    );
    const [signature] = cloud.signaturesOf(cancel);
    assert.equal(await recoverAddress({ hash: cancel.digest, signature: signature! }), ACCOUNT.address);
    // Its journal knows it: what was cancelled is never accepted.
    cloud.offer(cloud.accept(handover.hash));
    assert.deepEqual(told(await home.run(['--once'])), ['refused unknown-handover']);
  });

  it('starts again over the lock of one that was killed', async () => {
    const child = home.spawn([]);
    cloud.migrate();
    await cloud.answersReach(5);
    child.kill('SIGKILL');
    await once(child, 'close');
    cloud.seal();
    assert.equal((await home.run(['--once'])).code, 0);
    assert.deepEqual(cloud.open, []);
  });

  it('signs by a wallet’s eth_signTypedData_v4, and lets nothing out that is not its key’s', async () => {
    let mode: 'good' | 'from-zero' | 'other' | 'refuses' = 'other';
    const wallet = await listen(async (body) => {
      const { id, method, params } = JSON.parse(body) as { id: number; method: string; params: [Hex, string] };
      assert.deepEqual([method, params[0]], ['eth_signTypedData_v4', SIGNER]);
      const data = JSON.parse(params[1]) as TypedDataDefinition;
      if (mode === 'refuses') return { jsonrpc: '2.0', id, error: { code: 4001, message: 'User rejected' } };
      const good = await ACCOUNT.signTypedData(data);
      const other = await ACCOUNT.signMessage({ message: 'other' });
      const fromZero = `${good.slice(0, -2)}0${Number.parseInt(good.slice(-2), 16) - 27}`;
      return { jsonrpc: '2.0', id, result: mode === 'good' ? good : mode === 'other' ? other : fromZero };
    });
    try {
      cloud.offer(cloud.proof());
      const args = ['--once', '--wallet', wallet.url];
      assert.deepEqual(told(await home.run(args)), ['signing', 'held key-unavailable']);
      mode = 'refuses';
      assert.match((await home.run(args)).lines.at(-1)?.says ?? '', /User rejected/);
      assert.deepEqual(cloud.answers, []);
      mode = 'from-zero';
      assert.deepEqual(told(await home.run(args)), ['signing', 'signed']);
      mode = 'good';
      cloud.offer(cloud.handover().request);
      assert.deepEqual(told(await home.run(args)), ['signing', 'signed']);
    } finally {
      await wallet.stop();
    }
  });

  it('signs by an AWS KMS key', async () => {
    const kms = await startHarness();
    try {
      const owner = kms.as('owner');
      const made = await owner.send(new CreateKeyCommand({ KeySpec: 'ECC_SECG_P256K1', KeyUsage: 'SIGN_VERIFY' }));
      const arn = made.KeyMetadata!.Arn!;
      const { PublicKey } = await owner.send(new GetPublicKeyCommand({ KeyId: arn }));
      home.remove();
      await cloud.stop();
      await begin(addressOfPublicKey(keyOfSpki(PublicKey!, 'secp256k1')));
      cloud.migrate();
      const env = {
        AWS_ENDPOINT_URL_KMS: kms.kms.url,
        AWS_REGION: region,
        AWS_ACCESS_KEY_ID: 'AKIAOWNER',
        AWS_SECRET_ACCESS_KEY: principals.AKIAOWNER.secretAccessKey,
        AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
      };
      const ran = await home.run(['--once', '--kms-key', arn], { env });
      assert.equal(ran.code, 0, ran.stderr);
      assert.deepEqual(cloud.open, []);
      home.writePolicy({ signer: SIGNER });
      const other = await home.run(['--once', '--kms-key', arn], { env });
      assert.equal(other.code, 2);
      assert.match(other.stderr, /the key is that of 0x/);
    } finally {
      await kms.stop();
    }
  });

  it('asks before it signs, and only a yes counts', async () => {
    const request = cloud.proof();
    cloud.offer(request);
    const gone = await home.run(['--once', '--ask']);
    assert.deepEqual(told(gone), ['signing', 'held unanswered']);
    assert.match(gone.lines[0]?.says ?? '', /That you hold the key/);
    const no = await home.run(['--once', '--ask'], { input: 'y\n' });
    assert.deepEqual(told(no), ['signing', 'refused declined']);
    assert.deepEqual(cloud.signaturesOf(request), []);
    cloud.offer(request);
    assert.deepEqual(told(await home.run(['--once', '--ask'], { input: 'yes\n' })), ['signing', 'signed']);
  });

  it('compares the leaves with its owner’s records', async () => {
    const records = join(home.folder, 'records');
    mkdirSync(records);
    const args = ['--once', '--recompute', records];
    cloud.migrate();
    assert.equal((await home.run(['--once'])).code, 0);
    const promise = (leafIndex: number, hash: Hex): string =>
      `${JSON.stringify({ id: 'x', promise: { origin: cloud.origin, leafIndex, leafHash: hash, sealBy: 1_700_000_000 } })}\n`;
    const from = cloud.entries.length;
    const seal = cloud.seal(3);
    const request = cloud.open[0]!;
    assert.deepEqual(told(await home.run(args)), ['refused records-differ']);
    assert.match(
      cloud.refusalsOf(request)[0] ?? '',
      new RegExp(`^records-differ: leaf ${from} is a record rec-${from}`),
    );

    const again = () => cloud.offer(request);
    const all = [0, 1, 2].map((at) => own(`rec-${from + at}`)).join('');
    writeFileSync(join(records, 'own.ndjson'), all);
    writeFileSync(join(records, 'answers.jsonl'), promise(from, bytesOf('other')));
    again();
    assert.match((await home.run(args)).lines[0]?.says ?? '', /is not the one that was promised/);
    writeFileSync(join(records, 'answers.jsonl'), promise(seal.treeSize, bytesOf('other')));
    again();
    assert.match((await home.run(args)).lines[0]?.says ?? '', /was promised for this seal, and is not in it/);
    writeFileSync(join(records, 'answers.jsonl'), promise(from, leafHash(cloud.entries[from]!)));
    const entry = Buffer.from(cloud.entries[from]!).toString();
    const receipt = { entry, disclosure: { salt: `0x${'00'.repeat(32)}`, body: '{"attribution":null,"record":{}}' } };
    writeFileSync(join(records, 'receipt.json'), JSON.stringify(receipt));
    again();
    assert.match((await home.run(args)).lines[0]?.says ?? '', /its disclosure is not what its entry commits to/);
    writeFileSync(join(records, 'receipt.json'), '{"half');
    again();
    assert.deepEqual(told(await home.run(args)), ['held records-unreadable']);
    writeFileSync(join(records, 'receipt.json'), '{}');
    assert.deepEqual(told(await home.run(args)), ['signing', 'signed']);
  });

  it('says what is wrong with what it was given, and when nobody answers', async () => {
    for (const [args, env, says] of [
      [['--wallet', 'http://127.0.0.1:9', '--kms-key', 'arn'], {}, /give one key/],
      [['--kms-key', 'alias/mine'], {}, /takes the ARN of a KMS key/],
      [['--rpc', 'ftp://node'], {}, /--rpc takes an http or https URL/],
      [[], { KIFF_API_KEY: '' }, /set KIFF_API_KEY/],
      [[], { KIFF_KEYSTORE_PASSWORD: 'another' }, /another password/],
      [['watch'], {}, /there is no watch/],
      [['declare'], {}, /--from-block N is missing/],
    ] as const) {
      const { code, stderr } = await home.run(args, { env });
      assert.equal(code, 2, stderr);
      assert.match(stderr, says);
    }
    home.writePolicy({ successors: [] });
    assert.match((await home.run([])).stderr, /\/successors: is not part of the format/);
    home.writePolicy();
    const refused = await home.run(['--once'], { env: { KIFF_API_KEY: 'kiff_live_other' } });
    assert.equal(refused.code, 3);
    assert.match(refused.stderr, /401: unauthorized/);
    cloud.failing.add('requests');
    assert.equal((await home.run(['--once'])).code, 3);
  });

  it('holds its journal against its own node, and takes from it what it has lost, once its owner says so', async () => {
    const net = await startDevnet(lengths);
    try {
      const log = await openLog(net, oldKey);
      for (let hour = 0; hour < 2; hour++) await log.seal();
      home.remove();
      await cloud.stop();
      await begin(SIGNER, { registry: net.domain, logId: log.logId });
      const rpc = ['--rpc', net.rpcUrl];
      // The log on chain goes over to this key.
      const { draft, propose } = stepsOn(net);
      const handover = await draft(log, ACCOUNT);
      assert.equal(await propose(handover, oldKey, ACCOUNT), null);
      const asked = cloud.handover({
        epochTo: handover.epochTo,
        from: handover.from.toLowerCase(),
        expiresAt: Number(handover.expiresAt),
        notBefore: 0,
        nonce: handover.nonce,
      });
      const { seq, head } = log.standing;
      const accept = cloud.accept(asked.hash, { seq, head }, { standing: null });
      const wrong = cloud.accept(asked.hash, { seq, head: bytesOf('evil') }, { standing: null });
      cloud.offer(asked.request, wrong, accept);
      const ran = await home.run(['--once', ...rpc]);
      assert.deepEqual(told(ran), ['signing', 'signed', 'refused chain-differs', 'signing', 'signed'], ran.stderr);
      await net.at((await net.pending(log.logId)).eta);
      const taken = acceptance(log, handover);
      assert.equal(await net.handover('acceptHandover', handover, cloud.signaturesOf(accept)[0]!), null);
      cloud.succeed(accept);
      Object.assign(log.standing, { signer: ACCOUNT, epoch: 1, head: cloud.standing.head });
      assert.equal(taken.seq, seq);

      // A seal that the chain has and the journal has not: nothing more is signed on it.
      cloud.write(8);
      Object.assign(cloud.standing, { seq, period: log.standing.period });
      const elsewhere = cloud.nextSeal();
      await log.seal({ treeSize: elsewhere.treeSize, root: elsewhere.root });
      cloud.offer(cloud.askSeal('seal', { ...elsewhere, root: bytesOf('evil') }));
      assert.deepEqual(told(await home.run(['--once', ...rpc])), ['held journal-behind']);
      cloud.open.splice(0);
      const declare = ['declare', ...rpc, '--from-block', '0'];
      assert.equal((await home.run(declare, { input: 'no\n' })).code, 1);
      const declared = await home.run([...declare, '--yes']);
      assert.equal(declared.code, 0, declared.stderr);
      assert.match(declared.stdout, new RegExp(`stands at seal ${seq + 1} of epoch 1`));
      assert.match((await home.run([...declare, '--yes'])).stderr, /there is nothing to declare/);
      cloud.advance(elsewhere);
      cloud.seal();
      assert.deepEqual(told(await home.run(['--once', ...rpc])), ['signing', 'signed']);
      assert.deepEqual(cloud.open, []);
    } finally {
      await net.stop();
    }
  });
});
