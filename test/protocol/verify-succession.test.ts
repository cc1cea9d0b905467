/** Handovers, and the forged receipts of B24: each rule with receipts that break it alone. */
import assert from 'node:assert/strict';
import type { Receipt } from '../../protocol/receipt.ts';
import { verifyReceipt } from '../../protocol/verify.ts';
import {
  accountOf,
  addressOf,
  bytesOf,
  edited,
  makeHandover,
  makeReceipt,
  named,
  PERIOD,
  REGISTRY,
  signed,
  signersOf,
  structHash,
  type Mutable,
} from './receipt-factory.ts';
import { OFFLINE, policy, assertFails, detailOf, resealed } from './verify-assertions.ts';

describe('protocol/verify of successions', () => {
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
