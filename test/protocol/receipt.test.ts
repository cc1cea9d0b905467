import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { parsePolicy, parsePolicyText } from '../../protocol/policy.ts';
import { parseReceipt, parseReceiptText, type Receipt } from '../../protocol/receipt.ts';
import { FormatError, NotJsonError } from '../../protocol/shape.ts';
import { makePolicy, makeReceipt, signersOf, addressOf } from './receipt-factory.ts';

/** Every member of a JSON value, with its JSON pointer. */
function members(value: unknown, pointer = ''): { pointer: string; owner: object; name: string }[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) => [
    { pointer: `${pointer}/${name}`, owner: value, name },
    ...members(inner, `${pointer}/${name}`),
  ]);
}

function setMember(owner: object, name: string, value: unknown): void {
  (owner as Record<string, unknown>)[name] = value;
}

function at(pointer: string): (error: unknown) => boolean {
  return (error) => {
    assert(error instanceof FormatError, String(error));
    assert.equal(error.pointer, pointer);
    return true;
  };
}

/** Asserts that changing the member at a pointer makes the parser name exactly that place. */
function assertNamed(parse: (value: unknown) => unknown, good: object, pointer: string, value: unknown): void {
  const copy = structuredClone(good);
  const member = members(copy).find((item) => item.pointer === pointer);
  assert(member, `no member at ${pointer}`);
  setMember(member.owner, member.name, value);
  assert.throws(() => parse(copy), at(pointer), `${pointer} = ${JSON.stringify(value)}`);
}

describe('protocol/receipt', () => {
  let receipt: Receipt;

  before(async () => {
    receipt = await makeReceipt({ epoch: 1 });
  });

  it('reads what it is given, as a copy', () => {
    const parsed = parseReceipt(receipt);
    assert.deepEqual(parsed, receipt);
    assert.notEqual(parsed.seal, receipt.seal);
    assert.deepEqual(parseReceiptText(JSON.stringify(receipt, null, 2)), receipt);
  });

  it('misses every member that is not there, and names it', () => {
    for (const { pointer } of members(receipt)) {
      // Items of lists may be fewer.
      if (/\/\d+$/u.test(pointer)) continue;
      const copy = structuredClone(receipt);
      const member = members(copy).find((item) => item.pointer === pointer);
      assert(member);
      delete (member.owner as Record<string, unknown>)[member.name];
      assert.throws(() => parseReceipt(copy), at(pointer));
    }
  });

  it('refuses a member more in every object', () => {
    for (const { pointer } of [{ pointer: '' }, ...members(receipt)]) {
      const copy = structuredClone(receipt);
      const path = pointer.split('/').slice(1);
      const owner = path.reduce<unknown>((value, name) => (value as Record<string, unknown>)[name], copy);
      if (typeof owner !== 'object' || owner === null || Array.isArray(owner)) continue;
      setMember(owner, 'extra', 1);
      assert.throws(() => parseReceipt(copy), at(`${pointer}/extra`));
    }
    assert.throws(() => parseReceiptText(JSON.stringify(receipt).replace('{', '{"__proto__":{},')), at('/__proto__'));
  });

  it('refuses a value of another type everywhere', () => {
    for (const { pointer } of members(receipt)) {
      for (const value of [undefined, true, {}, [], 'x', 1.5, -1, -0, Number.NaN, 2 ** 53]) {
        // Text takes any string, and lists may be empty.
        if (typeof value === 'string' && /\/(?:entry|body|checkpoint|origin)$/u.test(pointer)) continue;
        if (Array.isArray(value) && /\/(?:inclusion|handovers)$/u.test(pointer)) continue;
        const copy = structuredClone(receipt);
        const member = members(copy).find((item) => item.pointer === pointer);
        assert(member);
        setMember(member.owner, member.name, value);
        assert.throws(() => parseReceipt(copy), FormatError, `${pointer} = ${inspect(value)}`);
      }
    }
  });

  it('holds integers and hex to their bounds', () => {
    const cases: [string, unknown][] = [
      ['/format', 'kiff.receipt/2'],
      ['/origin', ''],
      ['/origin', 'kiff.dev/t/a b'],
      ['/origin', 'kiff.dev/t/a+b'],
      ['/origin', 'kiff.dev/t/é'],
      ['/genesisSigner', `0x${'AB'.repeat(20)}`],
      ['/genesisSigner', `0x${'ab'.repeat(19)}`],
      ['/genesisSigner', 'ab'.repeat(20)],
      ['/registry/chainId', 0],
      ['/leafIndex', 2 ** 48],
      ['/seal/seq', 0],
      ['/seal/seq', 2 ** 32],
      ['/seal/treeSize', 2 ** 48],
      ['/seal/period', 2 ** 53],
      ['/seal/epoch', 2 ** 32],
      ['/seal/signature', `0x${'11'.repeat(64)}`],
      ['/seal/signature', `0x${'11'.repeat(66)}`],
      ['/inclusion/0', `0x${'11'.repeat(31)}`],
      ['/handovers/0/handover/custody', 256],
      ['/handovers/0/handover/epochTo', 2 ** 32],
      ['/anchor/level', 'sealed'],
      ['/entry', 'half \u{D83D}'],
      ['/disclosure/body', '\u{DE00}'],
    ];
    for (const [pointer, value] of cases) assertNamed(parseReceipt, receipt, pointer, value);
    assertNamed(
      parseReceipt,
      receipt,
      '/inclusion',
      Array.from({ length: 49 }, () => `0x${'11'.repeat(32)}`),
    );
  });

  it('never repeats the value in a message, and shortens hostile names', () => {
    const copy = { ...receipt, [`\u001b[31m${'x'.repeat(500)}/~`]: 1 };
    assert.throws(
      () => parseReceipt(copy),
      (error) => error instanceof FormatError && error.message.length < 100 && /^[ -~…]+$/u.test(error.message),
    );
  });

  it('tells a text that is not JSON from one that breaks the format', () => {
    for (const text of ['', '{', '{"a":1,}', '\u{FEFF}{}', 'undefined', '{} {}']) {
      assert.throws(() => parseReceiptText(text), NotJsonError, JSON.stringify(text));
    }
    for (const text of ['{}', 'null', '7', '{"a":1,"a":2}', '"\\ud800"', `${'['.repeat(40)}${']'.repeat(40)}`]) {
      assert.throws(() => parseReceiptText(text), FormatError, text);
    }
  });
});

