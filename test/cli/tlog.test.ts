import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tlogCommand } from '../../cli/tlog.ts';
import { tlogProofOf, verifierKey, type Receipt } from '../../protocol/index.ts';
import { edited, makePolicy, makeReceipt, OPERATOR, ORIGIN } from '../protocol/receipt-factory.ts';

async function* bytes(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}

async function kiffTlog(args: readonly string[], input = '') {
  let stdout = '';
  let stderr = '';
  const code = await tlogCommand.run(args, {
    stdin: bytes(input),
    stdout: { write: (text) => void (stdout += text) },
    stderr: { write: (text) => void (stderr += text) },
  });
  return { code, stdout, stderr };
}

describe('kiff tlog', () => {
  let directory: string;
  let receipt: Receipt;
  const file = (name: string, content: unknown): string => {
    const path = join(directory, name);
    writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
    return path;
  };
  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'kiff-cloud-tlog-'));
    receipt = await makeReceipt({ epoch: 1 });
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  it('makes a proof of a receipt, from a file or from standard input, and verifies it', async () => {
    const made = await kiffTlog(['proof', file('receipt.json', receipt)]);
    assert.deepEqual(made, { code: 0, stdout: tlogProofOf(receipt), stderr: '' });
    assert.deepEqual(await kiffTlog(['proof', '-'], JSON.stringify(receipt)), made);

    const policy = file('policy.json', makePolicy());
    const { code, stdout } = await kiffTlog(['verify', '-', '--policy', policy], made.stdout);
    assert.equal(code, 0);
    assert.match(stdout, /✓ inclusion {3}leaf 3 of 7\n✓ seal/);
    const json = await kiffTlog(['verify', file('a.tlog-proof', made.stdout), '--policy', policy, '--json']);
    assert.equal((JSON.parse(json.stdout) as { ok: boolean }).ok, true);
  });

  it('ends with 1 when a check fails, and names it', async () => {
    const other = tlogProofOf(edited(receipt, (copy) => void (copy.leafIndex = 2)));
    const { code, stdout } = await kiffTlog(['verify', '-', '--policy', file('p.json', makePolicy())], other);
    assert.equal(code, 1);
    assert.match(stdout, /NOT verified\. Failed: inclusion\./);
  });

  it('prints the operator’s keys as tools take them', async () => {
    const { code, stdout } = await kiffTlog(['key', '--policy', file('policy.json', makePolicy())]);
    assert.deepEqual([code, stdout], [0, `${verifierKey(ORIGIN, OPERATOR.publicKey)}\n`]);
  });

  it('ends with 2 when it is asked for what cannot be', async () => {
    const policy = file('policy.json', makePolicy());
    for (const [args, says] of [
      [[], /say what to do/],
      [['sign'], /there is no action sign/],
      [['proof'], /no receipt was given/],
      [['proof', 'a', 'b'], /too many arguments/],
      [['proof', join(directory, 'absent')], /cannot be read/],
      [['proof', file('none.json', { ...receipt, checkpoint: null })], /has no checkpoint/],
      [['proof', file('text', 'x')], /the receipt is unusable/],
      [['verify', '-'], /needs --policy/],
      [['verify', '-', '--policy', '-'], /only one file/],
      [['key', '--policy', policy, 'kiff.dev/t/other'], /names no key/],
      [['key', '--what'], /what/],
    ] as const) {
      const { code, stderr } = await kiffTlog(args);
      assert.equal(code, 2, args.join(' '));
      assert.match(stderr, says);
    }
  });
});
