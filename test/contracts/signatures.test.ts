// Past 10 KB: every form of signature and every kind of signer, by example.
import assert from 'node:assert/strict';
import {
  concatHex,
  hexToBigInt,
  parseSignature,
  serializeCompactSignature,
  signatureToCompactSignature,
  size,
  toHex,
  type Hex,
  type LocalAccount,
} from 'viem';
import { delegate, deploySigner, ownedBy } from './accounts.ts';
import { key, revertName, startDevnet, type Devnet } from './devnet.ts';
import { openLog } from './log.ts';
import { registryWithout } from './mutant.ts';
import { signSeal, zero, type SealInput } from './statements.ts';

const lengths = { periodSeconds: 3600, coolingOffSeconds: 86_400 };
/** Order of secp256k1 (SEC 2, section 2.4.1). */
const n = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;

describe('SealRegistry: signatures', () => {
  let net: Devnet;
  before(async function () {
    this.timeout(60_000);
    net = await startDevnet(lengths);
  });
  after(async () => {
    await net.stop();
  });

  describe('of a key', () => {
    const forms: Record<string, (parts: { r: Hex; s: Hex; v: number; compact: Hex }) => Hex> = {
      'high s': ({ r, s, v }) => join(r, toHex(n - hexToBigInt(s), { size: 32 }), v === 27 ? 28 : 27),
      'the other v': ({ r, s, v }) => join(r, s, v === 27 ? 28 : 27),
      'v 0 or 1': ({ r, s, v }) => join(r, s, v - 27),
      'v 29': ({ r, s }) => join(r, s, 29),
      'r = 0': ({ s, v }) => join(zero, s, v),
      'r = n': ({ s, v }) => join(toHex(n), s, v),
      's = 0': ({ r, v }) => join(r, zero, v),
      's = n': ({ r, v }) => join(r, toHex(n), v),
      'no bytes': () => '0x',
      '64 bytes, r‖s': ({ r, s }) => concatHex([r, s]),
      '64 bytes, ERC-2098': ({ compact }) => compact,
      '66 bytes': ({ r, s, v }) => concatHex([join(r, s, v), '0x00']),
      DER: ({ r, s }) => derOf(r, s),
    };
    for (const [name, form] of Object.entries(forms)) {
      it(`refuses ${name}, and takes the canonical form after it`, async () => {
        const log = await openLog(net, key(101));
        const seal = log.next();
        const good = await log.sign(seal);
        const { r, s, v } = parseSignature(good.signature);
        const compact = serializeCompactSignature(signatureToCompactSignature(parseSignature(good.signature)));
        const signature = form({ r, s, v: Number(v), compact });
        assert.notEqual(signature, good.signature);
        assert.deepEqual((await net.anchor({ ...good, signature }, good)).outcomes, ['BadSignature', 'Sealed']);
      });
    }

    it('counts for one statement only: every field, prev, chain, contract', async () => {
      const log = await openLog(net, key(102));
      await log.seal();
      const other = await openLog(net, key(102));
      const seal = log.next();
      const good = await log.sign(seal);
      const elsewhere = [
        await signSeal({ ...net.domain, chainId: 8453 }, log.standing.signer, seal),
        await signSeal({ ...net.domain, contract: `0x${'11'.repeat(20)}` }, log.standing.signer, seal),
        await log.sign({ ...seal, prev: zero }),
        await log.sign({ ...seal, logId: other.logId }),
        await log.sign({ ...seal, seq: 3 }),
        await log.sign({ ...seal, period: seal.period + 3600 }),
        await log.sign({ ...seal, treeSize: seal.treeSize + 1 }),
        await log.sign({ ...seal, root: zero }),
        await log.sign(seal, key(103)),
      ].map(({ signature }) => ({ ...good, signature }));
      const { outcomes } = await net.anchor(...elsewhere);
      assert.deepEqual(new Set(outcomes), new Set(['BadSignature']));
      assert.deepEqual((await net.anchor(good)).outcomes, ['Sealed']);
    });

    it("is nobody's when the signer is a precompile or the registry itself", async () => {
      for (const address of [`0x${'00'.repeat(19)}01`, `0x${'00'.repeat(19)}04`, net.registry.address] as const) {
        const log = await openLog(net, key(104), address);
        assert.deepEqual((await net.anchor(await log.sign(log.next()))).outcomes, ['BadSignature']);
      }
    });
  });

  describe('of a contract (ERC-1271)', () => {
    it('is what the contract takes for one', async () => {
      const { address: account } = await ownedBy(net, key(110));
      const log = await openLog(net, key(110), account);
      const seal = log.next();
      const wrong = await log.sign(seal, key(111));
      assert.deepEqual((await net.anchor(wrong, await log.sign(seal))).outcomes, ['BadSignature', 'Sealed']);
      log.advance(seal);
      await log.assertStanding({ signer: account });
      assert.deepEqual((await net.anchor(await log.sign(log.next()))).outcomes, ['Sealed']);
    });

    it('may be of any length', async () => {
      const log = await openLog(net, key(112), await deploySigner(net, 'YesSigner'));
      for (const length of [0, 64, 65, 500, 20_000]) {
        const seal = log.next();
        const item = { ...(await log.sign(seal)), signature: `0x${'ab'.repeat(length)}` as const };
        assert.deepEqual((await net.anchor(item)).outcomes, ['Sealed'], String(length));
        log.advance(seal);
      }
    });

    for (const name of [
      'NoSigner',
      'RevertingSigner',
      'LoopingSigner',
      'BurningSigner',
      'ShortSigner',
      'SilentSigner',
      'DirtySigner',
      'FloodingSigner',
      'FloodRevertingSigner',
      'WritingSigner',
    ]) {
      it(`of ${name} is none, at a bounded price, and its neighbours are spared`, async () => {
        const hostile = await openLog(net, key(113), await deploySigner(net, name));
        const [first, last] = [await firstSeal(net, key(114)), await firstSeal(net, key(115))];
        const bad = await hostile.sign(hostile.next());
        const { outcomes, gasUsed } = await net.anchor(first, bad, last, bad, bad);
        assert.deepEqual(outcomes, ['Sealed', 'BadSignature', 'Sealed', 'BadSignature', 'BadSignature']);
        assert.ok(gasUsed < 160_000 + 3 * 145_000, `${gasUsed} gas`);
      });
    }

    it('is asked with 120,000 gas, never less, also through a delegation and for long signatures', async () => {
      const probe = await deploySigner(net, 'GasProbeSigner');
      const log = await openLog(net, key(116), probe);
      const delegated = key(117);
      await delegate(net, delegated, probe);
      const delegatedLog = await openLog(net, delegated);
      for (const length of [0, 65, 5_000, 60_000]) {
        const signature: Hex = `0x${'cd'.repeat(length)}`;
        for (const each of [log, delegatedLog]) {
          const seal = each.next();
          const item = { ...(await each.sign(seal)), signature };
          assert.deepEqual((await net.anchor(item)).outcomes, ['Sealed'], `${length} bytes`);
          each.advance(seal);
        }
      }
    });
  });

  describe('of an account with an EIP-7702 delegation', () => {
    it("is its key's, and the delegate is not asked", async () => {
      const { gasUsed: ordinary } = await net.anchor(await firstSeal(net, key(120)));
      for (const name of ['NoSigner', 'LoopingSigner', 'RevertingSigner']) {
        const account = key(121 + name.length);
        await delegate(net, account, await deploySigner(net, name));
        const { outcomes, gasUsed } = await net.anchor(await firstSeal(net, account));
        assert.deepEqual(outcomes, ['Sealed'], name);
        assert.ok(Math.abs(gasUsed - ordinary) < 1_000, `${name}: ${gasUsed}, an ordinary account's ${ordinary}`);
      }
    });

    it("is the delegate's to judge only when it is not the key's", async () => {
      const account = key(140);
      await delegate(net, account, await deploySigner(net, 'YesSigner'));
      const log = await openLog(net, account);
      const stranger = await log.sign(log.next(), key(141));
      assert.deepEqual((await net.anchor(stranger)).outcomes, ['Sealed']);
    });
  });

  describe('with too little gas', () => {
    it('never turns a good contract signature into a refusal: sealed, or nothing happened', async () => {
      const found = await starve(net, await deploySigner(net, 'GasProbeSigner'));
      assert.deepEqual([...found].toSorted(), ['NotEnoughGas', 'Sealed', 'reverted']);
    });

    it('would do so without the check (control)', async function () {
      this.timeout(60_000);
      const check = 'if (gasleft() < (frameGas * 64) / 63 + 1_000) revert NotEnoughGas();';
      const mutant = await startDevnet(lengths, registryWithout(check));
      try {
        assert.ok((await starve(mutant, await deploySigner(mutant, 'GasProbeSigner'))).has('BadSignature'));
      } finally {
        await mutant.stop();
      }
    });
  });
});

