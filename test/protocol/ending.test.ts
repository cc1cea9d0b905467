/** The end statement (docs/protocol.md section 16): its bytes against a text written out here and signed by Node, and every defect of it. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import {
  END_REASONS,
  endText,
  NO_SEAL,
  parseEnd,
  placeAtEnd,
  relatePlaces,
  verifyEnd,
  type EndStatement,
  type PlaceInLog,
} from '../../protocol/ending.ts';
import { parseCheckpoint } from '../../protocol/note.ts';
import { bytesOf, checkpointOf, OPERATOR, operatorOf, ORIGIN, signedNoteOf } from './receipt-factory.ts';

const LOG = bytesOf('a log');
const HEAD = bytesOf('seal 7');
const ROOT = bytesOf('root 7');
const END: EndStatement = {
  origin: ORIGIN,
  logId: LOG,
  last: { seq: 7, sealHash: HEAD, treeSize: 41, root: ROOT },
  reason: 'chain-differs',
  successor: `${ORIGIN}/2`,
};
const TEXT = `kiff.end/1
origin kiff.dev/t/acme
log ${LOG}
seq 7
seal ${HEAD}
size 41
root ${ROOT}
reason chain-differs
successor kiff.dev/t/acme/2
`;
const NOTE = signedNoteOf(TEXT, ORIGIN, OPERATOR);

describe('the end of a log, stated', () => {
  it('is, byte for byte, what the specification writes; read back and verified it is the same', () => {
    assert.equal(endText(END), TEXT);
    assert.deepEqual(parseEnd(NOTE), END);
    assert.deepEqual(verifyEnd(NOTE, OPERATOR.publicKey), END);
  });

  it('of a log that never had a seal names the empty tree, and nothing else', () => {
    const empty = createHash('sha256').digest('hex');
    assert.deepEqual(NO_SEAL, { seq: 0, sealHash: `0x${'00'.repeat(32)}`, treeSize: 0, root: `0x${empty}` });
    const end = { ...END, last: NO_SEAL };
    assert.deepEqual(parseEnd(signedNoteOf(endText(end), ORIGIN, OPERATOR)), end);
    for (const other of [{ sealHash: HEAD }, { treeSize: 1 }, { root: ROOT }]) {
      assert.throws(() => endText({ ...END, last: { ...NO_SEAL, ...other } }), /a log without a seal has no tree/);
    }
  });

  it('has one of the reasons, which are never renamed', () => {
    for (const reason of END_REASONS) {
      assert.equal(parseEnd(signedNoteOf(endText({ ...END, reason }), ORIGIN, OPERATOR)).reason, reason);
    }
    assert.deepEqual(END_REASONS.slice(-2), ['clock-ahead', 'signer-lost'], 'an operator’s own findings');
  });

  const malformed: [what: string, part: object, saying: RegExp][] = [
    ['an origin with a space', { origin: 'kiff.dev/t/a b' }, /an origin is malformed/],
    ['an origin with a plus', { origin: 'kiff.dev/t/a+b' }, /an origin is malformed/],
    ['an empty successor', { successor: '' }, /an origin is malformed/],
    ['a successor with a line feed', { successor: 'a\nb' }, /an origin is malformed/],
    ['an origin too long', { origin: 'o'.repeat(256) }, /an origin is malformed/],
    ['itself as successor', { successor: ORIGIN }, /a log cannot succeed itself/],
    ['a log id too short', { logId: '0x12' }, /the log id is malformed/],
    ['a log id in upper case', { logId: LOG.toUpperCase() }, /the log id is malformed/],
    ['a seq beyond uint32', { last: { ...END.last, seq: 2 ** 32 } }, /the seq is malformed/],
    ['a negative seq', { last: { ...END.last, seq: -1 } }, /the seq is malformed/],
    ['half a seq', { last: { ...END.last, seq: 1.5 } }, /the seq is malformed/],
    ['a size beyond uint48', { last: { ...END.last, treeSize: 2 ** 48 } }, /the size is malformed/],
    ['a seal of 31 bytes', { last: { ...END.last, sealHash: HEAD.slice(0, -2) } }, /the seal is malformed/],
    ['a root without 0x', { last: { ...END.last, root: ROOT.slice(2) } }, /the seal is malformed/],
    ['a reason that nobody knows', { reason: 'bored' }, /the reason is unknown/],
  ];
  for (const [what, part, saying] of malformed) {
    it(`is not written with ${what}`, () => {
      assert.throws(() => endText({ ...END, ...part }), { name: 'TypeError', message: saying });
    });
  }

  const otherTexts: [what: string, text: string][] = [
    ['another version', TEXT.replace('end/1', 'end/2')],
    ['a line missing', TEXT.replace('size 41\n', '')],
    ['two lines swapped', TEXT.replace('seq 7\n', '').replace('size 41\n', 'size 41\nseq 7\n')],
    ['a line more', `${TEXT}more x\n`],
    ['a member twice', TEXT.replace('seq 7\n', 'seq 7\nseq 7\n')],
    ['carriage returns', TEXT.replaceAll('\n', '\r\n')],
    ['a space at the end of a line', TEXT.replace('seq 7', 'seq 7 ')],
    ['two spaces', TEXT.replace('seq 7', 'seq  7')],
    ['a leading zero', TEXT.replace('seq 7', 'seq 07')],
    ['an exponent', TEXT.replace('size 41', 'size 4.1e1')],
    ['an upper-case hash', TEXT.replace(HEAD, `0x${HEAD.slice(2).toUpperCase()}`)],
    ['no text', '\n'],
  ];
  for (const [what, text] of otherTexts) {
    it(`is not read with ${what}, though it is signed`, () => {
      const note = signedNoteOf(text, ORIGIN, OPERATOR);
      assert.throws(() => parseEnd(note), TypeError);
      assert.equal(verifyEnd(note, OPERATOR.publicKey), undefined);
    });
  }

  it('any statement survives writing and reading', () => {
    const hash = fc
      .uint8Array({ minLength: 32, maxLength: 32 })
      .map((bytes) => `0x${Buffer.from(bytes).toString('hex')}` as const);
    const origin = fc.stringMatching(/^[!-*,-~]{1,40}$/);
    const plain = { noNullPrototype: true };
    const last = {
      seq: fc.integer({ min: 1, max: 2 ** 32 - 1 }),
      sealHash: hash,
      treeSize: fc.nat(2 ** 48 - 1),
      root: hash,
    };
    const statements = fc.record(
      {
        origin: origin.map((name) => `a${name}`),
        successor: origin.map((name) => `b${name}`),
        logId: hash,
        last: fc.record(last, plain),
        reason: fc.constantFrom(...END_REASONS),
      },
      plain,
    );
    fc.assert(
      fc.property(statements, (statement) => {
        assert.deepEqual(parseEnd(`${endText(statement)}\n— x AAAAAA==\n`), statement);
      }),
      { numRuns: 200 },
    );
  });
});

describe('the signature of an end', () => {
  it('is the operator’s under the ended log’s origin: not another key’s, not under another name, not over another text', () => {
    assert.equal(verifyEnd(NOTE, operatorOf('somebody').publicKey), undefined);
    const renamed = signedNoteOf(TEXT, `${ORIGIN}/2`, OPERATOR);
    assert.deepEqual(parseEnd(renamed), END, 'control: it is well formed');
    assert.equal(verifyEnd(renamed, OPERATOR.publicKey), undefined);
    for (const [from, to] of [
      ['seq 7', 'seq 8'],
      ['chain-differs', 'signer-lost'],
      ['acme/2', 'acme/3'],
    ] as const) {
      const changed = NOTE.replace(from, to);
      assert.notDeepEqual(parseEnd(changed), END, 'control: it says something else');
      assert.equal(verifyEnd(changed, OPERATOR.publicKey), undefined);
    }
  });

  it('is not there at all: refused', () => {
    assert.throws(() => parseEnd(TEXT), TypeError);
    assert.throws(() => parseEnd(`${TEXT}\n`), TypeError);
    assert.equal(verifyEnd(TEXT, OPERATOR.publicKey), undefined);
    assert.equal(verifyEnd('', OPERATOR.publicKey), undefined);
  });

  it('of a checkpoint is none of an end, and of an end none of a checkpoint', () => {
    const checkpoint = checkpointOf(ORIGIN, 41, ROOT, OPERATOR);
    assert.equal(parseCheckpoint(checkpoint).size, 41, 'control');
    assert.equal(verifyEnd(checkpoint, OPERATOR.publicKey), undefined);
    assert.throws(() => parseCheckpoint(NOTE), TypeError);
  });
});

/** A place in the ended log, under its last good seal unless told otherwise. */
const place = (part: Partial<PlaceInLog>): PlaceInLog => ({
  origin: ORIGIN,
  logId: LOG,
  seq: 7,
  sealHash: HEAD,
  ...part,
});

