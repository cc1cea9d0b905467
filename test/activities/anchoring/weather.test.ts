/** The wallet while its transaction is on the way: providers that fail, a pool that forgets, fees that rise, a chain that stops. */
import assert from 'node:assert/strict';
import { createTestClient, http, parseEther, parseGwei } from 'viem';
import { alreadyKnown, nonceTooLow, replacementUnderpriced, type Rule } from '../../weather/faults.ts';
import { createBadDays, type BadDays } from './bad-days.ts';

const SEND = ['eth_sendRawTransaction'];
const lostBefore: Rule = { methods: SEND, fault: { do: 'drop', when: 'before' } };
const lostAfter: Rule = { methods: SEND, fault: { do: 'drop', when: 'after' } };

describe('anchoring on a bad day', function () {
  this.timeout(60_000);
  let days: BadDays;

  before(async () => {
    days = await createBadDays();
  });
  after(() => days.stop());
  beforeEach(() => days.clear());

  const sends = (): number =>
    days.providers.reduce((sum, provider) => sum + provider.calls('eth_sendRawTransaction'), 0);

  it('F21: the answer to a send is lost; the transaction is looked up and not sent again', async () => {
    const tenant = await days.signed(1);
    days.both(lostAfter);
    const nonce = await days.open();
    assert.equal((await days.look(nonce)).mined, false);
    assert.deepEqual(days.events().slice(-1), ['tx.unsure']);
    const sent = sends();
    assert.deepEqual((({ mined, seals }) => ({ mined, seals }))(await days.look(nonce)), { mined: true, seals: 1 });
    assert.equal(sends(), sent);
    await days.untilFinal();
    assert.deepEqual(await days.sealedOnChain(tenant), [1]);
  });

  it('F21: the send itself is lost; it is looked up first, and then the same bytes go out', async () => {
    const tenant = await days.signed(1);
    days.both(lostBefore);
    const nonce = await days.open();
    await days.look(nonce);
    const lookedUp = days.providers[0].calls('eth_getTransactionReceipt');
    days.both();
    await days.look(nonce);
    assert.equal(days.providers[0].calls('eth_getTransactionReceipt'), lookedUp + 1);
    await days.untilMined(nonce);
    assert.equal((await days.signedFor(nonce)).length, 1);
    await days.untilFinal();
    assert.deepEqual(await days.sealedOnChain(tenant), [1]);
  });

  it('one provider swallows what it is sent; the other has it too', async () => {
    const tenant = await days.signed(1);
    days.providers[0].set({ methods: SEND, fault: { do: 'swallow' } });
    await days.untilMined(await days.open());
    assert.deepEqual(await days.sealedOnChain(tenant), [1]);
  });

  for (const [name, rule] of [
    ['already known', alreadyKnown],
    ['nonce too low', nonceTooLow],
    ['replacement transaction underpriced', replacementUnderpriced],
  ] as const) {
    it(`F22: the node says "${name}"; one transaction in the end`, async () => {
      const tenant = await days.signed(1);
      await days.switches.halt();
      days.both(rule);
      const nonce = await days.open();
      for (let looks = 0; looks < 3; looks++) assert.equal((await days.look(nonce)).waitsFor, 'block');
      days.both();
      await days.look(nonce);
      await days.switches.resume();
      assert.equal((await days.untilMined(nonce)).seals, 1);
      assert.equal((await days.signedFor(nonce)).length, 1);
      assert.equal((await days.anchoring.nextTransaction()).inFlight, null);
      await days.untilFinal();
      assert.deepEqual(await days.sealedOnChain(tenant), [1]);
    });
  }

  it('F22: "replacement transaction underpriced" about a real replacement; the first one is mined, and found', async () => {
    const tenant = await days.signed(1);
    await days.switches.halt();
    const nonce = await days.open();
    await days.look(nonce);
    const [first] = await days.signedFor(nonce);
    // Taken out of sight, so that blocks pass it by; the node has it again when the replacement comes.
    const raw = await days.database.sql<{ raw: Buffer }>('SELECT raw FROM kiff.transactions WHERE nonce = $1', [nonce]);
    await days.switches.drop();
    days.both(replacementUnderpriced);
    await days.switches.mine(5);
    await days.look(nonce);
    assert.equal((await days.signedFor(nonce)).length, 2);
    await days.chain.sendRawTransaction({ serializedTransaction: `0x${raw[0]!.raw.toString('hex')}` });
    await days.switches.mine();
    assert.equal((await days.look(nonce)).mined, true);
    const [row] = await days.database.sql<{ mined_hash: Buffer }>(
      'SELECT mined_hash FROM kiff.nonces WHERE nonce = $1',
      [nonce],
    );
    assert.equal(`0x${row!.mined_hash.toString('hex')}`, first);
    days.both();
    await days.untilFinal();
    assert.deepEqual(await days.sealedOnChain(tenant), [1]);
  });

  it('F25: the pool drops the transaction; the same bytes are sent again', async () => {
    const tenant = await days.signed(1);
    await days.switches.halt();
    const nonce = await days.open();
    await days.look(nonce);
    const [hash] = await days.signedFor(nonce);
    const inPool = async () => (await days.chain.getTransaction({ hash: hash! })).blockNumber === null;
    assert.ok(await inPool());
    await days.switches.drop(hash);
    await assert.rejects(inPool());
    await days.look(nonce);
    assert.ok(await inPool());
    await days.switches.mine();
    assert.equal((await days.look(nonce)).mined, true);
    assert.deepEqual(await days.signedFor(nonce), [hash]);
    await days.untilFinal();
    assert.deepEqual(await days.sealedOnChain(tenant), [1]);
  });

  it('F26: fees spike; both fees rise, up to the ceiling, then an alert and not a drop', async () => {
    const tenant = await days.signed(1);
    await days.switches.halt();
    const nonce = await days.open();
    await days.look(nonce);
    const passBy = async (fee: bigint) => {
      for (let block = 0; block < 5; block++) {
        await days.switches.baseFee(fee);
        await days.switches.mine();
      }
    };
    await passBy(parseGwei('20'));
    await days.look(nonce);
    const [before, after, ...more] = await days.database.sql<{ fee: string; tip: string }>(
      `SELECT max_fee_per_gas AS fee, max_priority_fee_per_gas AS tip FROM kiff.transactions WHERE nonce = $1 ORDER BY signed_at`,
      [nonce],
    );
    assert.equal(more.length, 0);
    assert.ok(BigInt(after!.fee) * 8n >= BigInt(before!.fee) * 9n && BigInt(after!.fee) > parseGwei('20'));
    assert.ok(BigInt(after!.tip) * 8n >= BigInt(before!.tip) * 9n);
    assert.equal(days.events().filter((event) => event === 'tx.bumped').length, 1);

    await passBy(parseGwei('200'));
    for (let looks = 0; looks < 3; looks++) assert.equal((await days.look(nonce)).waitsFor, 'lower-fees');
    assert.deepEqual(days.alerts(), [{ name: 'fee-ceiling', fields: { nonce } }], 'told once, not at every look');
    assert.equal((await days.signedFor(nonce)).length, 2, 'nothing is offered above the ceiling');

    await days.switches.baseFee(parseGwei('1'));
    await days.switches.mine();
    assert.equal((await days.untilMined(nonce)).seals, 1, 'what was offered still stands');
    await days.untilFinal();
    assert.deepEqual(await days.sealedOnChain(tenant), [1]);
  });

  it('F29: the chain halts for two periods; seals wait in order, nothing is lost, and no money chases them', async () => {
    const late = await days.tenant({ periods: 1 });
    const waiting = await days.signed(1);
    await days.switches.halt();
    const nonce = await days.open();
    await days.look(nonce);
    await days.collect(late); // waits until the period is over, and the next one too
    const seq = await days.collect(late);
    await days.sign(late);
    for (let looks = 0; looks < 8; looks++) assert.equal((await days.look(nonce)).mined, false);
    assert.equal((await days.signedFor(nonce)).length, 1, 'a chain that makes no blocks is not offered more');

    await days.switches.resume();
    await days.untilMined(nonce);
    await days.sendAll();
    await days.untilFinal();
    assert.deepEqual(await days.sealedOnChain(waiting), [1]);
    assert.ok(seq >= 3);
    assert.deepEqual(
      await days.sealedOnChain(late),
      Array.from({ length: seq }, (_, index) => index + 1),
    );
  });

  it('F30: the relayer’s money runs low: an alert while a day of sealing is left; when it is gone the queue waits', async () => {
    const tenant = await days.signed(1);
    await days.sendAll();
    const devnet = createTestClient({ mode: 'anvil', transport: http(days.rpcUrl) });
    const address = days.relayer;
    const { hoursLeft: plenty } = await days.anchoring.watchRelayer();
    assert.ok(plenty !== null && plenty > 48);
    assert.deepEqual(days.alerts(), []);
    const hour = (await days.chain.getBalance({ address })) / BigInt(plenty);

    await devnet.setBalance({ address, value: hour * 40n });
    const { hoursLeft } = await days.anchoring.watchRelayer();
    assert.ok(hoursLeft !== null && hoursLeft >= 24 && hoursLeft < 48);
    await days.anchoring.watchRelayer();
    assert.deepEqual(
      days.alerts().map(({ name }) => name),
      ['relayer-low'],
    );

    const next = await days.signed(1);
    await devnet.setBalance({ address, value: 1n });
    const nonce = await days.open();
    for (let looks = 0; looks < 3; looks++) assert.equal((await days.look(nonce)).waitsFor, 'funds');
    assert.deepEqual(
      days.alerts().map(({ name }) => name),
      ['relayer-cannot-pay'],
    );
    assert.deepEqual(await days.levels(next), ['sealed']);

    await devnet.setBalance({ address, value: parseEther('10') });
    await days.untilMined(nonce);
    await days.untilFinal();
    assert.deepEqual([await days.levels(tenant), await days.levels(next)], [['final'], ['final']]);
  });
});
