import assert from 'node:assert/strict';
import fc from 'fast-check';
import { JsonError, scanJson, type JsonFault } from '../../protocol/json.ts';

/** The fault that a scan ends with, or undefined. Anything but a JsonError is a bug and comes through. */
function faultOf(text: string): JsonFault | undefined {
  try {
    scanJson(text);
    return undefined;
  } catch (error) {
    if (error instanceof JsonError) return error.code;
    throw error;
  }
}

/** A value of which we know what a scan must say, because members stay a list and strings stay code units. */
type Model =
  | { readonly kind: 'scalar'; readonly text: string }
  | { readonly kind: 'string'; readonly units: readonly Unit[] }
  | { readonly kind: 'array'; readonly items: readonly Model[] }
  | { readonly kind: 'object'; readonly members: readonly (readonly [readonly Unit[], Model])[] };

/** One UTF-16 code unit, written raw or as an escape. */
type Unit = readonly [code: number, escaped: boolean];

const HIGH = 0xd83d;
const LOW = 0xde00;

function isLone(units: readonly Unit[]): boolean {
  for (let at = 0; at < units.length; at++) {
    const [code, escaped] = units[at]!;
    if (code === LOW) return true;
    if (code !== HIGH) continue;
    const next = units[at + 1];
    // Halves written in two ways do not make one character: the raw half would not survive UTF-8.
    if (next === undefined || next[0] !== LOW || next[1] !== escaped) return true;
    at++;
  }
  return false;
}

const quoted = (units: readonly Unit[]): string =>
  `"${units.map(([code, escaped]) => (escaped ? `\\u${code.toString(16).padStart(4, '0')}` : String.fromCharCode(code))).join('')}"`;

function write(model: Model): string {
  switch (model.kind) {
    case 'scalar':
      return model.text;
    case 'string':
      return quoted(model.units);
    case 'array':
      return `[ ${model.items.map(write).join(' ,')}]`;
    case 'object':
      return `{${model.members.map(([name, value]) => `${quoted(name)} :\t${write(value)}`).join(',\n')} }`;
  }
}

function expected(model: Model): Set<JsonFault> {
  const faults = new Set<JsonFault>();
  const visit = (value: Model): void => {
    if (value.kind === 'string' && isLone(value.units)) faults.add('lone-surrogate');
    if (value.kind === 'array') value.items.forEach(visit);
    if (value.kind === 'object') {
      const names = value.members.map(([name]) => name.map(([code]) => code).join());
      if (new Set(names).size < names.length) faults.add('duplicate-key');
      for (const [name, member] of value.members) {
        if (isLone(name)) faults.add('lone-surrogate');
        visit(member);
      }
    }
  };
  visit(model);
  return faults;
}

describe('scanJson, against a model', () => {
  const unit = fc.tuple(
    fc.oneof(
      { weight: 9, arbitrary: fc.constantFrom(0x61, 0x62, 0xe9, 0x20ac) },
      { weight: 1, arbitrary: fc.constantFrom(HIGH, LOW) },
    ),
    fc.boolean(),
  );
  const pair = fc.boolean().map((escaped): Unit[] => [
    [HIGH, escaped],
    [LOW, escaped],
  ]);
  const units = fc.array(
    fc.oneof({ weight: 5, arbitrary: unit.map((one): Unit[] => [one]) }, { weight: 1, arbitrary: pair }),
    {
      maxLength: 3,
    },
  );
  const text = units.map((list): Unit[] => list.flat());
  const { value } = fc.letrec<{ value: Model }>((tie) => ({
    value: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      fc.constantFrom('0', '-1.5e3', 'true', 'null').map((scalar): Model => ({ kind: 'scalar', text: scalar })),
      text.map((list): Model => ({ kind: 'string', units: list })),
      fc.array(tie('value'), { maxLength: 4 }).map((items): Model => ({ kind: 'array', items })),
      fc.array(fc.tuple(text, tie('value')), { maxLength: 5 }).map((members): Model => ({ kind: 'object', members })),
    ),
  }));

  it('finds repeated names and lone surrogates exactly where there are some', () => {
    const seen = { clean: 0, faulty: 0 };
    fc.assert(
      fc.property(value, (model) => {
        const faults = expected(model);
        const fault = faultOf(write(model));
        if (faults.size === 0) assert.equal(fault, undefined);
        else assert.ok(fault !== undefined && faults.has(fault), `${fault} is not among ${[...faults].join()}`);
        seen[faults.size === 0 ? 'clean' : 'faulty']++;
      }),
      { numRuns: 5000 },
    );
    assert.ok(seen.clean > 500 && seen.faulty > 500, JSON.stringify(seen));
  });
});
