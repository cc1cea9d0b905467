/** Long for its table of malformed notes: one line for each rule of the two specifications. */
import assert from 'node:assert/strict';
import { createHash, createPrivateKey, createPublicKey, sign } from 'node:crypto';
import fc from 'fast-check';
import { toHex, type Hex } from '../../protocol/hex.ts';
import { checkpointText, noteKeyId, parseCheckpoint, signedNote, verifyCheckpoint } from '../../protocol/note.ts';

const ORIGIN = 'kiff.dev/t/acme';
const ROOT_BYTES = Buffer.from(Array.from({ length: 32 }, (_, at) => at * 8 + 3));
const ROOT = toHex(ROOT_BYTES);

/** Everything by Node alone: an Ed25519 key from a fixed seed, the note's text, its key id and its signature line. */
function nodeKey(seed: number): {
  raw: Buffer;
  keyId: (name: string) => Buffer;
  line: (name: string, text: string) => string;
} {
  const pkcs8 = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), Buffer.alloc(32, seed)]);
  const privateKey = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' });
  const raw = createPublicKey(privateKey).export({ format: 'der', type: 'spki' }).subarray(-32);
  const keyId = (name: string): Buffer =>
    createHash('sha256').update(`${name}\n\u0001`).update(raw).digest().subarray(0, 4);
  const line = (name: string, text: string): string => {
    const signature = sign(null, Buffer.from(text), privateKey);
    return `— ${name} ${Buffer.concat([keyId(name), signature]).toString('base64')}\n`;
  };
  return { raw, keyId, line };
}

const own = nodeKey(7);
const stranger = nodeKey(8);
const publicKey = toHex(own.raw);
const TEXT = `${ORIGIN}\n20852163\n${ROOT_BYTES.toString('base64')}\n`;
const NOTE = `${TEXT}\n${own.line(ORIGIN, TEXT)}`;
const signer = { origin: ORIGIN, publicKey };

function signatureOf(line: string): Hex {
  return toHex(Buffer.from(line.split(' ')[2]!, 'base64').subarray(4));
}

