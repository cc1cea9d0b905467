/** Levels against a chain that changes its mind and providers that lie: what is final is so once, on all of them, and for good. */
import assert from 'node:assert/strict';
import { toHex, type Hex } from '../../../protocol/hex.ts';
import type { TestTenant } from '../../product-database.ts';
import { inventedReceipt, swallowedSend } from '../../weather/faults.ts';
import { connectUpstream } from '../../weather/upstream.ts';
import { failsAs } from '../plane.ts';
import { createBadDays, type BadDays } from './bad-days.ts';

describe('finality', function () {
  this.timeout(60_000);
  let days: BadDays;

  before(async () => {
    days = await createBadDays();
  });
  after(() => days.stop());
  beforeEach(() => days.clear());

  /** Anchors what waits. The seals are included, and nothing has looked at them since. */
  async function included(): Promise<number> {
    const nonce = await days.open();
    assert.ok((await days.untilMined(nonce)).seals > 0);
    return nonce;
  }

  const names = () => days.alerts().map(({ name }) => name);

  const nonceRow = async (nonce: number): Promise<{ state: string; hash: Hex | null }> => {
    const [row] = await days.database.sql<{ state: string; mined_block_hash: Buffer | null }>(
      'SELECT state, mined_block_hash FROM kiff.nonces WHERE nonce = $1',
      [nonce],
    );
    const { state, mined_block_hash: hash } = row!;
    return { state, hash: hash === null ? null : toHex(hash) };
  };

  it('F23: two providers disagree about a block; nothing is final until they agree', async () => {
    const tenant = await days.signed(1);
    await included();
    await days.switches.mine(4);
    days.providers[1].set({ fault: { do: 'contradict', about: 'blocks' } });
    await assert.rejects(days.anchoring.confirmSeals(), failsAs('chain-disagrees'));
    assert.deepEqual(await days.levels(tenant), ['safe'], 'what one node may say, it says');
    assert.ok(names().includes('chain-disagrees'));
    days.providers[1].set();
    assert.equal((await days.anchoring.confirmSeals()).final, 1);
    assert.deepEqual(await days.levels(tenant), ['final']);
  });

  it('F23: two providers disagree about the contract’s state; nothing is final until they agree', async () => {
    const tenant = await days.signed(1);
    await included();
    await days.switches.mine(4);
    days.providers[1].set({ methods: ['eth_call'], fault: { do: 'contradict', about: 'state' } });
    await assert.rejects(days.anchoring.confirmSeals(), failsAs('chain-disagrees'));
    assert.deepEqual(await days.levels(tenant), ['safe']);
    days.providers[1].set();
    await days.untilFinal();
    assert.deepEqual(await days.levels(tenant), ['final']);
  });

  it('one provider lags; what is final waits for it', async () => {
    const tenant = await days.signed(1);
    await included();
    await days.switches.mine(4);
    days.providers[1].set({ fault: { do: 'lag', blocks: 6 } });
    assert.equal((await days.anchoring.confirmSeals()).final, 0);
    assert.deepEqual(await days.levels(tenant), ['safe']);
    days.providers[1].set();
    assert.equal((await days.anchoring.confirmSeals()).final, 1);
    assert.deepEqual(await days.levels(tenant), ['final']);
  });

  it('F24: a receipt is invented; the contract’s state gives it away, and the same bytes are sent again', async () => {
    const tenant = await days.signed(1);
    days.both(swallowedSend, inventedReceipt);
    const nonce = await days.open();
    await days.look(nonce);
    assert.equal((await days.look(nonce)).seals, 1, 'it is believed at first');
    assert.deepEqual(await days.levels(tenant), ['included']);
    await days.switches.mine(4);
    assert.equal((await days.anchoring.confirmSeals()).final, 0);
    assert.deepEqual(await days.levels(tenant), ['sealed']);
    assert.deepEqual(names(), ['anchor-unproved']);
    assert.deepEqual(await days.sealedOnChain(tenant), []);
    assert.equal((await nonceRow(nonce)).state, 'mined', 'not final: the chain does not count it');

    days.both();
    assert.equal(await days.open(), nonce);
    await days.untilMined(nonce);
    await days.untilFinal();
    assert.equal((await days.signedFor(nonce)).length, 1);
    assert.deepEqual(await days.levels(tenant), ['final']);
    assert.deepEqual(await days.sealedOnChain(tenant), [1]);
  });

  it('F27: a reorganisation before finality; the level falls back, the same bytes come again, final once', async () => {
    const tenant = await days.signed(2);
    const nonce = await included();
    await days.anchoring.confirmSeals();
    const [hash] = await days.signedFor(nonce);
    await days.switches.reorg(2);
    await days.anchoring.confirmSeals();
    assert.deepEqual(await days.levels(tenant), ['sealed', 'sealed']);
    assert.deepEqual(names(), ['reorg'], 'one alert for all seals');
    assert.equal((await nonceRow(nonce)).state, 'open');
    assert.equal(await days.open(), nonce);
    await days.untilMined(nonce);
    assert.deepEqual(await days.signedFor(nonce), [hash]);
    await days.untilFinal();
    assert.deepEqual(await days.levels(tenant), ['final', 'final']);
    assert.deepEqual(await days.sealedOnChain(tenant), [1, 2]);
  });

  it('F27: the transaction comes again in another block by itself; seal and nonce follow it there', async () => {
    const tenant = await days.signed(1);
    await days.switches.mine(2);
    const nonce = await included();
    const before = await nonceRow(nonce);
    const [row] = await days.database.sql<{ raw: Buffer }>('SELECT raw FROM kiff.transactions WHERE nonce = $1', [
      nonce,
    ]);
    await connectUpstream(days.rpcUrl).result('anvil_reorg', 2, [[toHex(row!.raw), 0]]);
    await days.anchoring.confirmSeals();
    assert.deepEqual(await days.levels(tenant), ['included']);
    const after = await nonceRow(nonce);
    assert.equal(after.state, 'mined');
    assert.notEqual(after.hash, before.hash);
    assert.ok(days.events().includes('tx.remined'));
    const [seal] = await days.database.sql<{ block_hash: Buffer }>(`SELECT block_hash FROM kiff_t_${tenant.id}.seals`);
    assert.equal(toHex(seal!.block_hash), after.hash);
    await days.untilFinal();
    assert.equal((await nonceRow(nonce)).state, 'final');
    assert.deepEqual(await days.sealedOnChain(tenant), [1]);
  });

  describe('F28: a reorganisation of something final', () => {
    let old: TestTenant;
    let hit: TestTenant;

    before(async () => {
      await days.clear();
      old = await days.signed(1);
      await included();
      await days.untilFinal();
      await days.switches.mine(10);
      hit = await days.signed(1);
      await included();
      await days.untilFinal();
      await days.clear();
      await days.switches.reorg(8);
      await days.switches.mine(8);
    });

    it('freezes the log and alerts; a log whose seals stand elsewhere is not touched', async () => {
      await days.anchoring.confirmSeals();
      assert.equal(await days.frozen(hit), 'final-reorged');
      assert.equal(await days.frozen(old), null, 'control');
      const alerts = days.alerts();
      assert.deepEqual(
        alerts.map(({ name }) => name),
        ['final-reorged', 'final-reorged'],
      );
      assert.equal(alerts[1]?.fields['tenantId'], hit.id);
      assert.deepEqual(await days.levels(hit), ['final'], 'the level is not rewritten: a person has to look');
    });

    it('is told once, and never healed: the log stays frozen when the transaction comes again', async () => {
      await days.anchoring.confirmSeals();
      assert.deepEqual(days.alerts(), []);
      // The next seal of another log needs the nonce that became free, which the old bytes fill first.
      const next = await days.signed(1);
      await days.sendAll();
      await days.untilFinal();
      assert.deepEqual(await days.levels(next), ['final']);
      assert.deepEqual(await days.sealedOnChain(hit), [1]);
      assert.equal(await days.frozen(hit), 'final-reorged');
      assert.deepEqual(days.alerts(), []);
    });
  });
});
