/** Verifying that a log has ended, and how receipts stand to it (docs/protocol.md section 16): what holds, and what each check refuses. */
import assert from 'node:assert/strict';
import { endText, NO_SEAL, type EndStatement } from '../../protocol/ending.ts';
import {
  END_CHECK_NAMES,
  NotJsonError,
  RpcUnreachable,
  verifyEndText,
  type EndCheckName,
  type EndOptions,
  type Policy,
  type Receipt,
} from '../../protocol/index.ts';
import {
  accountOf,
  addressOf,
  bytesOf,
  edited,
  logIdOf,
  makePolicy,
  makeReceipt,
  named,
  OPERATOR,
  operatorOf,
  ORIGIN,
  signedNoteOf,
  signersOf,
  structHash,
} from './receipt-factory.ts';
import { scriptedChain } from './scripted-chain.ts';

const NEXT = `${ORIGIN}/2`;
const STRANGER = 'kiff.dev/t/other';
const LAST_SEQ = 3; // of what makeReceipt makes

const noteOf = (statement: EndStatement, operator = OPERATOR): string =>
  signedNoteOf(endText(statement), statement.origin, operator);

const offline = (...receipts: Receipt[]): EndOptions => ({
  receipts: receipts.map((receipt) => JSON.stringify(receipt)),
  offline: true,
});

