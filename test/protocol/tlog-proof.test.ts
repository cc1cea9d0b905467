import assert from 'node:assert/strict';
import { parseTlogProof, tlogProofOf } from '../../protocol/tlog-proof.ts';
import { parsePublishedCheckpoint } from '../../protocol/seal-line.ts';
import { verifyTlogProofText } from '../../protocol/verify-tlog-proof.ts';
import type { Receipt } from '../../protocol/index.ts';
import { edited, makePolicy, makeReceipt, named, ORIGIN } from './receipt-factory.ts';

const POLICY = makePolicy();
const base64 = (hex: string): string => Buffer.from(hex.slice(2), 'hex').toString('base64');
const failed = (text: string, policy = POLICY): string[] => named(verifyTlogProofText(text, policy).checks, 'failed');

describe('a receipt as a transparency-log proof', () => {
  let receipt: Receipt;
  let text: string;
  before(async () => {
    receipt = await makeReceipt();
    text = tlogProofOf(receipt);
  });

  it('is c2sp.org/tlog-proof@v1, line by line', () => {
    const lines = text.split('\n');
    assert.deepEqual(lines.slice(0, 3), [
      'c2sp.org/tlog-proof@v1',
      `extra ${Buffer.from(receipt.entry).toString('base64')}`,
      `index ${receipt.leafIndex}`,
    ]);
    const path = receipt.inclusion.map(base64);
    assert.deepEqual(lines.slice(3, 3 + path.length), path);
    assert.deepEqual(lines.slice(3 + path.length, 7 + path.length), ['', ORIGIN, '7', base64(receipt.seal.root)]);
    assert.ok(text.endsWith('\n'));
  });

  it('verifies against the policy, in any epoch and at any size', async () => {
    for (const options of [{}, { epoch: 2 }, { size: 1, leafIndex: 0 }, { size: 300, leafIndex: 299 }]) {
      const made = await makeReceipt(options);
      const { ok, checks } = verifyTlogProofText(tlogProofOf(made), POLICY);
      assert.ok(ok, JSON.stringify(checks));
      assert.deepEqual(named(checks, 'waived'), []);
    }
  });

  it('is read back as what it says', () => {
    const { checkpoint, ...said } = parseTlogProof(text);
    const { entry, leafIndex, inclusion } = receipt;
    assert.deepEqual(said, { entry, leafIndex, inclusion });
    assert.ok(checkpoint.startsWith(receipt.checkpoint!));
  });

  it('holds without the line of the seal too, which other tools may have dropped', () => {
    const { checks, ok } = verifyTlogProofText(text.replace(/— [^\n]*\n$/, ''), POLICY);
    assert.deepEqual([ok, named(checks, 'waived')], [true, ['seal']]);
  });

  it('names what fails', async () => {
    const other = edited(receipt, (copy) => void (copy.leafIndex = 4));
    assert.deepEqual(failed(tlogProofOf(other)), ['inclusion']);
    const entry = receipt.entry.replace('"key":"', '"key":"x');
    assert.deepEqual(failed(tlogProofOf({ ...receipt, entry })), ['inclusion']);
    assert.deepEqual(failed(text, makePolicy({ checkpointKeys: [`0x${'07'.repeat(32)}`] })), ['checkpoint']);
    assert.deepEqual(failed(text, makePolicy({ checkpointKeys: [] })), ['checkpoint']);
    assert.deepEqual(failed(text, makePolicy({ origin: 'kiff.dev/t/other' })), ['policy']);
    const signature =
      `0x${receipt.seal.signature.slice(2, -2)}${receipt.seal.signature.endsWith('1b') ? '1c' : '1b'}` as const;
    assert.deepEqual(failed(tlogProofOf({ ...receipt, seal: { ...receipt.seal, signature } })), ['seal']);
  });

  it('with any byte changed does not verify; of the line that carries the seal, its epoch is a claim, and so is its key', () => {
    for (let index = 0; index < text.length; index++) {
      const changed = `${text.slice(0, index)}${text[index] === 'A' ? 'B' : 'A'}${text.slice(index + 1)}`;
      const { ok, checks } = verifyTlogProofText(changed, POLICY);
      if (!ok || named(checks, 'waived').includes('seal')) continue;
      const { seal } = parsePublishedCheckpoint(parseTlogProof(changed).checkpoint, receipt);
      assert.notEqual(seal?.epoch, 0, String(index));
      assert.deepEqual({ ...seal, epoch: 0 }, receipt.seal);
    }
  });

  it('is refused, with a report, when it is malformed', () => {
    const [first, extra, index, ...rest] = text.split('\n');
    for (const lines of [
      [],
      [first],
      ['c2sp.org/tlog-proof@v2', extra, index, ...rest],
      [first, index, ...rest],
      [first, 'extra AA==', index, ...rest],
      [first, `${extra} `, index, ...rest],
      [first, extra, 'index 03', ...rest],
      [first, extra, 'index -1', ...rest],
      [first, extra, 'index 99999999999999999', ...rest],
      [first, extra, index, 'AAAA', ...rest],
      [first, extra, index, ...Array.from({ length: 49 }, () => rest[0]), ...rest.slice(rest.indexOf(''))],
      [first, extra, index, ...rest.slice(0, rest.indexOf('') + 1)],
    ]) {
      assert.deepEqual(failed(lines.join('\n')), ['format'], lines.join('|').slice(0, 80));
    }
  });

  it('is not made of a receipt without a checkpoint', () => {
    assert.throws(() => tlogProofOf({ ...receipt, checkpoint: null }), TypeError);
  });
});