describe('a checkpoint', () => {
  it('is, byte for byte, what Node makes of the specification', () => {
    const text = checkpointText({ origin: ORIGIN, size: 20852163, root: ROOT });
    assert.equal(text, TEXT);
    assert.equal(noteKeyId(ORIGIN, publicKey), toHex(own.keyId(ORIGIN)));
    assert.equal(signedNote(text, ORIGIN, publicKey, signatureOf(own.line(ORIGIN, TEXT))), NOTE);
    assert.deepEqual(verifyCheckpoint(NOTE, signer), {
      origin: ORIGIN,
      size: 20852163,
      root: ROOT,
      extensions: [],
      signatures: [{ name: ORIGIN, keyId: toHex(own.keyId(ORIGIN)), signature: signatureOf(own.line(ORIGIN, TEXT)) }],
    });
  });

  it('reads the examples of c2sp.org/tlog-checkpoint and c2sp.org/signed-note', () => {
    const note =
      'example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n' +
      '— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n';
    const { origin, size, root, signatures } = parseCheckpoint(note);
    assert.equal(origin, 'example.com/behind-the-sofa');
    assert.equal(size, 20852163);
    assert.equal(root, '0x0ac5186a91863e8e1d90c808014aa89bf5da8e3ee1d9f07630f0378f68f1ab62');
    assert.equal(signatures[0]?.keyId, '0x033de0ae');
    const vkey = Buffer.from('AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k', 'base64');
    assert.equal(noteKeyId('example.com/foo', toHex(vkey.subarray(1))), '0x530d903a');
  });

  it('says the same after writing and reading', () => {
    fc.assert(
      fc.property(
        fc.nat({ max: Number.MAX_SAFE_INTEGER }),
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        (size, bytes) => {
          const head = { origin: ORIGIN, size, root: toHex(bytes) };
          const text = checkpointText(head);
          const read = verifyCheckpoint(`${text}\n${own.line(ORIGIN, text)}`, signer);
          assert.deepEqual(read && { origin: read.origin, size: read.size, root: read.root }, head);
        },
      ),
      { numRuns: 20 },
    );
  });

  it('keeps extension lines, which the signature covers', () => {
    const text = `${TEXT}extension 1\nextension 2\n`;
    assert.deepEqual(verifyCheckpoint(`${text}\n${own.line(ORIGIN, text)}`, signer)?.extensions, [
      'extension 1',
      'extension 2',
    ]);
    assert.equal(verifyCheckpoint(`${text}\n${own.line(ORIGIN, TEXT)}`, signer), undefined);
  });

  it('passes with signatures of others around its own, up to 64', () => {
    const other = stranger.line('witness.example/w', TEXT);
    assert.equal(verifyCheckpoint(`${TEXT}\n${other}${own.line(ORIGIN, TEXT)}${other}`, signer)?.signatures.length, 3);
    // A stranger's key under our name has another key id: unknown, so it is ignored.
    assert.ok(verifyCheckpoint(`${TEXT}\n${stranger.line(ORIGIN, TEXT)}${own.line(ORIGIN, TEXT)}`, signer));
    assert.ok(verifyCheckpoint(`${TEXT}\n${other.repeat(63)}${own.line(ORIGIN, TEXT)}`, signer));
    assert.equal(verifyCheckpoint(`${TEXT}\n${other.repeat(64)}${own.line(ORIGIN, TEXT)}`, signer), undefined);
  });

  it('fails without a signature of its own, or with a false one', () => {
    const good = own.line(ORIGIN, TEXT);
    const forged = `— ${ORIGIN} ${Buffer.concat([own.keyId(ORIGIN), Buffer.alloc(64, 1)]).toString('base64')}\n`;
    const short = `— ${ORIGIN} ${Buffer.concat([own.keyId(ORIGIN), Buffer.alloc(63, 1)]).toString('base64')}\n`;
    assert.ok(verifyCheckpoint(`${TEXT}\n${good}`, signer));
    for (const lines of [
      stranger.line(ORIGIN, TEXT),
      own.line('kiff.dev/t/other', TEXT),
      forged,
      short,
      good + forged,
      forged + good,
    ]) {
      assert.equal(verifyCheckpoint(`${TEXT}\n${lines}`, signer), undefined);
    }
    const elsewhere = TEXT.replace(ORIGIN, 'kiff.dev/t/other');
    assert.equal(verifyCheckpoint(`${elsewhere}\n${own.line(ORIGIN, elsewhere)}`, signer), undefined, 'of another log');
    assert.equal(verifyCheckpoint(NOTE, { origin: 'kiff.dev/t/other', publicKey }), undefined);
    assert.equal(verifyCheckpoint(NOTE, { origin: ORIGIN, publicKey: toHex(stranger.raw) }), undefined);
    for (const bad of ['0x', `${publicKey}00`, null]) {
      assert.equal(verifyCheckpoint(NOTE, { origin: ORIGIN, publicKey: bad as Hex }), undefined);
    }
  });

  it('fails under a key of small order, under which one signature fits every text', () => {
    const identity = Buffer.alloc(32);
    identity[0] = 1;
    const weak = { origin: ORIGIN, publicKey: toHex(identity) };
    const note = signedNote(TEXT, ORIGIN, weak.publicKey, toHex(Buffer.concat([identity, Buffer.alloc(32)])));
    assert.equal(parseCheckpoint(note).signatures[0]?.keyId, noteKeyId(ORIGIN, weak.publicKey));
    assert.equal(verifyCheckpoint(note, weak), undefined);
  });

  it('fails when any one character is changed', () => {
    for (let at = 0; at < NOTE.length; at++) {
      const changed = `${NOTE.slice(0, at)}${NOTE[at] === 'A' ? 'B' : 'A'}${NOTE.slice(at + 1)}`;
      assert.equal(verifyCheckpoint(changed, signer), undefined, `character ${at}`);
    }
  });

  const line = own.line(ORIGIN, TEXT);
  const root64 = ROOT_BYTES.toString('base64');
  for (const [name, note, problem] of [
    ['nothing', '', /no signatures/],
    ['no signature', TEXT, /no signatures/],
    ['an empty line and no signature', `${TEXT}\n`, /no signatures/],
    ['no final line feed', NOTE.slice(0, -1), /no signatures/],
    ['two final line feeds', `${NOTE}\n`, /no signatures/],
    ['no empty line', `${TEXT}${line}`, /no signatures/],
    ['carriage returns', NOTE.replaceAll('\n', '\r\n'), /forbidden characters/],
    ['a tab', NOTE.replace('20852163', '20852163\t'), /forbidden characters/],
    ['a NUL', `\0${NOTE}`, /forbidden characters/],
    ['half of a surrogate pair', `\ud800${NOTE}`, /forbidden characters/],
    ['no origin', NOTE.slice(ORIGIN.length), /no origin/],
    ['only an origin', `${ORIGIN}\n\n${line}`, /malformed size/],
    ['no root', `${ORIGIN}\n5\n\n${line}`, /32 bytes/],
    ['a leading zero in the size', NOTE.replace('20852163', '020852163'), /malformed size/],
    ['a negative size', NOTE.replace('20852163', '-1'), /malformed size/],
    ['a size in hex', NOTE.replace('20852163', '0x10'), /malformed size/],
    ['a size of 2^53', NOTE.replace('20852163', '9007199254740992'), /malformed size/],
    ['a root of 31 bytes', NOTE.replace(root64, ROOT_BYTES.subarray(1).toString('base64')), /32 bytes/],
    ['a root of 33 bytes', NOTE.replace(root64, Buffer.alloc(33).toString('base64')), /32 bytes/],
    ['a root without padding', NOTE.replace(root64, root64.replace('=', '')), /canonical/],
    [
      'a root with stray bits',
      NOTE.replace(
        root64,
        root64.replace(/.=$/, (end) => `${end === 's=' ? 't' : 'v'}=`),
      ),
      /canonical/,
    ],
    ['a root in base64url', NOTE.replace(root64, '_'.repeat(43) + '='), /not base64/],
    ['an empty extension line', `${TEXT}\nmore\n\n${line}`, /empty extension/],
    ['a hyphen for the dash', NOTE.replace('—', '-'), /signature line/],
    ['two spaces', NOTE.replace('— ', '—  '), /signature line/],
    ['a word more', NOTE.replace(/\n$/, ' x\n'), /signature line/],
    ['a text line among the signatures', `${NOTE}text\n`, /signature line/],
    ['a key name with a plus', NOTE.replace(`— ${ORIGIN}`, '— a+b'), /key name/],
    ['a key name with a no-break space', NOTE.replace(`— ${ORIGIN}`, '— a\u00a0b'), /key name/],
    ['a signature that is only a key id', `${TEXT}\n— ${ORIGIN} ${Buffer.alloc(4).toString('base64')}\n`, /too short/],
    ['a signature that is no base64', `${TEXT}\n— ${ORIGIN} ****\n`, /not base64/],
    ['something else than text', 5 as unknown as string, /forbidden characters/],
  ] as const) {
    it(`is not read from a note with ${name}`, () => {
      assert.throws(
        () => parseCheckpoint(note),
        (error) => error instanceof TypeError && problem.test(error.message),
      );
      assert.equal(verifyCheckpoint(note, signer), undefined);
    });
  }

  it('is not written from what could not be read back', () => {
    for (const origin of ['', 'a b', 'a+b', 'a\nb', 'a\u2003b', '\u0001']) {
      assert.throws(() => checkpointText({ origin, size: 1, root: ROOT }), TypeError);
      assert.throws(() => noteKeyId(origin, publicKey), TypeError);
    }
    for (const size of [-1, 0.5, 2 ** 53, Number.NaN]) {
      assert.throws(() => checkpointText({ origin: ORIGIN, size, root: ROOT }), TypeError);
    }
    assert.throws(() => checkpointText({ origin: ORIGIN, size: 1, root: '0x00' }), TypeError);
    assert.throws(() => signedNote(TEXT, ORIGIN, publicKey, '0x00'), TypeError);
    assert.throws(() => signedNote(TEXT, ORIGIN, '0x00', `0x${'00'.repeat(64)}`), TypeError);
  });
});
