import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { parseCheckpoint, verifierKey, verifyCheckpoint } from '../../protocol/note.ts';
import { parsePublishedCheckpoint, publishedCheckpoint, sealIsSigned } from '../../protocol/seal-line.ts';
import type { Receipt } from '../../protocol/index.ts';
import { edited, makeReceipt, OPERATOR, ORIGIN, REGISTRY } from './receipt-factory.ts';

const checkpointOf = ({ checkpoint, seal }: Receipt): string => publishedCheckpoint(checkpoint!, seal);

describe('the published checkpoint', () => {
  let receipt: Receipt;
  let text: string;
  before(async () => {
    receipt = await makeReceipt();
    text = checkpointOf(receipt);
  });

  it('is the operator’s note and one line more, whose bytes are those that docs/protocol.md lists', () => {
    const { seal } = receipt;
    const [note, line] = [text.slice(0, receipt.checkpoint!.length), text.slice(receipt.checkpoint!.length)];
    assert.equal(note, receipt.checkpoint);
    const [dash, name, base64 = ''] = line.trimEnd().split(' ');
    assert.deepEqual([dash, name, line.endsWith('\n')], ['—', ORIGIN, true]);
    const bytes = Buffer.from(base64, 'base64');
    const id = Buffer.from(seal.logId.slice(2), 'hex');
    const preimage = Buffer.concat([Buffer.from(`${ORIGIN}\n`), Buffer.of(0xff), Buffer.from('kiff.seal/1'), id]);
    assert.equal(bytes.length, 137);
    assert.deepEqual(bytes.subarray(0, 4), createHash('sha256').update(preimage).digest().subarray(0, 4));
    assert.equal(bytes.readUInt32BE(4), seal.seq);
    assert.equal(bytes.readBigUInt64BE(8), BigInt(seal.period));
    assert.equal(`0x${bytes.subarray(16, 48).toString('hex')}`, seal.prev);
    assert.equal(bytes.readUInt32BE(48), seal.epoch);
    assert.equal(`0x${bytes.subarray(52, 72).toString('hex')}`, seal.signer);
    assert.equal(`0x${bytes.subarray(72).toString('hex')}`, seal.signature);
  });

  it('is a checkpoint of the operator to everybody who does not know the line', () => {
    const signer = { origin: ORIGIN, publicKey: OPERATOR.publicKey };
    const { signatures, ...said } = verifyCheckpoint(text, signer)!;
    assert.deepEqual({ ...said, signatures: signatures.slice(0, 1) }, parseCheckpoint(receipt.checkpoint!));
    assert.equal(signatures.length, 2);
  });

  it('gives back the note of the receipt, and the seal, in any epoch', async () => {
    for (const epoch of [0, 1, 2]) {
      const made = await makeReceipt({ epoch });
      const read = parsePublishedCheckpoint(checkpointOf(made), made);
      assert.deepEqual([read.note, read.seal], [made.checkpoint, made.seal]);
      assert.ok(sealIsSigned(made.seal, REGISTRY, made.genesisSigner));
    }
  });

  it('with one byte of its seal changed is another seal, which nobody signed; only the epoch is a claim', () => {
    const at = receipt.checkpoint!.length + `— ${ORIGIN} `.length;
    const bytes = Buffer.from(text.slice(at), 'base64');
    for (let index = 0; index < bytes.length; index++) {
      const changed = Buffer.from(bytes);
      changed[index]! ^= 1;
      const forged = `${text.slice(0, at)}${changed.toString('base64')}\n`;
      if (index === 8) {
        assert.throws(() => parsePublishedCheckpoint(forged, receipt), TypeError, 'no period is so late');
        continue;
      }
      const { seal } = parsePublishedCheckpoint(forged, receipt);
      // The key's id comes first: another key's line is nobody's. The epoch is no part of what is signed: who the signer was,
      // the chain says.
      const isEpoch = index >= 48 && index < 52;
      assert.equal(seal === undefined, index < 4);
      assert.equal(seal && sealIsSigned(seal, REGISTRY, receipt.genesisSigner), index < 4 ? undefined : isEpoch);
    }
  });

  it('without its seal’s line is the operator’s alone; of another log, or with two seals, it is refused', () => {
    const line = text.slice(receipt.checkpoint!.length);
    assert.throws(() => parsePublishedCheckpoint(text, { ...receipt, origin: 'kiff.dev/t/other' }), TypeError);
    assert.throws(() => parsePublishedCheckpoint(text + line, receipt), TypeError);
    const alone = parsePublishedCheckpoint(receipt.checkpoint!, receipt);
    assert.deepEqual([alone.note, alone.seal], [receipt.checkpoint, undefined]);
    // Under another genesis signer it is another log, whose seal this is not.
    assert.equal(parsePublishedCheckpoint(text, { ...receipt, genesisSigner: OTHER }).seal, undefined);
    const short = `— ${ORIGIN} ${line.split(' ')[2]!.slice(0, 80)}\n`;
    assert.throws(() => parsePublishedCheckpoint(receipt.checkpoint! + short, receipt), TypeError);
  });

  it('is not made of a note and a seal that speak of different trees', () => {
    for (const wrong of [{ treeSize: 8 }, { root: receipt.seal.prev }]) {
      const other = edited(receipt, (copy) => void Object.assign(copy.seal, wrong));
      assert.throws(() => checkpointOf(other), TypeError);
    }
  });
});

const OTHER = `0x${'07'.repeat(20)}` as const;

describe('a verifier key', () => {
  it('is what Go’s note package prints for the same key', () => {
    // From the documentation of golang.org/x/mod/sumdb/note.
    const vkey = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW';
    const key = Buffer.from(vkey.split('+').slice(2).join('+'), 'base64').subarray(1);
    assert.equal(verifierKey('PeterNeumann', `0x${key.toString('hex')}`), vkey);
  });
});