describe('protocol/policy', () => {
  const [first, second] = signersOf('genesis', 'second').map(addressOf);
  const policy = makePolicy({
    require: ['commitment', 'finality'],
    promiseKeys: [`0x${'11'.repeat(32)}`],
    succession: [
      { epoch: 0, signer: first ?? '0x', afterSeq: 0 },
      { epoch: 1, signer: second ?? '0x', afterSeq: 5 },
    ],
  });

  it('reads what it is given', () => {
    assert.deepEqual(parsePolicy(policy), policy);
    assert.deepEqual(parsePolicyText(JSON.stringify(policy)), policy);
    const [log] = policy.logs;
    assert(log);
    const { origin, genesisSigner } = log;
    const least = { ...policy, logs: [{ origin, genesisSigner }] };
    assert.deepEqual(parsePolicy(least), least, 'keys and succession are optional');
  });

  it('misses every other member', () => {
    for (const name of ['format', 'registry', 'logs', 'require']) {
      const copy: Record<string, unknown> = { ...policy };
      delete copy[name];
      assert.throws(() => parsePolicy(copy), at(`/${name}`));
    }
    for (const name of Object.keys(policy.registry)) {
      const registry: Record<string, unknown> = { ...policy.registry };
      delete registry[name];
      assert.throws(() => parsePolicy({ ...policy, registry }), at(`/registry/${name}`));
    }
  });

  it('names what breaks its format', () => {
    const cases: [string, unknown][] = [
      ['/format', 'kiff.policy/2'],
      ['/registry/codeHash', '0x'],
      ['/registry/periodSeconds', 0],
      ['/registry/fromBlock', -1],
      ['/logs/0/checkpointKeys/0', `0x${'11'.repeat(33)}`],
      ['/logs/0/promiseKeys/0', 'key'],
      ['/logs/0/succession/1/epoch', 0],
      ['/logs/0/succession/0/afterSeq', 1],
      ['/require/0', 'everything'],
      ['/require/1', 'log_id'],
    ];
    for (const [pointer, value] of cases) assertNamed(parsePolicy, policy, pointer, value);
    assert.throws(() => parsePolicyText(JSON.stringify(policy).replace('{', '{"require":[],')), FormatError);
    assert.throws(() => parsePolicyText('{'), NotJsonError);
    const falling = structuredClone(policy) as unknown as { logs: { succession: object[] }[] };
    falling.logs[0]?.succession.push({ epoch: 2, signer: first, afterSeq: 4 });
    assert.throws(() => parsePolicy(falling), at('/logs/0/succession/2/afterSeq'));
  });
});
