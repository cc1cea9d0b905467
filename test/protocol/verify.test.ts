/** Long because every check has its receipts that break it alone; successions are in verify-succession.test.ts. */
import assert from 'node:assert/strict';
import { CHECK_NAMES } from '../../protocol/checks.ts';
import type { Receipt } from '../../protocol/receipt.ts';
import { NotJsonError } from '../../protocol/shape.ts';
import { verifyReceipt, verifyReceiptText } from '../../protocol/verify.ts';
import {
  accountOf,
  addressOf,
  bytesOf,
  checkpointOf,
  edited,
  makePolicy,
  makeReceipt,
  named,
  operatorOf,
  OPERATOR,
  ORIGIN,
  PERIOD,
  REGISTRY,
  signersOf,
  treeOf,
  ZERO,
} from './receipt-factory.ts';
import { OFFLINE, policy, assertFails, detailOf, resealed, timeAt } from './verify-assertions.ts';

describe('protocol/verify', () => {
  describe('a good receipt', () => {
    for (const epoch of [0, 1, 2]) {
      it(`of epoch ${epoch} passes offline, with every check named in order`, async () => {
        const verification = await verifyReceipt(await makeReceipt({ epoch }), policy, OFFLINE);
        assert.deepEqual(
          verification.checks.map(({ name }) => name),
          CHECK_NAMES,
        );
        assert.deepEqual(named(verification.checks, 'waived'), ['anchor', 'finality']);
        assert.deepEqual(named(verification.checks, 'held'), CHECK_NAMES.slice(0, 9));
        assert.equal(verification.ok, true);
        assert.equal(verification.rpcUnreachable, false);
      });
    }

    it('says what it proved and what it did not', async () => {
      const { proved, notProved } = await verifyReceipt(await makeReceipt(), policy, OFFLINE);
      assert(proved.some((sentence) => sentence.includes(`leaf 3 of 7 in seal 3 of ${ORIGIN}`)));
      assert(proved.some((sentence) => sentence.includes('The operator signed the same size and root')));
      assert(proved.every((sentence) => !sentence.includes('block')));
      assert(notProved.some((sentence) => sentence.includes('content is true')));
      assert(notProved.some((sentence) => sentence.includes('posted everything')));
      assert(notProved.some((sentence) => sentence.includes('stands on chain')));
      assert(notProved.some((sentence) => sentence.includes("was the log's signer at seal 3")));
    });

    it('of every tree size and index passes', async () => {
      for (let size = 1; size <= 12; size++) {
        for (let leafIndex = 0; leafIndex < size; leafIndex++)
          await assertFails(await makeReceipt({ size, leafIndex }), []);
      }
    });

    it('without an RPC and without a word waives the chain too, and says so', async () => {
      const verification = await verifyReceipt(await makeReceipt(), policy);
      assert.deepEqual(named(verification.checks, 'waived'), ['anchor', 'finality']);
      assert.match(detailOf(verification, 'anchor'), /no RPC was given/);
    });
  });

  describe('policy', () => {
    it('fails when there is none, unless the receipt is to be trusted', async () => {
      const receipt = await makeReceipt();
      const verification = await assertFails(receipt, ['policy'], null);
      assert.match(detailOf(verification, 'policy'), /anybody can register a log/);

      const trusting = await verifyReceipt(receipt, null, { ...OFFLINE, trustReceipt: true });
      assert.deepEqual(named(trusting.checks, 'waived'), ['policy', 'anchor', 'finality']);
      assert.equal(trusting.ok, true);
      assert(trusting.notProved.some((sentence) => sentence.includes('organisation that its origin names')));
      assert(trusting.notProved.some((sentence) => sentence.includes("operator's signature on the checkpoint")));
    });

    it('is not waived by trust when it is there and disagrees', async () => {
      const receipt = await makeReceipt({ signers: signersOf('mallory') });
      const verification = await verifyReceipt(receipt, policy, { ...OFFLINE, trustReceipt: true });
      assert.deepEqual(named(verification.checks, 'failed'), ['policy']);
    });

    it('fails when it is itself unusable, and nothing throws', async () => {
      const receipt = await makeReceipt();
      for (const broken of [{}, [], 'policy', 7, { ...policy, logs: 3 }]) {
        const verification = await verifyReceipt(receipt, broken, OFFLINE);
        assert.deepEqual(named(verification.checks, 'failed'), ['policy']);
        assert.match(detailOf(verification, 'policy'), /^the policy is unusable/);
      }
    });

    it('names chain, contract and log', async () => {
      const elsewhere = { ...REGISTRY, chainId: 84532 };
      await assertFails(await makeReceipt({ registry: elsewhere }), ['policy']);
      await assertFails(await makeReceipt({ registry: { ...REGISTRY, contract: `0x${'c1'.repeat(20)}` } }), ['policy']);
      // Without the policy's entry no checkpoint key is known either.
      await assertFails(await makeReceipt({ origin: 'kiff.dev/t/other' }), ['policy']);
    });

    it('knows the period length', async () => {
      const sixty = edited(policy, (copy) => {
        copy.registry.periodSeconds = 60;
      });
      const receivedAt = new Date((PERIOD + 61) * 1000).toISOString();
      await assertFails(await makeReceipt({ receivedAt }), []);
      await assertFails(await makeReceipt({ receivedAt }), ['period'], sixty);
      await assertFails(await makeReceipt({ period: PERIOD + 60 }), ['policy', 'period']);
    });

    it('may forbid to waive a check', async () => {
      const strict = makePolicy({ require: ['commitment', 'finality'] });
      const withheld = edited(await makeReceipt(), (copy) => {
        copy.disclosure = null;
      });
      const verification = await assertFails(withheld, ['commitment', 'finality'], strict);
      assert.match(detailOf(verification, 'finality'), /^the policy requires this check/);
      assert.deepEqual(named(verification.checks, 'waived'), ['anchor']);
    });

    describe('with a succession', () => {
      const [first, second, third] = signersOf('genesis', 'second', 'third').map(addressOf);
      const succession = [
        { epoch: 0, signer: first ?? ZERO, afterSeq: 0 },
        { epoch: 1, signer: second ?? ZERO, afterSeq: 5 },
        { epoch: 2, signer: third ?? ZERO, afterSeq: 9 },
      ];
      const knowing = makePolicy({ succession });

      it('agrees with receipts of every epoch, and proves the signer of those that it bounds', async () => {
        for (const options of [{ epoch: 0, seq: 5 }, { epoch: 1 }, { epoch: 2 }]) {
          const receipt = await makeReceipt(options);
          const { proved } = await assertFails(receipt, [], knowing);
          assert.equal(
            proved.some((sentence) => sentence.includes("policy's succession")),
            options.epoch < 2,
          );
        }
      });

      it('refuses an old key after its time', async () => {
        await assertFails(await makeReceipt({ epoch: 0, seq: 5 }), [], knowing);
        await assertFails(await makeReceipt({ epoch: 0, seq: 6 }), ['policy'], knowing);
        await assertFails(await makeReceipt({ epoch: 1, seq: 10 }), ['policy'], knowing);
      });

      it('refuses another signer, and an acceptance at another seq', async () => {
        const stranger = signersOf('genesis', 'stranger', 'third');
        await assertFails(await makeReceipt({ epoch: 1, signers: stranger }), ['policy'], knowing);
        await assertFails(await makeReceipt({ epoch: 2, signers: stranger }), ['policy'], knowing);
        await assertFails(await makeReceipt({ epoch: 2, acceptSeqs: [4, 9] }), ['policy'], knowing);
        await assertFails(await makeReceipt({ epoch: 1, acceptSeqs: [4], seq: 8 }), ['policy'], knowing);
      });

      it('says nothing of epochs that it does not list', async () => {
        const partial = makePolicy({ succession: succession.slice(0, 2) });
        await assertFails(await makeReceipt({ epoch: 2 }), [], partial);
      });
    });
  });

  describe('commitment', () => {
    it('is waived when nothing is disclosed', async () => {
      const receipt = edited(await makeReceipt(), (copy) => {
        copy.disclosure = null;
      });
      const verification = await assertFails(receipt, []);
      assert.deepEqual(named(verification.checks, 'waived'), ['commitment', 'anchor', 'finality']);
      assert(verification.notProved.some((sentence) => sentence.startsWith('What the record says')));
    });

    it('fails on another salt and on another body', async () => {
      const receipt = await makeReceipt();
      const salted = edited(receipt, (copy) => {
        assert(copy.disclosure);
        copy.disclosure.salt = bytesOf('other');
      });
      await assertFails(salted, ['commitment']);
      const changed = edited(receipt, (copy) => {
        assert(copy.disclosure);
        copy.disclosure.body = copy.disclosure.body.replace('o-1', 'o-2');
      });
      await assertFails(changed, ['commitment']);
    });

    it('takes nothing but exactly one body, however well committed to', async () => {
      const bodies = [
        '{"attribution":null,"record":{"id":"a","id":"b"}}',
        '{"attribution":null,"record":{"a":{"b":[{"c":1,"\\u0063":2}]}}}',
        '{"attribution":null,"record":{},"record":{}}',
        '{"record":{},"attribution":null}',
        '{"attribution":null, "record":{}}',
        '{"attribution":null,"record":{}} ',
        '{"attribution":null,"record":[]}',
        '{"attribution":7,"record":{}}',
        '{"attribution":null}',
        '{"attribution":null,"record":{},"more":1}',
        '{"attribution":null,"record":{"a":01}}',
        'null',
        '',
      ];
      for (const body of bodies) await assertFails(await makeReceipt({ body }), ['commitment']);
      await assertFails(await makeReceipt({ body: '{"attribution":{"wallet":"0x00"},"record":{"a":-0}}' }), []);
    });
  });

  describe('leaf and period', () => {
    it('an entry in any other spelling is none, even when it is in the tree', async () => {
      const receipt = await makeReceipt({ size: 1, leafIndex: 0 });
      const { entry } = receipt;
      const spellings = [
        `${entry} `,
        entry.replace('"v":1', '"v":2'),
        entry.replace('"v":1,', '"v": 1,'),
        entry.replace('Z"', '+00:00"'),
        entry.replace('evt_0', 'evt\\u005f0'),
        '{}',
        '',
      ];
      for (const spelling of spellings) {
        const { root } = treeOf([spelling], 0);
        const forged = await resealed(receipt, accountOf('genesis'), (copy) => {
          copy.entry = spelling;
          copy.seal.root = root;
          copy.checkpoint = checkpointOf(ORIGIN, 1, root, OPERATOR);
        });
        const { checks } = await assertFails(forged, ['leaf']);
        assert.deepEqual(named(checks, 'not-run'), ['commitment', 'period']);
      }
    });

    it('bounds the time to the millisecond', async () => {
      await assertFails(await makeReceipt({ receivedAt: timeAt(0) }), []);
      await assertFails(await makeReceipt({ receivedAt: timeAt(3_599_999) }), []);
      await assertFails(await makeReceipt({ receivedAt: timeAt(-1) }), ['period']);
      await assertFails(await makeReceipt({ receivedAt: timeAt(3_600_000) }), ['period']);
    });

    it('without a policy bounds it by the longest period that exists, and says so', async () => {
      const trusting = { ...OFFLINE, trustReceipt: true };
      const inside = await verifyReceipt(await makeReceipt(), null, trusting);
      assert.equal(inside.ok, true);
      assert(inside.notProved.some((sentence) => sentence.includes('exact period length')));
      for (const millis of [-1, 3_600_000]) {
        const receipt = await makeReceipt({ receivedAt: timeAt(millis) });
        assert.deepEqual(named((await verifyReceipt(receipt, null, trusting)).checks, 'failed'), ['period']);
      }
    });
  });

  describe('signature', () => {
    it('needs the checkpoint to say what the seal says, in one signature of the origin', async () => {
      const receipt = await makeReceipt();
      const { treeSize, root } = receipt.seal;
      const good = checkpointOf(ORIGIN, treeSize, root, OPERATOR);
      const withCheckpoint = (checkpoint: string): Receipt => ({ ...receipt, checkpoint });
      await assertFails(withCheckpoint(good), []);
      const notes: [string, string][] = [
        ['size', checkpointOf(ORIGIN, treeSize + 1, root, OPERATOR)],
        ['root', checkpointOf(ORIGIN, treeSize, ZERO, OPERATOR)],
        ['origin', checkpointOf('kiff.dev/t/other', treeSize, root, OPERATOR)],
        ['two signatures', good + (good.split('\n\n')[1] ?? '')],
        ['an extension', good.replace('\n\n', '\nmore\n\n')],
        ['no signature', `${good.split('\n\n')[0] ?? ''}\n\n`],
        ['nothing', ''],
      ];
      for (const [name, note] of notes) {
        await assertFails(withCheckpoint(note), ['signature']);
        const trusting = await verifyReceipt(withCheckpoint(note), null, { ...OFFLINE, trustReceipt: true });
        assert.deepEqual(named(trusting.checks, 'failed'), ['signature'], `${name}, with no key known`);
      }
      // Well formed, but not by the policy's key: only who knows the key can tell.
      const forged = withCheckpoint(checkpointOf(ORIGIN, treeSize, root, operatorOf('mallory')));
      await assertFails(forged, ['signature']);
      assert.equal((await verifyReceipt(forged, null, { ...OFFLINE, trustReceipt: true })).ok, true);
    });

    it('accepts any of the checkpoint keys, and none at all when there is no checkpoint', async () => {
      const receipt = await makeReceipt();
      const rotated = makePolicy({ checkpointKeys: [operatorOf('older').publicKey, OPERATOR.publicKey] });
      await assertFails(receipt, [], rotated);
      await assertFails(receipt, ['signature'], makePolicy({ checkpointKeys: [] }));
      await assertFails({ ...receipt, checkpoint: null }, []);
    });

    it('needs the signer that the seal names', async () => {
      const receipt = await makeReceipt();
      const forged = await resealed(receipt, accountOf('mallory'), () => {});
      await assertFails(forged, ['signature']);
      // Named as the signer, too: then it is not the genesis signer.
      await assertFails(await makeReceipt({ sealedBy: accountOf('mallory') }), ['signature', 'handovers']);
    });

    it('is for one chain and one contract', async () => {
      const receipt = await makeReceipt();
      const moved = edited(receipt, (copy) => {
        copy.registry.chainId = 1;
      });
      await assertFails(moved, ['policy', 'signature']);
      const trusting = await verifyReceipt(moved, null, { ...OFFLINE, trustReceipt: true });
      assert.deepEqual(named(trusting.checks, 'failed'), ['signature']);
    });
  });

  describe('format', () => {
    it('fails by itself, leaves the rest unrun, and never throws', async () => {
      for (const value of [null, undefined, 1, 'receipt', [], {}, { format: 'kiff.receipt/1' }]) {
        const { ok, checks } = await verifyReceipt(value, policy, OFFLINE);
        assert.equal(ok, false);
        assert.deepEqual(named(checks, 'failed'), ['format']);
        assert.deepEqual(named(checks, 'not-run'), CHECK_NAMES.slice(1));
      }
    });

    it('of a text also sees duplicate names and half surrogates, which a parsed value hides', async () => {
      const receipt = await makeReceipt();
      const text = JSON.stringify(receipt);
      assert.equal((await verifyReceiptText(text, policy, OFFLINE)).ok, true);
      const twice = text.replace('"leafIndex":3', '"leafIndex":9,"leafIndex":3');
      assert.equal(
        (await verifyReceipt(JSON.parse(twice), policy, OFFLINE)).ok,
        true,
        'the control: a parser sees one',
      );
      assert.deepEqual(named((await verifyReceiptText(twice, policy, OFFLINE)).checks, 'failed'), ['format']);
      const deep = text.replace('"txHash"', '"logIndex":1,"txHash"');
      assert.deepEqual(named((await verifyReceiptText(deep, policy, OFFLINE)).checks, 'failed'), ['format']);
      await assert.rejects(verifyReceiptText('{"format":', policy, OFFLINE), NotJsonError);
      await assert.rejects(verifyReceiptText('{"a":1,"a":', policy, OFFLINE), NotJsonError);
    });

    it('does not let half a surrogate pass for U+FFFD, as which it would be hashed', async () => {
      const receipt = await makeReceipt({ body: '{"attribution":null,"record":{"note":"\u{FFFD}"}}' });
      await assertFails(receipt, []);
      const forged = edited(receipt, (copy) => {
        assert(copy.disclosure);
        copy.disclosure.body = copy.disclosure.body.replace('\u{FFFD}', '\u{DFFD}');
      });
      await assertFails(forged, ['format']);
    });
  });
});
