/**
 * B22: no byte of a receipt's file can change without a check that says so. Every byte is replaced, one at a time; where
 * the text still parses to another value (outside what only a chain can judge), some check must fail, by name.
 */
import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import { decodeUtf8Strict, JsonError } from '../../protocol/json.ts';
import type { Policy } from '../../protocol/policy.ts';
import type { Receipt } from '../../protocol/receipt.ts';
import { NotJsonError } from '../../protocol/shape.ts';
import { verifyReceiptText, type Verification } from '../../protocol/verify.ts';
import { edited, makePolicy, makeReceipt, named, type Mutable } from './receipt-factory.ts';

const HEX_DIGITS = '0123456789abcdef';

/** For each UTF-16 unit of a JSON text, whether it is inside a string. */
function insideStrings(text: string): boolean[] {
  let inside = false;
  let escaped = false;
  return Array.from(text.split(''), (unit) => {
    const before = inside;
    if (escaped) escaped = false;
    else if (inside && unit === '\\') escaped = true;
    else if (unit === '"') inside = !inside;
    return before && inside;
  });
}

/** What to put in a unit's place: a neighbour of its own kind, and what breaks or bends the JSON around it. */
function replacements(unit: string, inString: boolean): string[] {
  const digit = HEX_DIGITS.indexOf(unit);
  const neighbour = digit >= 0 ? HEX_DIGITS.charAt((digit + 1) % 16) : String.fromCharCode(unit.charCodeAt(0) ^ 1);
  const others = inString ? ['"', '\\', 'Z'] : ['0', '1', '9', '-', 'e', '.', ' ', '"', '[', '}'];
  return [...new Set([neighbour, ...others])].filter((other) => other !== unit);
}

/** The receipt's value without what offline checks do not judge. */
function judgedOffline(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !('handovers' in value)) return value;
  const { anchor: _anchor, ...rest } = value as Record<string, unknown>;
  if (!Array.isArray(rest['handovers'])) return rest;
  rest['handovers'] = rest['handovers'].map((item: unknown) => {
    if (typeof item !== 'object' || item === null) return item;
    const { proposed: _proposed, accepted: _accepted, ...signedPart } = item as Record<string, unknown>;
    return signedPart;
  });
  return rest;
}

interface Tally {
  unparsable: number;
  same: number;
  caught: number;
}

/** Replaces every unit of `text` in `from..to`, and asserts that what changed the judged value was caught. */
async function mutate(text: string, policy: Policy, from: number, to: number): Promise<Tally> {
  const original = judgedOffline(JSON.parse(text));
  const strings = insideStrings(text);
  const tally = { unparsable: 0, same: 0, caught: 0 };
  for (let at = from; at < to; at++) {
    for (const other of replacements(text.charAt(at), strings[at] === true)) {
      const changed = text.slice(0, at) + other + text.slice(at + 1);
      let verification: Verification;
      try {
        verification = await verifyReceiptText(changed, policy, { offline: true });
      } catch (error) {
        assert(error instanceof NotJsonError);
        assert.throws(() => JSON.parse(changed), SyntaxError);
        tally.unparsable++;
        continue;
      }
      if (isDeepStrictEqual(judgedOffline(JSON.parse(changed)), original)) {
        tally.same++;
        continue;
      }
      const failed = named(verification.checks, 'failed');
      assert.equal(
        verification.ok,
        false,
        `offset ${at}: ${text.slice(at - 20, at + 20)} with ${JSON.stringify(other)}`,
      );
      assert(failed.length > 0, `offset ${at}: refused, but by no name`);
      tally.caught++;
    }
  }
  return tally;
}

describe('protocol/verify under one-byte changes (B22)', () => {
  const policy = makePolicy();

  async function textOf(receipt: Receipt): Promise<string> {
    const text = JSON.stringify(receipt);
    const { ok, checks } = await verifyReceiptText(text, policy, { offline: true });
    assert.equal(ok, true, JSON.stringify(checks));
    return text;
  }

  it('names the check that fails, wherever the byte is', async function () {
    this.timeout(240_000);
    const text = await textOf(await makeReceipt({ size: 5, leafIndex: 4 }));
    const tally = await mutate(text, policy, 0, text.length);
    // Every unit has a replacement that matters, but for what only a chain judges and white space.
    assert(tally.caught > text.length, JSON.stringify(tally));
    assert(tally.unparsable > text.length / 2, JSON.stringify(tally));
  });

  it('names it in handovers, too', async function () {
    this.timeout(240_000);
    // Its checkpoint would be verified thousands of times and is not what is changed here.
    const text = await textOf({ ...(await makeReceipt({ epoch: 1, size: 1, leafIndex: 0 })), checkpoint: null });
    const from = text.indexOf('"epoch"');
    const to = text.indexOf('"proposed"');
    assert(from > 0 && to > from);
    const tally = await mutate(text, policy, from, to);
    assert(tally.caught > to - from, JSON.stringify(tally));
  });

  it('also where the text is escaped in another way', async function () {
    this.timeout(240_000);
    const receipt = await makeReceipt({
      size: 1,
      leafIndex: 0,
      body: '{"attribution":null,"record":{"note":"\u{FFFD}\u{1F600}\u{E9}"}}',
    });
    const text = (await textOf(receipt)).replaceAll(/[^\0-~]/gu, (character) =>
      Array.from(character.split(''), (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`).join(''),
    );
    assert.equal((await verifyReceiptText(text, policy, { offline: true })).ok, true);
    const from = text.indexOf('"body"');
    await mutate(text, policy, from, text.indexOf('"leafIndex"'));
  });

  it('and bytes that are no UTF-8 or end a file early are no receipt at all', async () => {
    const text = await textOf(await makeReceipt());
    for (const end of [0, 1, text.length / 2, text.length - 1]) {
      await assert.rejects(verifyReceiptText(text.slice(0, end), policy, { offline: true }), NotJsonError);
    }
  });

  it('and a changed byte of a character of several bytes is no UTF-8, or is caught', async () => {
    const bytes = new TextEncoder().encode(await textOf(await makeReceipt({ size: 1, leafIndex: 0 })));
    let decoded = 0;
    for (const [at, byte] of bytes.entries()) {
      if (byte < 0x80) continue;
      for (let other = 0; other < 256; other += 3) {
        const changed = bytes.with(at, other === byte ? other ^ 1 : other);
        let text: string;
        try {
          text = decodeUtf8Strict(changed);
        } catch (error) {
          assert(error instanceof JsonError);
          continue;
        }
        decoded++;
        const { ok, checks } = await verifyReceiptText(text, policy, { offline: true });
        assert.equal(ok, false);
        assert.notDeepEqual(named(checks, 'failed'), []);
      }
    }
    assert(decoded > 50);
  });

  it('control: what only a chain judges may change offline', async () => {
    const receipt = edited(await makeReceipt({ epoch: 1 }), (copy: Mutable<Receipt>) => {
      copy.anchor.blockNumber += 1;
      copy.anchor.level = 'included';
      for (const item of copy.handovers) item.accepted.logIndex += 1;
    });
    await textOf(receipt);
  });
});
