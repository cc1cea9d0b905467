/** A log's signer changes: what is signed becomes a proposal, an acceptance and a cut-over, as the chain says and no sooner. */
import assert from 'node:assert/strict';
import { createTestClient, createWalletClient, encodeFunctionData, http, parseAbi, type LocalAccount } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { anvil as anvilChain } from 'viem/chains';
import { compile } from '../../../contracts/compile.ts';
import { handoverAcceptHash, handoverHash } from '../../../protocol/handover.ts';
import type { Hex } from '../../../protocol/hex.ts';
import { failsAs } from '../plane.ts';
import { createBadDays, type BadDays } from './bad-days.ts';
import { addressOf, createHeirs, freshKey, type Heirs, type OwnLog, type SignedHandover } from './heir.ts';

/** Second account of the well-known test mnemonic, funded by anvil: anybody with money. */
const STRANGER = privateKeyToAccount('0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d');

describe('succession', function () {
  this.timeout(60_000);
  let days: BadDays;
  let heirs: Heirs;

  before(async () => {
    days = await createBadDays({ coolingOffSeconds: 0 });
    heirs = createHeirs(days);
  });
  after(async () => {
    await heirs.close();
    await days.stop();
  });
  beforeEach(() => days.clear());

  const standingOf = ({ tenant }: OwnLog, { migrationId }: SignedHandover) =>
    days.anchoring.handoverStanding({ tenantId: tenant.id, migrationId });

  /** Sends the next transaction of the wallet. @returns its kind */
  async function sendNext(): Promise<string | null> {
    await days.switches.mine();
    const { inFlight } = await days.anchoring.nextTransaction();
    if (inFlight === null) return null;
    await days.untilMined(inFlight.nonce);
    return inFlight.kind;
  }

  /** A log with one final seal, and a handover of it that both keys signed. */
  async function drafted(): Promise<{ log: OwnLog; heir: LocalAccount; signed: SignedHandover }> {
    const log = await heirs.log();
    await heirs.seal(log);
    await days.anchorAll();
    const heir = freshKey();
    return { log, heir, signed: await heirs.draft(log, heir) };
  }

  /** Somebody sends a call to the contract. @returns whether it went through */
  async function strangerSends(data: Hex, to: Hex = heirs.registry.contract): Promise<boolean> {
    const wallet = createWalletClient({ chain: anvilChain, transport: http(days.rpcUrl), account: STRANGER });
    const hash = await wallet.sendTransaction({ to, data, gas: 2_000_000n });
    return (await days.chain.waitForTransactionReceipt({ hash })).status === 'success';
  }

  const names = () => days.alerts().map(({ name }) => name);

  /** Proposed and final, and accepted as far as the chain's tip says. */
  async function acceptedOnce(): Promise<Awaited<ReturnType<typeof drafted>> & { old: OwnLog; nonce: number }> {
    const made = await drafted();
    await heirs.record(made.signed);
    assert.equal(await sendNext(), 'propose');
    await days.untilFinal();
    const acceptance = await heirs.acceptance(made.log, made.signed, made.heir);
    await heirs.recordAcceptance(acceptance);
    const nonce = await days.open();
    await days.untilMined(nonce);
    assert.equal((await standingOf(made.log, made.signed))?.accepted?.level, 'included');
    const old = { ...made.log };
    heirs.succeed(made.log, made.signed, acceptance.accept, made.heir);
    return { ...made, old, nonce };
  }

  /** The new key seals, and all of it becomes final. */
  async function goesOn(log: OwnLog): Promise<void> {
    const seq = await heirs.seal(log);
    await days.anchorAll();
    assert.equal(await days.level(log.tenant, seq), 'final');
    assert.deepEqual([...new Set(await days.levels(log.tenant))], ['final']);
  }

  it('goes through: proposed, final, accepted, final, cut over, and the new key’s seals are anchored', async () => {
    const { log, heir, signed } = await drafted();
    assert.equal(await standingOf(log, signed), null);
    await heirs.record(signed);
    assert.equal(await sendNext(), 'propose');
    assert.equal(await sendNext(), null, 'once');
    const proposed = await standingOf(log, signed);
    assert.equal(proposed?.proposed?.txHash.length, 66);
    assert.equal(proposed?.handoverHash, handoverHash(signed.handover));
    await days.untilFinal();
    assert.equal((await standingOf(log, signed))?.proposed?.level, 'final');

    const acceptance = await heirs.acceptance(log, signed, heir);
    await heirs.recordAcceptance(acceptance);
    assert.equal(await sendNext(), 'accept');
    await days.anchoring.confirmSeals();
    const accepted = await standingOf(log, signed);
    assert.equal(accepted?.accepted?.level, 'safe');
    assert.equal(accepted?.cutOver, false, 'an acceptance that may be taken back changes nothing');
    assert.deepEqual(await heirs.standing(log), { signer: null, epoch: 0, custody: 1, keyRef: null });
    await days.untilFinal();

    assert.deepEqual(await heirs.standing(log), {
      signer: addressOf(heir),
      epoch: 1,
      custody: 2,
      keyRef: 'arn:of-the-new-key',
    });
    const done = await standingOf(log, signed);
    assert.deepEqual(
      [done?.accepted?.level, done?.accepted?.seq, done?.accepted?.head, done?.cutOver],
      ['final', log.seq, handoverAcceptHash(acceptance.accept), true],
    );
    const events = await heirs.events(log);
    assert.deepEqual(
      events.map(({ detail }) => [detail['epoch'], detail['to'], detail['afterSeq']]),
      [[1, addressOf(heir), log.seq]],
    );

    heirs.succeed(log, signed, acceptance.accept, heir);
    const seq = await heirs.seal(log);
    await days.anchorAll();
    assert.equal(await days.level(log.tenant, seq), 'final');
    assert.deepEqual(days.alerts(), []);
  });

  describe('C15: anybody submits what we signed', () => {
    it('the proposal, before us: it is as good as ours', async () => {
      const { log, signed } = await drafted();
      await heirs.record(signed);
      assert.ok(await strangerSends(heirs.calls.propose(signed)));
      assert.equal(await sendNext(), null);
      assert.notEqual((await standingOf(log, signed))?.proposed ?? null, null);
      await days.untilFinal();
      assert.equal((await standingOf(log, signed))?.proposed?.level, 'final');
      assert.deepEqual(names(), []);
    });

    it('the acceptance, in our stead, and from inside another contract’s call: the signature is read out of it', async () => {
      const { log, heir, signed } = await drafted();
      await heirs.record(signed);
      assert.equal(await sendNext(), 'propose');
      const { accept, signature } = await heirs.acceptance(log, signed, heir);
      const source = 'contracts/test/Runner.sol';
      const wallet = createWalletClient({ chain: anvilChain, transport: http(days.rpcUrl), account: STRANGER });
      const hash = await wallet.sendTransaction({ data: compile([source]).contract(source, 'Runner').bytecode });
      const { contractAddress } = await days.chain.waitForTransactionReceipt({ hash });
      const abi = parseAbi(['function run(address target, bytes[] calls)']);
      const args = [heirs.registry.contract, [heirs.calls.accept(signed, signature)]] as const;
      assert.ok(await strangerSends(encodeFunctionData({ abi, functionName: 'run', args }), contractAddress!));
      await days.untilFinal();
      assert.equal((await heirs.standing(log)).signer, addressOf(heir));
      const [row] = await days.database.sql<{ signature: Buffer; head: Buffer }>(
        'SELECT accepted_signature AS signature, accepted_head AS head FROM kiff.handovers WHERE handover_hash = $1',
        [Buffer.from(handoverHash(signed.handover).slice(2), 'hex')],
      );
      assert.equal(`0x${row!.signature.toString('hex')}`, signature);
      assert.equal(`0x${row!.head.toString('hex')}`, accept.head);
      heirs.succeed(log, signed, accept, heir);
      await goesOn(log);
      assert.deepEqual(names(), []);
    });

    it('the acceptance, below what the old key has signed: those seals are void, and signed again by the new key', async () => {
      const { log, heir, signed } = await drafted();
      const acceptance = await heirs.acceptance(log, signed, heir);
      const old = { ...log };
      const seq = await heirs.seal(log);
      assert.ok(await strangerSends(heirs.calls.propose(signed)));
      assert.ok(await strangerSends(heirs.calls.accept(signed, acceptance.signature)));
      await days.untilFinal();
      assert.equal(await days.level(log.tenant, seq), 'hashed');
      await assert.rejects(heirs.sign({ ...old }), { code: 'KF009' }, 'the old key’s signature comes too late');
      heirs.succeed(log, signed, acceptance.accept, heir);
      await heirs.sign(log);
      await goesOn(log);
      const epochs = await days.database.sql<{ seq: number; epoch: number }>(
        `SELECT seq, epoch FROM ${log.tenant.role}.seals ORDER BY seq`,
      );
      for (const { seq: each, epoch } of epochs) assert.equal(epoch, each > acceptance.accept.seq ? 1 : 0);
    });

    it('a handover that we never signed: told of at once, and the chain is followed all the same', async () => {
      const { log, heir, signed } = await drafted();
      const { migrationId, handover } = signed;
      const own = { ...handover, nonce: handoverHash(handover) };
      const digestless = await heirs.signBoth(log, heir, { migrationId, handover: own });
      assert.ok(await strangerSends(heirs.calls.propose(digestless)));
      await days.anchoring.confirmSeals();
      assert.deepEqual(names(), ['handover-unknown']);
      const acceptance = await heirs.acceptance(log, digestless, heir);
      assert.ok(await strangerSends(heirs.calls.accept(digestless, acceptance.signature)));
      await days.untilFinal();
      assert.deepEqual(await heirs.standing(log), { signer: addressOf(heir), epoch: 1, custody: 3, keyRef: null });
      assert.equal(await standingOf(log, signed), null);
      heirs.succeed(log, digestless, acceptance.accept, heir);
      await goesOn(log);
    });
  });

  describe('C2, C14: a handover that is dead', () => {
    it('cancelled before its proposal: only the cancellation is sent, and nobody can propose it any more', async () => {
      const { log, signed } = await drafted();
      await heirs.record(signed);
      await heirs.recordCancellation(signed, log.signer, await heirs.cancellation(signed, log.signer));
      assert.equal(await sendNext(), 'cancel');
      assert.equal(await sendNext(), null);
      await days.untilFinal();
      const standing = await standingOf(log, signed);
      assert.deepEqual([standing?.cancelled?.level, standing?.proposed, standing?.cutOver], ['final', null, false]);
      assert.equal(await strangerSends(heirs.calls.propose(signed)), false);
      await goesOn(log);
      assert.deepEqual(await heirs.standing(log), { signer: null, epoch: 0, custody: 1, keyRef: null });
      assert.deepEqual(names(), []);
    });

    it('cancelled after its proposal, by the new key, while an acceptance is signed: the cancellation goes first', async () => {
      const { log, heir, signed } = await drafted();
      await heirs.record(signed);
      assert.equal(await sendNext(), 'propose');
      const acceptance = await heirs.acceptance(log, signed, heir);
      await heirs.recordAcceptance(acceptance);
      await heirs.recordCancellation(signed, heir, await heirs.cancellation(signed, heir));
      assert.equal(await sendNext(), 'cancel');
      assert.equal(await sendNext(), null);
      await days.untilFinal();
      assert.equal((await standingOf(log, signed))?.cancelled?.level, 'final');
      assert.equal(await strangerSends(heirs.calls.accept(signed, acceptance.signature)), false);
      await goesOn(log);
    });

    it('expired: refused, and known to be dead once a final block is past its last second', async () => {
      const { log, heir, signed } = await drafted();
      const short = { ...signed.handover, expiresAt: Math.floor(Date.now() / 1000) + 2 };
      const brief = await heirs.signBoth(log, heir, { ...signed, handover: short });
      await heirs.record(brief);
      assert.equal(await sendNext(), 'propose');
      await heirs.recordAcceptance(await heirs.acceptance(log, brief, heir));
      while (Date.now() / 1000 < short.expiresAt + 1) await days.collect(log.tenant); // a period is a second
      assert.equal(await sendNext(), null);
      assert.equal((await standingOf(log, brief))?.refused, 'Expired');
      await days.switches.mine(4);
      await days.untilFinal();
      assert.deepEqual((({ lapsed, accepted }) => ({ lapsed, accepted }))((await standingOf(log, brief))!), {
        lapsed: true,
        accepted: null,
      });
      assert.equal(await strangerSends(heirs.calls.propose(brief)), false);
      assert.deepEqual(names(), ['handover-refused']);
    });

    it('a stranger’s cancellation of a handover of his own making is nobody’s business', async () => {
      const { log } = await drafted();
      const heir = freshKey();
      const made = {
        log,
        handover: { logId: log.tenant.logId, epochTo: 1, from: addressOf(log.signer), to: addressOf(heir) },
      };
      const handover = { ...made.handover, custody: 1, notBefore: 0, expiresAt: 4_000_000_000, nonce: log.head };
      const own = { migrationId: '', handover, fromSignature: '0x', toSignature: '0x' } as const;
      assert.ok(await strangerSends(heirs.calls.cancel(own, await heirs.cancellation(own, heir))));
      await days.untilFinal();
      const rows = await days.database.sql('SELECT FROM kiff.handovers WHERE log_id = $1', [
        Buffer.from(log.tenant.logId.slice(2), 'hex'),
      ]);
      assert.equal(rows.length, 0);
    });
  });

  describe('a chain that changes its mind', () => {
    it('C4: the acceptance is reorganised away; nothing was cut over, the same bytes come again, and it is final once', async () => {
      const { log, heir, signed, nonce } = await acceptedOnce();
      await days.switches.reorg(2);
      await days.anchoring.confirmSeals();
      assert.ok(names().includes('reorg'));
      assert.equal((await standingOf(log, signed))?.accepted, null);
      assert.equal((await standingOf(log, signed))?.proposed?.level, 'final');
      assert.equal((await heirs.standing(log)).epoch, 0);
      await days.untilMined(nonce);
      assert.equal((await days.signedFor(nonce)).length, 1);
      await days.untilFinal();
      assert.equal((await heirs.standing(log)).signer, addressOf(heir));
      assert.equal((await heirs.events(log)).length, 1);
      await goesOn(log);
    });

    it('the acceptance comes again in another block by itself; it is followed there', async () => {
      const { log, heir, signed, nonce } = await acceptedOnce();
      const before = (await standingOf(log, signed))!.accepted!.blockHash;
      await days.switches.reorg(2);
      await days.untilMined(nonce).catch(() => undefined);
      const [row] = await days.database.sql<{ raw: Buffer }>('SELECT raw FROM kiff.transactions WHERE nonce = $1', [
        nonce,
      ]);
      await days.chain
        .sendRawTransaction({ serializedTransaction: `0x${row!.raw.toString('hex')}` })
        .catch(() => undefined);
      await days.untilFinal();
      const { accepted } = (await standingOf(log, signed))!;
      assert.equal(accepted?.level, 'final');
      assert.notEqual(accepted?.blockHash, before);
      assert.equal((await heirs.standing(log)).signer, addressOf(heir));
    });

    it('the proposal is reorganised away with its transaction gone from the pool; it is sent again', async () => {
      const { log, signed } = await drafted();
      await heirs.record(signed);
      const nonce = await days.open();
      await days.untilMined(nonce);
      await days.switches.reorg(2);
      await days.switches.drop();
      await days.anchoring.confirmSeals();
      assert.equal((await standingOf(log, signed))?.proposed, null);
      await days.untilMined(nonce);
      await days.untilFinal();
      assert.equal((await standingOf(log, signed))?.proposed?.level, 'final');
    });

    it('two providers disagree about the contract’s state: no cut-over until they agree', async () => {
      const { log, heir } = await acceptedOnce();
      await days.switches.mine(4);
      days.providers[1].set({ methods: ['eth_call'], fault: { do: 'contradict', about: 'state' } });
      await assert.rejects(days.anchoring.confirmSeals(), failsAs('chain-disagrees'));
      assert.equal((await heirs.standing(log)).epoch, 0);
      days.providers[1].set();
      await days.untilFinal();
      assert.equal((await heirs.standing(log)).signer, addressOf(heir));
    });
  });

  it('C5, C16: what the old key signs, or had withheld, comes after the succession; the contract refuses it, and somebody is told', async () => {
    const { old } = await acceptedOnce();
    await days.untilFinal();
    days.alerts();
    // As a stolen signing credential would put it there: in the new epoch's name, on top of the old head.
    await heirs.seal({ ...old, epoch: 1 });
    assert.equal(await sendNext(), null);
    assert.deepEqual(
      days.alerts().map(({ name, fields }) => [name, fields['outcome']]),
      [['seal-refused', 'BadSignature']],
    );
  });

  /** A successor at an address of its own, with this code. */
  async function hostile(bytecode: Hex): Promise<{ log: OwnLog; signed: SignedHandover }> {
    const { log } = await drafted();
    await days.database.sql(
      `UPDATE kiff.custody_migrations SET ended_at = clock_timestamp(), outcome = 'undone', reason = 'test' WHERE tenant = $1`,
      [log.tenant.id],
    );
    const account = { ...freshKey(), address: freshKey().address };
    const node = createTestClient({ mode: 'anvil', transport: http(days.rpcUrl) });
    await node.setCode({ address: account.address, bytecode });
    const signed = await heirs.draft(log, account);
    await heirs.record(signed);
    return { log, signed };
  }

  describe('B20: a successor that is a hostile account', () => {
    it('that loops: refused in the simulation with the contract’s word for it, told once, and looked at again later', async () => {
      const { log, signed } = await hostile('0x5b600056');
      assert.equal(await sendNext(), null);
      assert.equal((await standingOf(log, signed))?.refused, 'InvalidSignature');
      assert.equal(await sendNext(), null);
      assert.deepEqual(names(), ['handover-refused']);
    });

    it('that says yes only to whoever pays nothing: one transaction of bounded gas reverts, and no second one follows it', async () => {
      const { log, signed } = await hostile('0x3a15631626ba7e0260e01b60005260206000f3');
      assert.equal(await sendNext(), 'propose');
      assert.equal((await standingOf(log, signed))?.refused, 'reverted');
      assert.equal(await sendNext(), null);
      assert.deepEqual(names(), ['transaction-reverted']);
      const [row] = await days.database.sql<{ gas: number }>('SELECT gas FROM kiff.nonces ORDER BY nonce DESC LIMIT 1');
      assert.ok(row!.gas < 1_000_000);
    });
  });

  it('goes on where a killed worker stopped, at each of its steps', async () => {
    const { log, heir, signed } = await drafted();
    await heirs.record(signed);
    let runs = 0;
    const takeOver = async () => {
      await days.database.sql(`UPDATE kiff.wallets SET held_until = clock_timestamp() - interval '1 second'`);
      return days.anchoringAs(`run ${++runs}`);
    };
    const opened = (await (await takeOver()).nextTransaction()).inFlight;
    assert.equal(opened?.kind, 'propose');
    await days.switches.halt();
    await (await takeOver()).advanceTransaction(opened); // broadcast, and dead
    await days.switches.resume();
    await days.switches.mine();
    // In a block, and nobody has looked: the next run finds the open nonce, and what it did.
    const again = await takeOver();
    assert.deepEqual((await again.nextTransaction()).inFlight, opened);
    assert.equal((await again.advanceTransaction(opened)).mined, true);
    assert.equal((await days.signedFor(opened.nonce)).length, 1);
    const acceptance = await heirs.acceptance(log, signed, heir);
    await heirs.recordAcceptance(acceptance);
    const second = await takeOver();
    const accepting = (await second.nextTransaction()).inFlight;
    assert.equal(accepting?.kind, 'accept');
    await second.advanceTransaction(accepting);
    await days.switches.mine(4);
    // Dead before the table knows that it is mined: what is final is cut over by whoever looks next.
    const third = await takeOver();
    while ((await third.confirmSeals()).waiting > 0) await days.switches.mine();
    assert.equal((await heirs.standing(log)).signer, addressOf(heir));
    const forgotten = await takeOver();
    assert.equal((await forgotten.nextTransaction()).inFlight?.nonce ?? accepting.nonce, accepting.nonce);
    await days.database.sql(`UPDATE kiff.wallets SET held_until = clock_timestamp() - interval '1 second'`);
    heirs.succeed(log, signed, acceptance.accept, heir);
    await goesOn(log);
    assert.equal((await heirs.events(log)).length, 1);
  });

  it('a database that has forgotten the handover’s transactions adopts them, and what they did', async () => {
    const { log, heir, signed, nonce } = await acceptedOnce();
    await days.untilFinal();
    // As after a restore from before the handover: neither the transactions nor what the chain said of it.
    await days.database.sql(`DELETE FROM kiff.transactions WHERE nonce >= $1`, [nonce - 1]);
    await days.database.sql(`DELETE FROM kiff.nonces WHERE nonce >= $1`, [nonce - 1]);
    await days.database.sql('ALTER TABLE kiff.handovers DISABLE TRIGGER ALL');
    await days.database.sql('DELETE FROM kiff.handovers WHERE log_id = $1', [
      Buffer.from(log.tenant.logId.slice(2), 'hex'),
    ]);
    await days.database.sql('ALTER TABLE kiff.handovers ENABLE TRIGGER ALL');
    await days.database.sql(
      `UPDATE kiff.logs SET epoch = 0, current_signer = NULL, custody = 1, key_ref = NULL WHERE tenant = $1`,
      [log.tenant.id],
    );
    await days.database.sql('UPDATE kiff.wallets SET handovers_block = NULL');
    days.alerts();
    await days.anchorAll();
    assert.deepEqual(names(), ['handover-unknown']);
    assert.equal((await heirs.standing(log)).signer, addressOf(heir));
    const [row] = await days.database.sql<{ complete: boolean }>(
      `SELECT num_nulls(from_signature, to_signature, accepted_signature, accepted_head, nonce) = 0 AS complete
         FROM kiff.handovers WHERE handover_hash = $1`,
      [Buffer.from(handoverHash(signed.handover).slice(2), 'hex')],
    );
    assert.equal(row!.complete, true, 'all of it is read out of the chain');
    await goesOn(log);
    assert.ok(days.events().includes('tx.adopted'));
  });
});
