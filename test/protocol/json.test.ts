import assert from 'node:assert/strict';
import fc from 'fast-check';
import { JsonError, scanJson, topLevelSpans, type JsonFault } from '../../protocol/json.ts';

/** The fault that a scan ends with, or undefined. Anything but a JsonError is a bug and comes through. */
function faultOf(text: string, maxDepth = 32): JsonFault | undefined {
  try {
    scanJson(text, { maxDepth });
    return undefined;
  } catch (error) {
    if (error instanceof JsonError) return error.code;
    throw error;
  }
}

function parses(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** Arrays and objects by turns, `depth` deep. */
const nested = (depth: number): string =>
  Array.from({ length: depth }, (_, at) => (at % 2 === 0 ? '[' : '{"a":')).join('') +
  '1' +
  Array.from({ length: depth }, (_, at) => ((depth - 1 - at) % 2 === 0 ? ']' : '}')).join('');

/** An object with these names. */
const named = (list: readonly string[]): string => `{${list.map((name) => `"${name}":0`).join(',')}}`;

const refused: readonly (readonly [name: string, text: string, code: JsonFault, offset: number])[] = [
  ['nothing', '', 'syntax', 0],
  ['only white space', ' \n\t\r', 'syntax', 4],
  ['two values', '{} {}', 'syntax', 3],
  ['a trailing comma in an object', '{"a":1,}', 'syntax', 7],
  ['a trailing comma in an array', '[1,]', 'syntax', 3],
  ['a leading comma', '[,1]', 'syntax', 1],
  ['a missing comma', '[1 2]', 'syntax', 3],
  ['a missing colon', '{"a" 1}', 'syntax', 5],
  ['a missing value', '{"a":}', 'syntax', 5],
  ['a name without quotes', '{a:1}', 'syntax', 1],
  ['single quotes', "{'a':1}", 'syntax', 1],
  ['the wrong closing bracket', '[1}', 'syntax', 2],
  ['the wrong closing brace', '{"a":1]', 'syntax', 6],
  ['an array left open', '[1', 'syntax', 2],
  ['an object left open', '{"a":1', 'syntax', 6],
  ['a string left open', '"abc', 'syntax', 4],
  ['a name left open', '{"abc', 'syntax', 5],
  ['a backslash at the end', '"\\', 'syntax', 1],
  ['an unknown escape', '"\\x41"', 'syntax', 1],
  ['a short unicode escape', '"\\u12"', 'syntax', 5],
  ['a short escape for the second half of a pair', '"\\ud83d\\u12"', 'syntax', 11],
  ['a raw line feed in a string', '"a\nb"', 'syntax', 2],
  ['a raw NUL in a name', '{"\0":1}', 'syntax', 2],
  ['a leading zero', '01', 'syntax', 1],
  ['a plus sign', '+1', 'syntax', 0],
  ['a minus sign alone', '-', 'syntax', 1],
  ['a fraction without digits', '1.', 'syntax', 2],
  ['a number that starts with its point', '.5', 'syntax', 0],
  ['an exponent without digits', '1e+', 'syntax', 3],
  ['hex', '0x10', 'syntax', 1],
  ['NaN', 'NaN', 'syntax', 0],
  ['Infinity', '-Infinity', 'syntax', 1],
  ['a literal in capitals', 'True', 'syntax', 0],
  ['a literal cut short', 'nul', 'syntax', 0],
  ['a literal with a tail', 'nulls', 'syntax', 4],
  ['a comment', '/**/{}', 'syntax', 0],
  ['a vertical tab as white space', '\v{}', 'syntax', 0],
  ['a no-break space as white space', '{}\u00a0', 'syntax', 2],
  ['a byte order mark inside', '[\ufeff1]', 'syntax', 1],
  ['a byte order mark in front', '\ufeff{}', 'bom', 0],
  ['two members with one name', '{"a":1,"a":1}', 'duplicate-key', 7],
  ['two names that are one when unescaped', '{"a":1,"\\u0061":2}', 'duplicate-key', 7],
  ['two names escaped in two ways', '{"\\/":1,"\\u002f":2}', 'duplicate-key', 8],
  ['two empty names', '{"":1,"b":2,"":3}', 'duplicate-key', 12],
  ['two __proto__', '{"__proto__":1,"__proto__":2}', 'duplicate-key', 15],
  ['one name twice, deep inside', '[{"x":{"b":{},"c":[],"b":1}}]', 'duplicate-key', 21],
  ['one name twice, with an object between', '{"a":{"b":1},"a":2}', 'duplicate-key', 13],
  ['a lone high surrogate, escaped', '"\\ud800"', 'lone-surrogate', 1],
  ['a lone low surrogate, escaped', '"x\\uDC00"', 'lone-surrogate', 2],
  ['two high surrogates', '"\\ud83d\\ud83d"', 'lone-surrogate', 1],
  ['a pair the wrong way round', '"\\ude00\\ud83d"', 'lone-surrogate', 1],
  ['a high surrogate before another escape', '"\\ud83d\\n"', 'lone-surrogate', 1],
  ['a high surrogate before plain text', '"\\ud83dxxxxxxxxxx"', 'lone-surrogate', 1],
  ['a lone surrogate in a name', '{"\\udfff":1}', 'lone-surrogate', 2],
  ['a raw lone high surrogate', '"\ud83d"', 'lone-surrogate', 1],
  ['a raw lone low surrogate', '"\ude00"', 'lone-surrogate', 1],
  ['an escaped high and a raw low surrogate', '"\\ud83d\ude00"', 'lone-surrogate', 1],
  ['a raw high surrogate at the end of the text', '"\ud83d', 'lone-surrogate', 1],
];

describe('scanJson', () => {
  for (const [name, text, code, offset] of refused) {
    it(`refuses ${name} as ${code}`, () => {
      assert.throws(
        () => scanJson(text),
        (error) => {
          assert.ok(error instanceof JsonError);
          assert.deepEqual({ code: error.code, offset: error.offset }, { code, offset });
          return true;
        },
      );
    });
  }

  for (const text of [
    '1e400',
    '-0',
    '-0.0e-0',
    '123456789012345678901234567890',
    '1E+2',
    '"\\ud83d\\ude00 \ud83d\ude00 \\u0000 \u007f \\"\\\\\\/\\b\\f\\n\\r\\t"',
    '{"":{"":{"":[]}}}',
    '{"a":{"a":1},"b":{"a":1}}',
    '[{"a":1},{"a":2}]',
    '{"__proto__":1,"constructor":{"prototype":2}}',
    '{"a":1,"A":2,"á":3,"a\\u0301":4}',
    ' \t\r\n{ "a" : [ 1 , true , false , null ] } ',
    'null',
  ]) {
    it(`accepts ${JSON.stringify(text)}`, () => assert.equal(faultOf(text), undefined));
  }

  it('says where the value stands and what it is', () => {
    assert.deepEqual(scanJson(' {"a":[1]}\n'), { kind: 'object', start: 1, end: 10 });
    assert.deepEqual(scanJson('[{}]'), { kind: 'array', start: 0, end: 4 });
    assert.deepEqual(scanJson('"{"'), { kind: 'string', start: 0, end: 3 });
    assert.deepEqual(scanJson(' -1 '), { kind: 'number', start: 1, end: 3 });
    assert.deepEqual(scanJson('null'), { kind: 'literal', start: 0, end: 4 });
  });

  it('counts depth over arrays and objects, and does not recurse', () => {
    assert.equal(faultOf(nested(32)), undefined);
    assert.equal(faultOf(nested(33)), 'too-deep');
    assert.equal(faultOf('['.repeat(20_000)), 'too-deep');
    assert.equal(faultOf('{"a":'.repeat(20_000)), 'too-deep');
    assert.equal(faultOf('['.repeat(20_000), Infinity), 'syntax');
    assert.equal(faultOf(nested(20_000), Infinity), undefined);
    assert.equal(faultOf('{}', 0), 'too-deep');
    assert.equal(faultOf('1', 0), undefined);
    assert.equal(faultOf(`[${'[],'.repeat(100)}[]]`, 2), undefined, 'what is closed does not count');
  });

  it('finds the one repeated name among thousands, wherever it stands', () => {
    const names = Array.from({ length: 3000 }, (_, at) => `name ${at}`);
    assert.equal(faultOf(named(names)), undefined);
    fc.assert(
      fc.property(fc.nat(2999), fc.nat(3000), (from, to) => {
        assert.equal(faultOf(named(names.toSpliced(to, 0, names[from]!))), 'duplicate-key');
      }),
      { numRuns: 30 },
    );
  });

  it('accepts what JSON.stringify writes', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), fc.constantFrom('', ' ', '\t'), (value, indent) => {
        const text = JSON.stringify(value, null, indent);
        assert.equal(faultOf(text), undefined);
      }),
    );
  });

  it('agrees with JSON.parse on texts that are damaged at one place', () => {
    const piece = fc.constantFrom(
      ...'{}[],:"\\/+-.eE0123456789 \n\tabftnulrs\u0000\u00e9\ufeff'.split(''),
      '\\u',
      '\\ud83d',
      '""',
    );
    let broken = 0;
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), fc.nat(), fc.nat(2), piece, (value, seed, cut, inserted) => {
        const text = JSON.stringify(value);
        const at = seed % (text.length + 1);
        const damaged = text.slice(0, at) + inserted + text.slice(at + cut);
        const fault = faultOf(damaged);
        if (!parses(damaged)) {
          assert.notEqual(fault, undefined, damaged);
          broken++;
        } else if (fault !== undefined) {
          // What JSON.parse lets pass and we do not.
          assert.ok(fault === 'duplicate-key' || fault === 'lone-surrogate', `${fault}: ${damaged}`);
        }
      }),
      { numRuns: 5000 },
    );
    assert.ok(broken > 500, `only ${broken} texts were broken`);
  });
});