/** Simulates one good seal of a contract signer with every kind of gas limit; returns all that came of it. */
async function starve(net: Devnet, account: Hex): Promise<Set<string>> {
  const log = await openLog(net, key(150), account);
  const item = await log.sign(log.next());
  const attempt = async (gas: number): Promise<string> => {
    try {
      return (await net.simulate([item], BigInt(gas))).join();
    } catch (error) {
      try {
        return revertName(error);
      } catch {
        return 'reverted'; // out of gas: the node names no error
      }
    }
  };
  const found = new Set<string>();
  for (let gas = 30_000; gas <= 260_000; gas += 2_000) found.add(await attempt(gas));
  assert.equal(await attempt(260_000), 'Sealed');
  // And gas by gas around the edge below which it is no longer sealed.
  let [bad, good] = [30_000, 260_000];
  while (good - bad > 1) {
    const middle = Math.floor((bad + good) / 2);
    if ((await attempt(middle)) === 'Sealed') good = middle;
    else bad = middle;
  }
  for (let gas = good - 150; gas <= good + 50; gas += 1) found.add(await attempt(gas));
  return found;
}

async function firstSeal(net: Devnet, account: LocalAccount): Promise<SealInput> {
  const log = await openLog(net, account);
  return await log.sign(log.next());
}

function join(r: Hex, s: Hex, v: number): Hex {
  return concatHex([r, s, toHex(v, { size: 1 })]);
}

/** As AWS KMS answers: SEQUENCE of two INTEGERs (X.690), here without minding leading zeros. */
function derOf(r: Hex, s: Hex): Hex {
  const integers = concatHex(['0x022100', r, '0x022100', s]);
  return concatHex(['0x30', toHex(size(integers), { size: 1 }), integers]);
}
