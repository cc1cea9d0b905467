import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Problem } from '../../api/http/problems.ts';
import { MAX_RECORD_BYTES, readRecord } from '../../api/ingest/record.ts';
import { commit, parseBody } from '../../protocol/entry.ts';
import { recordText } from './ingest-api.ts';

const NOW = Date.parse('2026-11-23T12:00:00Z');

function refusal(bytes: string | Uint8Array): Problem {
  try {
    readRecord(typeof bytes === 'string' ? Buffer.from(bytes) : bytes, NOW);
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
  return assert.fail('the record was taken');
}

/** A record whose `data` has this text. */
function withData(text: string): string {
  return `${recordText('a').slice(0, -1)},"data":${text}}`;
}

describe('readRecord', () => {
  it('keeps the bytes, without the white space around them, and commits to the body', () => {
    const text = '{ "kind":"k","id":"a-1",\t"n":1e400,"big":12345678901234567890,"z":-0,"entity_id":"\\u00e9é",'.concat(
      '"entity_type":"t","created_at":"2026-01-02T03:04:05Z", "x" : [ ] }',
    );
    const draft = readRecord(Buffer.from(` \r\n\t${text}\n `), NOW);
    assert.equal(draft.id, 'a-1');
    const body = Buffer.from(draft.body).toString();
    assert.equal(body, `{"attribution":null,"record":${text}}`);
    assert.equal(Buffer.from(draft.body).subarray(draft.recordOffset, -1).toString(), text);
    assert.deepEqual(parseBody(body), { attribution: null, recordText: text });
    assert.deepEqual(draft.commitment, Buffer.from(commit(draft.salt, draft.body)));
  });

  it('takes a fresh salt each time, so equal records have different commitments', () => {
    const bytes = Buffer.from(recordText('a'));
    assert.notDeepEqual(readRecord(bytes, NOW).salt, readRecord(bytes, NOW).salt);
  });

  it('takes any well-formed members it does not know (property)', () => {
    fc.assert(
      fc.property(
        fc.jsonValue({ maxDepth: 5 }),
        fc.dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue()),
        (x, more) => {
          const text = JSON.stringify({ ...more, ...JSON.parse(recordText('p')), x });
          fc.pre(Buffer.byteLength(text) <= MAX_RECORD_BYTES && !('data' in more));
          for (const name of ['actor_id', 'message', 'trace_id', 'correlation_id', 'causation_id'])
            fc.pre(!(name in more));
          const draft = readRecord(Buffer.from(text), NOW);
          assert.equal(Buffer.from(draft.body).subarray(draft.recordOffset, -1).toString(), text);
        },
      ),
    );
  });

  const bad: Record<string, [string | Uint8Array, string, number]> = {
    'nothing (B3)': ['', 'empty-body', 400],
    'white space only': [' \r\n\t', 'empty-body', 400],
    'duplicate names (B1)': [`${recordText('a').slice(0, -1)},"kind":"x"}`, 'duplicate-key', 400],
    'duplicate names after unescaping (B1)': [
      `${recordText('a').slice(0, -1)},"k\\u0069nd":"x"}`,
      'duplicate-key',
      400,
    ],
    'duplicate names deep inside (B1)': [withData('{"a":[{"b":1,"b":2}]}'), 'duplicate-key', 400],
    'invalid UTF-8 (B2)': [
      Buffer.concat([Buffer.from('{"id":"'), Buffer.from([0xff]), Buffer.from('"}')]),
      'invalid-utf8',
      400,
    ],
    'overlong UTF-8 (B2)': [Buffer.from([0x7b, 0x22, 0xc0, 0xaf, 0x22, 0x3a, 0x31, 0x7d]), 'invalid-utf8', 400],
    'a byte order mark (B2)': [`\ufeff${recordText('a')}`, 'byte-order-mark', 400],
    'a lone surrogate escape (B2)': [withData('{"a":"\\ud800"}'), 'lone-surrogate', 400],
    'a lone surrogate escape in a name (B2)': [withData('{"\\udc00":1}'), 'lone-surrogate', 400],
    'depth 33 (B4)': [withData(`{"a":${'['.repeat(31)}${']'.repeat(31)}}`), 'too-deep', 400],
    'depth 20,000 (B4)': [withData('['.repeat(20_000) + ']'.repeat(20_000)), 'too-deep', 400],
    'depth 20,000, never closed (B4)': ['['.repeat(20_000), 'too-deep', 400],
    'two values': [`${recordText('a')}${recordText('b')}`, 'malformed-json', 400],
    'half a value': [recordText('a').slice(0, -1), 'malformed-json', 400],
    NaN: [withData('{"a":NaN}'), 'malformed-json', 400],
    'a comment': [withData('{} /* x */'), 'malformed-json', 400],
    'an array': ['[]', 'not-an-object', 400],
    'a string': ['"x"', 'not-an-object', 400],
    null: ['null', 'not-an-object', 400],
    '64 KiB and one byte (B5)': [
      recordText('a', { pad: 'x'.repeat(MAX_RECORD_BYTES - recordText('a', { pad: '' }).length + 1) }),
      'record-too-large',
      413,
    ],
  };
  for (const [what, [bytes, slug, status]] of Object.entries(bad)) {
    it(`refuses ${what} as ${slug}`, () => {
      const problem = refusal(bytes);
      assert.deepEqual([problem.slug, problem.status], [slug, status]);
    });
  }

  it('takes depth 32 and exactly 64 KiB (controls)', () => {
    readRecord(Buffer.from(withData(`{"a":${'['.repeat(30)}${']'.repeat(30)}}`)), NOW);
    const pad = 'x'.repeat(MAX_RECORD_BYTES - recordText('a', { pad: '' }).length);
    assert.equal(readRecord(Buffer.from(`  ${recordText('a', { pad })}  `), NOW).body.length, MAX_RECORD_BYTES + 30);
  });

  it('takes names of the prototype as bytes and lets them shadow nothing (B7)', () => {
    const text = withData('{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}');
    assert.ok(Buffer.from(readRecord(Buffer.from(text), NOW).body).includes(text));
    assert.equal(({} as Record<string, unknown>)['polluted'], undefined);

    const inherited = `{"__proto__":${recordText('a')}}`;
    assert.deepEqual(
      refusal(inherited).errors?.map(({ pointer }) => pointer),
      ['/id', '/kind', '/entity_id', '/entity_type', '/created_at'],
    );
  });

  describe('validates the shape, with pointers (B8)', () => {
    const cases: [string, Record<string, unknown>, string[]][] = [
      ['an id with a space', { id: 'a b' }, ['/id']],
      ['an id with a slash', { id: 'a/b' }, ['/id']],
      ['an id with a final line feed', { id: 'a\n' }, ['/id']],
      ['an empty id', { id: '' }, ['/id']],
      ['an id of 129 characters', { id: 'a'.repeat(129) }, ['/id']],
      ['an id that is SQL (B16)', { id: "'; RESET ROLE; SET ROLE kiff_owner; --" }, ['/id']],
      ['a number for a string', { kind: 1 }, ['/kind']],
      ['an empty kind', { kind: '' }, ['/kind']],
      ['null for an optional string', { actor_id: null }, ['/actor_id']],
      ['an array for data', { data: [] }, ['/data']],
      ['a string for data', { data: 'x' }, ['/data']],
      ['null for data', { data: null }, ['/data']],
      ['several at once', { kind: 1, trace_id: 2, created_at: 'x' }, ['/kind', '/created_at', '/trace_id']],
      ['a time without offset', { created_at: '2026-01-02T03:04:05' }, ['/created_at']],
      ['a date only', { created_at: '2026-01-02' }, ['/created_at']],
      ['30 February', { created_at: '2026-02-30T00:00:00Z' }, ['/created_at']],
      ['a time 5 min and 1 ms ahead', { created_at: new Date(NOW + 300_001).toISOString() }, ['/created_at']],
    ];
    for (const [what, change, pointers] of cases) {
      it(`refuses ${what}`, () => {
        const problem = refusal(recordText('a', change));
        assert.deepEqual([problem.slug, problem.status], ['invalid-record', 422]);
        assert.deepEqual(
          problem.errors?.map(({ pointer }) => pointer),
          pointers,
        );
      });
    }

    for (const name of ['id', 'kind', 'entity_id', 'entity_type', 'created_at']) {
      it(`refuses a record without ${name}, saying so`, () => {
        assert.deepEqual(refusal(recordText('a', { [name]: undefined })).errors, [
          { pointer: `/${name}`, detail: 'is missing' },
        ]);
      });
    }

    it('takes what is just allowed (controls)', () => {
      const fine = [
        { id: `${'A'.repeat(124)}._:-` },
        { created_at: new Date(NOW + 300_000).toISOString() },
        { created_at: '2024-02-29T23:59:59.123456789+23:59' },
        { actor_id: '', message: 'x', data: {}, trace_id: 't', correlation_id: 'c', causation_id: 'd' },
        { kind: 'a kind that is new', entity_id: '\u0000', entity_type: "'; DROP TABLE records; --" },
      ];
      for (const change of fine) readRecord(Buffer.from(recordText('a', change)), NOW);
    });

    it('never repeats what it was given', () => {
      const problem = refusal(recordText('a', { kind: 7_777_777, id: 'secret value', created_at: 'secret value' }));
      assert.doesNotMatch(JSON.stringify(problem.document()), /secret value|7777777/);
    });
  });
});