describe('topLevelSpans', () => {
  it('cuts each value out exactly, by its unescaped name', () => {
    const text = ' { "a" : {"x":[1,{"y":2}],"a":0} ,"\\u0062":1e400,"":[ ] , "d": "}" }\n';
    const spans = topLevelSpans(text).map(({ name, valueStart, valueEnd }) => [name, text.slice(valueStart, valueEnd)]);
    assert.deepEqual(spans, [
      ['a', '{"x":[1,{"y":2}],"a":0}'],
      ['b', '1e400'],
      ['', '[ ]'],
      ['d', '"}"'],
    ]);
    assert.deepEqual(topLevelSpans('{}'), []);
  });

  it('agrees with JSON.parse', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 3 })),
        fc.constantFrom('', '  '),
        (value, indent) => {
          const text = JSON.stringify(value, null, indent);
          const parsed = JSON.parse(text) as Record<string, unknown>;
          const spans = topLevelSpans(text);
          assert.deepEqual(new Set(spans.map(({ name }) => name)), new Set(Object.keys(parsed)));
          for (const { name, valueStart, valueEnd } of spans) {
            assert.deepEqual(JSON.parse(text.slice(valueStart, valueEnd)), parsed[name]);
          }
        },
      ),
    );
  });

  it('judges as scanJson does, and refuses what is no object', () => {
    assert.throws(() => topLevelSpans('[1]'), { code: 'syntax', offset: 0 });
    assert.throws(() => topLevelSpans(' "a"'), { code: 'syntax', offset: 1 });
    assert.throws(() => topLevelSpans('{"a":{"b":1,"b":2}}'), { code: 'duplicate-key' });
    assert.throws(() => topLevelSpans('{"a":[[]]}', { maxDepth: 2 }), { code: 'too-deep' });
  });
});
