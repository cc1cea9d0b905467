import assert from 'node:assert/strict';
import fc from 'fast-check';
import { LineCutter, type Line } from '../../api/ingest/ndjson.ts';
import { MAX_RECORD_BYTES } from '../../api/ingest/record.ts';
import { readPiece, RecordBytes } from '../../api/ingest/record-bytes.ts';

const seen = ({ line, bytes, length }: Line): [line: number, text: string, length: number] => [
  line,
  Buffer.from(bytes).toString('latin1'),
  length,
];

/** The lines of a body that arrives in these chunks; their bytes are copied before the next chunk comes, as promised. */
function linesOf(chunks: readonly Uint8Array[]): ReturnType<typeof seen>[] {
  const cutter = new LineCutter();
  return [...chunks.flatMap((chunk) => [...cutter.cut(chunk)].map(seen)), ...[...cutter.end()].map(seen)];
}

function pieces(body: Buffer, cuts: readonly number[]): Buffer[] {
  const at = [0, ...cuts.map((cut) => cut % (body.length + 1)).toSorted((a, b) => a - b), body.length];
  return at.slice(1).map((end, index) => body.subarray(at[index], end));
}

describe('the line cutter', () => {
  it('finds the same lines however the body is cut into chunks (property)', () => {
    const characters = fc.constantFrom('\n', '\n', '\r', ' ', '\t', '{', '}', 'é', '\u0085', '\u00a0', 'a');
    fc.assert(
      fc.property(fc.string({ unit: characters }), fc.array(fc.nat()), (text, cuts) => {
        const body = Buffer.from(text);
        const expected = body
          .toString('latin1')
          .split('\n')
          .map((line, index) => [index + 1, line.replaceAll(/^[ \t\r]+|[ \t\r]+$/g, '')] as const)
          .filter(([, line]) => line !== '')
          .map(([line, content]) => [line, content, content.length]);
        assert.deepEqual(linesOf(pieces(body, cuts)), expected);
        assert.deepEqual(linesOf([body]), expected);
      }),
    );
  });

  it('keeps no more of a line than a record may have, and counts the rest', () => {
    const chunk = 10_007;
    for (const [length, kept] of [
      [MAX_RECORD_BYTES, MAX_RECORD_BYTES],
      [MAX_RECORD_BYTES + 1, MAX_RECORD_BYTES],
      [3_000_000, MAX_RECORD_BYTES],
    ] as const) {
      const body = Buffer.concat([Buffer.alloc(length, 'x'), Buffer.from('\ny')]);
      const cuts = Array.from({ length: Math.floor(body.length / chunk) }, (_, index) => index * chunk);
      const lines = linesOf(pieces(body, cuts));
      assert.deepEqual(
        lines.map(([line, text, size]) => [line, text.length, size]),
        [
          [1, kept, length],
          [2, 1, 1],
        ],
      );
    }
  });

  it('white space around a record is not part of its size, however much there is', () => {
    const record = Buffer.alloc(MAX_RECORD_BYTES, 'x');
    const space = Buffer.alloc(100_000, ' ');
    assert.deepEqual(linesOf([space, space, record, space]), [[1, record.toString(), MAX_RECORD_BYTES]]);
    const inside = Buffer.concat([record.subarray(0, 10), space, Buffer.from('x')]);
    assert.deepEqual(
      linesOf([inside.subarray(0, 50_000), inside.subarray(50_000)]).map(([, , length]) => length),
      [100_011],
    );
  });
});

describe('a record from pieces', () => {
  it('that is too large is refused with its true size', () => {
    const record = new RecordBytes();
    for (let piece = 0; piece < 100; piece++) record.add(Buffer.alloc(1_000, 'x'));
    assert.throws(() => readPiece(record.take(), 0), { slug: 'record-too-large', message: /100000/ });
    record.add(Buffer.from(' {} '));
    assert.throws(() => readPiece(record.take(), 0), { slug: 'invalid-record' }, 'it begins anew');
  });
});
