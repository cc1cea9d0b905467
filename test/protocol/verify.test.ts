import assert from 'node:assert/strict';
import type { PrivateKeyAccount } from 'viem';
import { CHECK_NAMES, type CheckName } from '../../protocol/checks.ts';
import type { Policy } from '../../protocol/policy.ts';
import type { Receipt } from '../../protocol/receipt.ts';
import { NotJsonError } from '../../protocol/shape.ts';
import { verifyReceipt, verifyReceiptText, type Verification } from '../../protocol/verify.ts';
import {
  accountOf,
  addressOf,
  bytesOf,
  checkpointOf,
  edited,
  makeHandover,
  makePolicy,
  makeReceipt,
  named,
  operatorOf,
  OPERATOR,
  ORIGIN,
  PERIOD,
  REGISTRY,
  signed,
  signersOf,
  structHash,
  treeOf,
  ZERO,
  type Mutable,
} from './receipt-factory.ts';

const OFFLINE = { offline: true };
const policy = makePolicy();

/** Verifies offline, and asserts which checks fail. */
async function assertFails(receipt: unknown, names: readonly CheckName[], by: Policy | null = policy) {
  const verification = await verifyReceipt(receipt, by, OFFLINE);
  assert.deepEqual(named(verification.checks, 'failed'), names, JSON.stringify(verification.checks, null, 1));
  assert.equal(verification.ok, names.length === 0);
  return verification;
}

function detailOf({ checks }: Verification, name: CheckName): string {
  return checks.find((check) => check.name === name)?.detail ?? '';
}

