/** A wallet table that has forgotten nonces, as one that was restored from a backup, and a relayer's key that others use. */
import assert from 'node:assert/strict';
import { createRelayer } from '../../../activities/anchoring/relayer.ts';
import { toHex } from '../../../protocol/hex.ts';
import type { TestTenant } from '../../product-database.ts';
import { failsAs } from '../plane.ts';
import { createBadDays, type BadDays } from './bad-days.ts';

describe('a nonce that the table does not know', function () {
  this.timeout(60_000);
  let days: BadDays;

  before(async () => {
    days = await createBadDays();
  });
  after(() => days.stop());
  beforeEach(() => days.clear());

  /** Restores the wallet's tables to before a nonce, and the tenants' seals to before they were anchored. */
  async function restore(nonce: number, ...tenants: TestTenant[]): Promise<void> {
    await days.database.sql('DELETE FROM kiff.transactions WHERE nonce >= $1', [nonce]);
    await days.database.sql('DELETE FROM kiff.nonces WHERE nonce >= $1', [nonce]);
    for (const { id } of tenants) {
      await days.database.sql(`ALTER TABLE kiff_t_${id}.seals DISABLE TRIGGER ALL`);
      await days.database.sql(
        `UPDATE kiff_t_${id}.seals SET level = 'sealed', tx_hash = NULL, block_number = NULL, block_hash = NULL, log_index = NULL,
           included_at = NULL, final_at = NULL`,
      );
      await days.database.sql('UPDATE kiff.logs SET included_seq = 0, final_seq = 0 WHERE tenant = $1', [id]);
    }
  }

  const count = () => days.chain.getTransactionCount({ address: days.relayer, blockTag: 'latest' });

  it('is adopted when the transaction is ours; nothing is sent twice', async () => {
    const one = await days.signed(1);
    const first = await days.open();
    await days.untilMined(first);
    const two = await days.signed(2); // its registration is a nonce of its own
    const last = await days.open();
    await days.untilMined(last);
    await days.untilFinal();
    const sent = await count();
    const [hash] = await days.signedFor(last);

    await restore(first, one, two);
    days.events();
    const three = await days.signed(1); // the next nonce is asked for, and the forgotten ones come first
    const told = days.events();
    assert.equal(told.filter((event) => event === 'tx.adopted').length, last - first + 1);
    assert.equal(told.filter((event) => event === 'tx.signed').length, 1, 'the new registration');
    await days.sendAll();
    assert.equal(await count(), sent + 2);
    assert.deepEqual(await days.signedFor(last), [hash]);
    await days.untilFinal();
    for (const [tenant, seqs] of [
      [one, [1]],
      [two, [1, 2]],
      [three, [1]],
    ] as const) {
      assert.deepEqual(await days.sealedOnChain(tenant), seqs);
      assert.ok((await days.levels(tenant)).every((level) => level === 'final'));
    }
  });

  it('is adopted while it is open: a forgotten transaction that was still in a pool is mined in place of the new one', async () => {
    const tenant = await days.signed(1);
    await days.switches.halt();
    const nonce = await days.open();
    await days.look(nonce);
    const [forgotten] = await days.signedFor(nonce);
    const [row] = await days.database.sql<{ raw: Buffer }>('SELECT raw FROM kiff.transactions WHERE nonce = $1', [
      nonce,
    ]);
    await days.switches.drop();
    await restore(nonce);

    assert.equal(await days.open(), nonce);
    days.both({ methods: ['eth_sendRawTransaction'], fault: { do: 'drop', when: 'before' } });
    await days.look(nonce); // a new transaction, which reaches nobody
    await days.chain.sendRawTransaction({ serializedTransaction: toHex(row!.raw) });
    await days.switches.mine();
    days.both();
    assert.deepEqual(await days.look(nonce), { mined: true, reverted: false, seals: 1, waitsFor: null });
    assert.ok(days.events().includes('tx.adopted'));
    assert.equal((await days.signedFor(nonce)).at(-1), forgotten);
    await days.untilFinal();
    assert.deepEqual(await days.sealedOnChain(tenant), [1]);
  });

  it('stops the wallet when the transaction is not ours, and alerts; but only once that is final', async () => {
    const tenant = await days.signed(1);
    await strangersTransaction();
    assert.equal((await days.anchoring.nextTransaction()).inFlight, null, 'a reorganisation may still undo it');
    await days.switches.mine(4);
    await assert.rejects(days.anchoring.nextTransaction(), failsAs('foreign-nonce'));
    await assert.rejects(days.anchoring.nextTransaction(), failsAs('foreign-nonce'));
    assert.deepEqual(
      days.alerts().map(({ name }) => name),
      ['foreign-nonce'],
    );
    assert.deepEqual(await days.levels(tenant), ['sealed']);
    await days.anchoring.confirmSeals(); // what is in a block is still followed
  });

  /** Somebody with the relayer's key sends money to itself. */
  async function strangersTransaction(): Promise<void> {
    const relayer = createRelayer(days.kmsAs('relayer'), days.relayer);
    const { raw } = await relayer.sign({
      type: 'eip1559',
      chainId: await days.chain.getChainId(),
      nonce: await count(),
      to: days.relayer,
      gas: 21_000n,
      maxFeePerGas: 10_000_000_000n,
      maxPriorityFeePerGas: 1n,
    });
    await days.chain.sendRawTransaction({ serializedTransaction: raw });
  }
});