describe('verifying the end of a log', () => {
  let old: Receipt;
  let next: Receipt;
  let end: EndStatement;
  /** Knows both logs, and another one. */
  let policy: Policy;

  before(async () => {
    old = await makeReceipt();
    next = await makeReceipt({ origin: NEXT, signers: signersOf('genesis of 2') });
    const { logId, seq, treeSize, root, period, prev } = old.seal;
    assert.equal(seq, LAST_SEQ);
    const sealHash = structHash('Seal', { logId, seq, period, treeSize, root, prev });
    end = { origin: ORIGIN, logId, last: { seq, sealHash, treeSize, root }, reason: 'record-altered', successor: NEXT };
    const known = makePolicy();
    const [log] = known.logs;
    policy = {
      ...known,
      logs: [
        log!,
        { ...log!, origin: NEXT, genesisSigner: addressOf(accountOf('genesis of 2')) },
        { ...log!, origin: STRANGER },
      ],
    };
  });

  const verify = (note: string, options: EndOptions = {}, by = policy) => verifyEndText(note, by, options);
  async function fails(name: EndCheckName, saying: RegExp, report: ReturnType<typeof verify>): Promise<void> {
    const { ok, checks } = await report;
    assert.ok(!ok);
    assert.deepEqual(named(checks, 'failed'), [name]);
    assert.match(checks.find((check) => check.name === name)?.detail ?? '', saying);
  }

  it('alone: the operator said so, and of receipts nothing is said', async () => {
    const { ok, checks, proved, notProved } = await verify(noteOf(end));
    assert.ok(ok);
    assert.deepEqual(
      checks.map(({ name }) => name),
      END_CHECK_NAMES,
    );
    assert.deepEqual(named(checks, 'waived'), ['receipts', 'last seal', 'discontinuity']);
    assert.deepEqual(proved, [
      `The operator says that ${ORIGIN} ended after seal ${LAST_SEQ} over 7 leaves, for the reason record-altered.`,
    ]);
    assert.ok(notProved.includes(`That ${NEXT} continues ${ORIGIN}: nothing proves that, and nothing can.`));
  });

  it('with receipts of both logs: a discontinuity, and never a continuity', async () => {
    for (const receipts of [
      [old, next],
      [next, old],
    ]) {
      const { ok, checks, proved, notProved } = await verify(noteOf(end), offline(...receipts));
      assert.ok(ok, JSON.stringify(checks));
      assert.deepEqual(named(checks, 'held'), END_CHECK_NAMES);
      assert.match(
        checks.at(-1)!.detail,
        /^DISCONTINUITY between the receipts: kiff\.dev\/t\/acme ended after seal 3 \(record-altered\); kiff\.dev\/t\/acme\/2 begins anew and does not continue it$/,
      );
      assert.ok(!proved.some((sentence) => sentence.includes('continue')), proved.join('\n'));
      assert.ok(notProved.includes(`That ${NEXT} continues ${ORIGIN}: nothing proves that, and nothing can.`));
    }
  });

  it('with the chain instead of offline: as a receipt alone', async () => {
    const { ok, checks } = await verify(noteOf(end), { receipts: [JSON.stringify(old)], rpc: scriptedChain(old) });
    assert.ok(ok, JSON.stringify(checks));
    assert.deepEqual(named(checks, 'waived'), ['discontinuity'], 'one log is no discontinuity');
  });

  it('receipts of the next log alone: nothing of the old one is shown', async () => {
    const { ok, checks } = await verify(noteOf(end), offline(next));
    assert.ok(ok);
    assert.deepEqual(named(checks, 'waived'), ['last seal', 'discontinuity']);
  });

  describe('each check refuses what is its to refuse', () => {
    it('format: what is no end statement; nothing else is looked at', async () => {
      for (const note of ['', 'kiff.end/1\n', noteOf(end).replace('seq 3', 'seq three'), old.checkpoint!]) {
        const { ok, checks, proved } = await verify(note);
        assert.ok(!ok);
        assert.deepEqual(named(checks, 'failed'), ['format']);
        assert.deepEqual(named(checks, 'not-run'), END_CHECK_NAMES.slice(1));
        assert.deepEqual(proved, []);
      }
    });

    it('policy: a log that it does not know, or that is somebody else’s under our origin', async () => {
      const unknown = { ...policy, logs: policy.logs.slice(1) };
      const report = await verify(noteOf(end), {}, unknown);
      assert.deepEqual(named(report.checks, 'failed'), ['policy', 'signature']);
      assert.match(report.checks[1]!.detail, /does not know the log kiff\.dev\/t\/acme/);
      assert.ok(report.notProved.includes('That the log has ended.'));
      const squatted = noteOf({ ...end, logId: logIdOf(addressOf(accountOf('squatter')), ORIGIN) });
      const { checks } = await verify(squatted);
      assert.match(checks[1]!.detail, /another genesis signer: the statement is about somebody else's log/);
    });

    it('signature: another key, a changed text, no key to hold it against; and nothing is proved then', async () => {
      await fails('signature', /none of the policy's checkpoint keys/, verify(noteOf(end, operatorOf('somebody'))));
      const changed = noteOf(end).replace('record-altered', 'signer-lost');
      await fails('signature', /none of the policy's checkpoint keys/, verify(changed));
      const [log, ...others] = policy.logs;
      const { checkpointKeys: _none, ...bare } = log!;
      await fails(
        'signature',
        /names no key of the operator/,
        verify(noteOf(end), {}, { ...policy, logs: [bare, ...others] }),
      );
      assert.deepEqual((await verify(changed)).proved, []);
      const later = {
        ...policy,
        logs: [{ ...log!, checkpointKeys: [operatorOf('older').publicKey, OPERATOR.publicKey] }, ...others],
      };
      assert.ok((await verify(noteOf(end), {}, later)).ok, 'control: any of the policy’s keys');
    });

    it('receipts: one that does not hold shows nothing, whichever it is', async () => {
      const forged = edited(next, (copy) => void (copy.leafIndex = 2));
      const report = await verify(noteOf(end), offline(old, forged));
      assert.deepEqual(named(report.checks, 'failed'), ['receipts']);
      assert.match(report.checks[3]!.detail, /^receipt 2 does not hold: /);
      assert.deepEqual(named(report.checks, 'not-run'), ['last seal', 'discontinuity']);
      await assert.rejects(verify(noteOf(end), { receipts: ['{'], offline: true }), NotJsonError);
    });

    it('receipts: a node that does not answer leaves them open', async () => {
      const { ok, checks, rpcUnreachable } = await verify(noteOf(end), {
        receipts: [JSON.stringify(old)],
        rpc: () => Promise.reject(new RpcUnreachable('gone')),
      });
      assert.ok(!ok && rpcUnreachable);
      assert.deepEqual(named(checks, 'failed'), []);
      assert.deepEqual(named(checks, 'not-run'), ['receipts', 'last seal', 'discontinuity']);
    });

    it('last seal: a receipt under a seal beyond it, or under another one at its seq', async () => {
      const earlier = { ...end, last: { ...end.last, seq: LAST_SEQ - 1, sealHash: bytesOf('seal 2') } };
      await fails(
        'last seal',
        /seal 3 of .* lies beyond its end: its last good seal is 2/,
        verify(noteOf(earlier), offline(old)),
      );
      await fails(
        'last seal',
        /lies beyond its end: its last good seal is 0/,
        verify(noteOf({ ...end, last: NO_SEAL }), offline(old)),
      );
      const fork = { ...end, last: { ...end.last, sealHash: bytesOf('a fork') } };
      await fails('last seal', /is not the last good one that the end names/, verify(noteOf(fork), offline(old)));
      const later = { ...end, last: { ...end.last, seq: LAST_SEQ + 1 } };
      assert.ok((await verify(noteOf(later), offline(old))).ok, 'control: before the last one');
    });

    it('discontinuity: a receipt of a log that is neither', async () => {
      const stray = await makeReceipt({ origin: STRANGER });
      await fails(
        'discontinuity',
        /kiff\.dev\/t\/other is neither the log that ended nor the one after it/,
        verify(noteOf(end), offline(old, next, stray)),
      );
    });
  });
});