describe('where a sealed leaf stands at an end', () => {
  const old = place({});
  const beyond = place({ seq: 8, sealHash: bytesOf('seal 8') });
  const next = place({ origin: END.successor, logId: bytesOf('the next log'), seq: 1, sealHash: bytesOf('first') });
  const stranger = place({ origin: 'kiff.dev/t/other', logId: bytesOf('another log') });

  for (const [what, where, expected] of [
    ['under the last good seal', old, 'before-end'],
    ['under one before it', place({ seq: 3, sealHash: bytesOf('seal 3') }), 'before-end'],
    ['under another seal at the last seq', place({ sealHash: bytesOf('a fork') }), 'beyond-end'],
    ['under a later seal', beyond, 'beyond-end'],
    ['in the next log', next, 'successor'],
    ['in another tenant’s log', stranger, 'elsewhere'],
    ['under our origin, in somebody else’s log', place({ logId: bytesOf('squatted') }), 'elsewhere'],
  ] as const) {
    it(`${what}: ${expected}`, () => assert.equal(placeAtEnd(where, END), expected));
  }

  it('two places are in one log, or apart, or unrelated; nothing ever joins two logs', () => {
    assert.equal(relatePlaces(old, beyond, END), 'one-log');
    assert.equal(relatePlaces(next, next, END), 'one-log');
    for (const before of [old, beyond]) {
      assert.equal(relatePlaces(before, next, END), 'discontinuity');
      assert.equal(relatePlaces(next, before, END), 'discontinuity');
    }
    assert.equal(relatePlaces(old, stranger, END), 'unrelated');
    assert.equal(relatePlaces(stranger, next, END), 'unrelated');
    assert.equal(relatePlaces(next, place({ origin: END.successor, logId: bytesOf('twice') }), END), 'unrelated');
  });
});