/** Signs the receipt's seal again, after something in it was changed on purpose. */
async function resealed(
  receipt: Receipt,
  by: PrivateKeyAccount,
  edit: (copy: Mutable<Receipt>) => void,
): Promise<Receipt> {
  const copy = edited(receipt, edit) as Mutable<Receipt>;
  copy.seal.signature = await signed(by, copy.registry, 'Seal', copy.seal);
  return copy;
}

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

  describe('handovers', () => {
    const rules: [string, number, (copy: Mutable<Receipt>) => void | Promise<void>][] = [
      ['there are too few', 2, (copy) => void copy.handovers.pop()],
      ['there are too many', 1, (copy) => void copy.handovers.push(structuredClone(firstHandover(copy)))],
      ['the epoch is another', 1, (copy) => void (copy.seal.epoch = 0)],
      ['the first one is not from the genesis signer', 2, (copy) => void copy.handovers.shift()],
      ['their order is another', 2, (copy) => void (copy.handovers = copy.handovers.toReversed())],
      ['the signatures of both keys are swapped', 1, swapSignatures],
      [
        'the acceptance is signed by the old key',
        1,
        async (copy) => {
          firstHandover(copy).acceptSignature = await signed(
            accountOf('genesis'),
            REGISTRY,
            'HandoverAccept',
            firstHandover(copy).accept,
          );
        },
      ],
      [
        "the acceptance is another handover's",
        1,
        async (copy) => {
          const item = firstHandover(copy);
          item.accept.handoverHash = bytesOf('another');
          item.acceptSignature = await signed(accountOf('second'), REGISTRY, 'HandoverAccept', item.accept);
        },
      ],
      [
        'signed for another chain',
        1,
        async (copy) => {
          const item = firstHandover(copy);
          item.fromSignature = await signed(
            accountOf('genesis'),
            { ...REGISTRY, chainId: 1 },
            'Handover',
            item.handover,
          );
        },
      ],
    ];
    for (const [name, epoch, edit] of rules) {
      it(`fail when ${name}`, async () => {
        const copy = structuredClone(await makeReceipt({ epoch })) as Mutable<Receipt>;
        await edit(copy);
        const { checks } = await verifyReceipt(copy, policy, OFFLINE);
        assert(named(checks, 'failed').includes('handovers'));
      });
    }

    const terms: [string, Parameters<typeof makeHandover>[2] extends infer T ? Partial<T> : never][] = [
      ['is about another log', { logId: bytesOf('other') }],
      ['skips an epoch', { epochTo: 2 }],
      ['has custody 0', { custody: 0 }],
      ['has custody 4', { custody: 4 }],
      ['expires before it begins', { notBefore: 10, expiresAt: 9 }],
      ['expires as it begins', { notBefore: 10, expiresAt: 10 }],
    ];
    for (const [name, change] of terms) {
      it(`fail when one, well signed, ${name}`, async () => {
        const receipt = structuredClone(await makeReceipt({ epoch: 1 })) as Mutable<Receipt>;
        const item = firstHandover(receipt);
        const { logId, epochTo, notBefore, expiresAt, custody } = item.handover;
        const parties = { from: accountOf('genesis'), to: accountOf('second') };
        const base = { logId, epochTo, notBefore, expiresAt, custody, seq: item.accept.seq, head: item.accept.head };
        Object.assign(item, await makeHandover(REGISTRY, parties, base));
        await assertFails(receipt, []);
        Object.assign(item, await makeHandover(REGISTRY, parties, { ...base, ...change }));
        await assertFails(receipt, ['handovers']);
      });
    }

    it('fail when one hands over to itself or to nobody', async () => {
      await assertFails(await makeReceipt({ epoch: 1, signers: signersOf('genesis', 'genesis') }), ['handovers']);
    });

    it('hold each acceptance to the head before it', async () => {
      // No seal between the two acceptances: the second names the first one's hash.
      await assertFails(await makeReceipt({ epoch: 2, acceptSeqs: [5, 5] }), []);
      await assertFails(await makeReceipt({ epoch: 2, acceptSeqs: [0, 0], seq: 1 }), []);
      await assertFails(await makeReceipt({ epoch: 2, acceptSeqs: [9, 5] }), ['handovers']);
      const receipt = structuredClone(await makeReceipt({ epoch: 2, acceptSeqs: [5, 5] })) as Mutable<Receipt>;
      const [, second] = receipt.handovers;
      assert(second);
      second.accept.head = bytesOf('another head');
      second.acceptSignature = await signed(accountOf('third'), REGISTRY, 'HandoverAccept', second.accept);
      await assertFails(receipt, ['handovers']);
    });

    it('bind the first seal of an epoch to its acceptance', async () => {
      const receipt = await makeReceipt({ epoch: 1, acceptSeqs: [5], seq: 6 });
      assert.equal(receipt.seal.prev, structHash('HandoverAccept', receipt.handovers[0]?.accept ?? {}));
      await assertFails(receipt, []);
      await assertFails(await makeReceipt({ epoch: 1, acceptSeqs: [5], seq: 6, prev: bytesOf('seal 5') }), [
        'handovers',
      ]);
      await assertFails(await makeReceipt({ seq: 1 }), []);
      await assertFails(await makeReceipt({ seq: 1, prev: bytesOf('something') }), ['handovers']);
    });
  });

  describe('forged receipts (B24), each refused by name', () => {
    it("another key's log under our origin", async () => {
      const theirs = await makeReceipt({ signers: signersOf('mallory') });
      const verification = await assertFails(theirs, ['policy']);
      assert.match(detailOf(verification, 'policy'), /somebody else's log/);
      const posing = edited(theirs, (copy) => {
        copy.genesisSigner = addressOf(accountOf('genesis'));
      });
      await assertFails(posing, ['log id', 'signature', 'handovers']);
    });

    it("a new key's seal before its time", async () => {
      await assertFails(await makeReceipt({ epoch: 1, acceptSeqs: [5], seq: 5 }), ['handovers']);
      await assertFails(await makeReceipt({ epoch: 1, acceptSeqs: [5], seq: 2 }), ['handovers']);
    });

    it('an old key under the new epoch', async () => {
      await assertFails(await makeReceipt({ epoch: 1, sealedBy: accountOf('genesis') }), ['handovers']);
      const posing = await resealed(await makeReceipt({ epoch: 1 }), accountOf('genesis'), () => {});
      await assertFails(posing, ['signature']);
    });

    it('swapped or missing handovers', async () => {
      const receipt = await makeReceipt({ epoch: 2 });
      await assertFails(
        edited(receipt, (copy) => void (copy.handovers = copy.handovers.toReversed())),
        ['handovers'],
      );
      await assertFails(
        edited(receipt, (copy) => void copy.handovers.shift()),
        ['handovers'],
      );
      await assertFails(
        edited(receipt, (copy) => void copy.handovers.pop()),
        ['handovers'],
      );
      await assertFails({ ...receipt, handovers: [] }, ['handovers']);
    });

    it('a record dated into an hour long sealed', async () => {
      const receivedAt = new Date((PERIOD - 5 * 3600 + 10) * 1000).toISOString();
      const verification = await assertFails(await makeReceipt({ receivedAt }), ['period']);
      assert.match(detailOf(verification, 'period'), /before the sealed period/);
      const trusting = await verifyReceipt(await makeReceipt({ receivedAt }), null, { ...OFFLINE, trustReceipt: true });
      assert.deepEqual(named(trusting.checks, 'failed'), ['period']);
    });

    it('duplicate names in the body', async () => {
      const body = '{"attribution":null,"record":{"id":"evt_3","amount":1,"amount":1000000}}';
      await assertFails(await makeReceipt({ body }), ['commitment']);
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

function firstHandover(receipt: Mutable<Receipt>): Mutable<Receipt['handovers'][number]> {
  const [item] = receipt.handovers;
  assert(item);
  return item;
}

function swapSignatures(copy: Mutable<Receipt>): void {
  const item = firstHandover(copy);
  [item.fromSignature, item.toSignature] = [item.toSignature, item.fromSignature];
}

/** RFC 3339 of a moment so many milliseconds after the period's beginning. */
function timeAt(millis: number): string {
  return new Date(PERIOD * 1000 + millis).toISOString();
}
