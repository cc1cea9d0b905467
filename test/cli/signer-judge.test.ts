/** What the tenant's signer signs and what it refuses, request by request, against a cloud that is as bad as it can be. */
import assert from 'node:assert/strict';
import { appendFileSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { UsageError } from '../../cli/command.ts';
import { JournalBroken, openJournal } from '../../cli/signer/journal.ts';
import type { SignerPolicy } from '../../cli/signer/policy.ts';
import type { Hex } from '../../protocol/index.ts';
import { bytesOf } from '../protocol/receipt-factory.ts';
import { P, startCloud, type Cloud, type Request, type Seen } from './hostile-cloud.ts';
import { SIGNER, startSigner, type TestSigner } from './signer-agent.ts';

const EVIL = bytesOf('evil');

describe('the judgement of a tenant’s signer', function () {
  this.timeout(20_000);
  let cloud: Cloud;
  let signer: TestSigner;

  beforeEach(async () => {
    cloud = await startCloud(SIGNER);
    signer = startSigner(cloud);
  });
  afterEach(async () => {
    signer.stop();
    await cloud.stop();
  });

  /** Offers one request and says what came of it: `signed`, or the word of the refusal or the hold. */
  async function outcome(request: Request): Promise<string> {
    const before = signer.asked.length;
    const news = await signer.handle(request);
    const last = news.findLast(({ event }) => event === 'signed' || event === 'refused' || event === 'held');
    assert.equal(signer.asked.length > before, last?.event === 'signed', 'what is refused never reaches the key');
    return last?.event === 'signed' || last === undefined ? 'signed' : (last.word ?? '');
  }

  const seal = (change: Partial<Seen> = {}, more: object = {}): Request =>
    cloud.askSeal('seal', { ...cloud.nextSeal(), ...change }, more);

  const open = () => openJournal(signer.journalPath, cloud.policy as SignerPolicy);

  async function migrated(): Promise<void> {
    cloud.migrate();
    await signer.round();
    assert.equal(cloud.open.length, 0, JSON.stringify(signer.news));
    cloud.write(3);
  }

  it('takes a log over: proof, two trial seals, handover, acceptance; then it seals', async () => {
    await migrated();
    assert.equal(signer.asked.length, 5);
    for (let hour = 0; hour < 3; hour++) cloud.seal(hour * 200);
    await signer.round();
    assert.deepEqual(cloud.open, []);
    assert.equal(signer.asked.length, 8);
    assert.equal(signer.journal.said.standing?.head, cloud.standing.head);
  });

  it('says in words what it signs', async () => {
    cloud.migrate();
    const said = (await signer.round()).filter(({ event }) => event === 'signing').map(({ says }) => says);
    assert.match(said[0] ?? '', /That you hold the key 0xe1ab/);
    assert.match(
      said[1] ?? '',
      /On trial, seal 2 of kiff\.dev\/t\/acme .*: the records from .*Z to .*Z\. 6 records in all/,
    );
    assert.match(said[3] ?? '', /hands kiff\.dev\/t\/acme .* over to YOUR KEY 0xe1ab.*tenant-agent/);
    assert.match(said[4] ?? '', /IS THE SIGNER of kiff\.dev\/t\/acme/);
  });

  it('gives the same signature again, and asks the key once', async () => {
    await migrated();
    const request = seal();
    cloud.offer(request);
    await signer.round();
    await signer.handle(request);
    signer.restart();
    await signer.handle(request);
    assert.equal(new Set(cloud.signaturesOf(request)).size, 1);
    assert.equal(signer.asked.length, 6);
  });

  it('judges what was thrown back like anything else, whatever the cloud says of it', async () => {
    await migrated();
    for (const said of ['wrong-signer', 'a-newer-word', '\u001b[2J', 'x'.repeat(5_000), 7, {}]) {
      const asked = signer.asked.length;
      const news = await signer.handle(seal({ root: EVIL }, { lastAnswerRefused: said }));
      assert.equal(signer.asked.length, asked);
      const isWord = said === 'wrong-signer' || said === 'a-newer-word';
      assert.deepEqual(
        news.filter(({ event }) => event !== 'not-taken').map(({ event, word }) => `${event} ${word}`),
        [...(isWord ? [`answer-refused ${said}`] : []), 'refused not-an-extension'],
      );
    }
    assert.equal(await outcome(seal({}, { lastAnswerRefused: 'wrong-signer' })), 'signed');
  });

  describe('of a seal', () => {
    beforeEach(migrated);

    for (const [what, request, word] of [
      ['of another log', () => seal({}, { logId: EVIL }), 'malformed'],
      ['for another contract', () => seal({}, { registry: { chainId: 31_337, contract: SIGNER } }), 'malformed'],
      ['for another key', () => seal({}, { signer: `0x${'11'.repeat(20)}` }), 'wrong-signer'],
      ['whose digest is another’s', () => seal({}, { digest: EVIL }), 'malformed'],
      ['whose typed data are another’s', () => seal({}, { typedData: seal({ root: EVIL })['typedData'] }), 'malformed'],
      ['with a number that is none', () => seal({}, { seal: { ...cloud.nextSeal(), seq: -1 } }), 'malformed'],
      ['that does not follow the head', () => seal({ prev: EVIL }), 'wrong-prev'],
      ['that leaves a period out', () => seal({ period: cloud.standing.period + 2 * P }), 'wrong-period'],
      ['of an epoch before', () => seal({ epoch: 0 }), 'wrong-epoch'],
      ['of an epoch that it does not know', () => seal({ epoch: 2 }), 'journal-behind'],
      ['that leaves a number out', () => seal({ seq: cloud.standing.seq + 2 }), 'journal-behind'],
      ['that stands already', () => seal({ seq: cloud.standing.seq }), 'second-statement'],
      ['with another root', () => seal({ root: EVIL }), 'not-an-extension'],
      [
        'of a smaller tree',
        () => seal({ treeSize: 2, root: cloud.rootOf(cloud.entries.slice(0, 2)) }),
        'not-an-extension',
      ],
    ] as const) {
      it(`${what}: ${word}`, async () => {
        assert.equal(await outcome(request()), word);
        assert.equal(await outcome(seal()), 'signed', 'the honest one is signed all the same');
      });
    }

    it('for a contract, a log, that were not typed in, in a request that is right in itself', async () => {
      const other = await startCloud(SIGNER, { registry: { chainId: 8453, contract: cloud.registry.contract } });
      other.write(1);
      assert.equal(await outcome(other.askSeal('seal', other.nextSeal())), 'wrong-contract');
      await other.stop();
      const foreign = await startCloud(SIGNER, { origin: 'kiff.dev/t/other' });
      foreign.write(1);
      assert.equal(await outcome(foreign.askSeal('seal', foreign.nextSeal())), 'wrong-log');
      await foreign.stop();
    });

    it('of a period that is not over', async () => {
      const now = Math.floor(Date.now() / 1000);
      signer.stop();
      signer = startSigner(cloud, { now: () => cloud.standing.period + P });
      cloud.standing.epoch = 0;
      Object.assign(cloud.standing, { seq: 0, head: `0x${'00'.repeat(32)}`, seal: null });
      assert.ok(now > 0);
      const { request, hash } = cloud.handover({ expiresAt: cloud.standing.period + 2 * P });
      await signer.handle(request);
      await signer.handle(cloud.accept(hash));
      cloud.succeed(cloud.accept(hash));
      assert.equal(await outcome(seal({ period: cloud.standing.period + P })), 'too-early');
      assert.equal(await outcome(seal({ period: cloud.standing.period })), 'signed');
    });

    it('a second one for a number that is signed, whatever the tiles say by then', async () => {
      const first = cloud.nextSeal();
      assert.equal(await outcome(cloud.askSeal('seal', first)), 'signed');
      const forged = [cloud.entryOf('forged'), ...cloud.entries.slice(1)];
      cloud.publish(forged);
      const second = { ...first, root: cloud.rootOf(forged) };
      assert.equal(await outcome(cloud.askSeal('seal', second)), 'second-statement');
      signer.restart();
      assert.equal(await outcome(cloud.askSeal('seal', second)), 'second-statement');
    });

    it('over a past that was rewritten, with tiles that bear it out', async () => {
      const forged = [cloud.entryOf('forged'), ...cloud.entries.slice(1)];
      cloud.publish(forged);
      assert.equal(await outcome(seal({ root: cloud.rootOf(forged) })), 'not-an-extension');
      // The control: a signer that remembers no tree has nothing to hold it against.
      signer.journal.said.tree = null;
      assert.equal(await outcome(seal({ root: cloud.rootOf(forged) })), 'signed');
    });

    it('whose hour was empty, with another root for the same size', async () => {
      cloud.seal(0);
      await signer.round();
      const forged = [cloud.entryOf('forged'), ...cloud.entries.slice(1)];
      cloud.publish(forged);
      assert.equal(await outcome(seal({ root: cloud.rootOf(forged) })), 'not-an-extension');
    });

    it('out of order: the ones behind wait, and all are signed in the end', async () => {
      const [first, second] = [cloud.seal(), cloud.seal()].map((each) => cloud.askSeal('seal', each)) as [
        Request,
        Request,
      ];
      cloud.open.splice(0);
      const news = await signer.handle(second, first);
      assert.deepEqual(
        news.map(({ event, word }) => word ?? event),
        ['journal-behind'],
      );
      cloud.offer(first, second);
      await signer.round();
      assert.deepEqual(cloud.open, []);
    });

    it('without tiles: nothing is signed, nothing is refused, and later it is', async () => {
      cloud.failing.add('tiles');
      assert.equal(await outcome(seal()), 'log-unreachable');
      assert.equal(cloud.answers.filter(({ refused }) => refused !== undefined).length, 0);
      cloud.failing.delete('tiles');
      assert.equal(await outcome(seal()), 'signed');
    });

    it('while the key is away: the statement stands, and nothing else goes in its place', async () => {
      const first = cloud.nextSeal();
      signer.keyAway = true;
      await signer.handle(cloud.askSeal('seal', first));
      signer.restart();
      signer.keyAway = false;
      const asked = signer.asked.length;
      cloud.write(1);
      const other = { ...first, treeSize: cloud.entries.length, root: cloud.rootOf(cloud.entries) };
      assert.equal(await outcome(cloud.askSeal('seal', other)), 'second-statement');
      assert.equal(signer.asked.length, asked);
      assert.equal(await outcome(cloud.askSeal('seal', first)), 'signed');
    });
  });

  describe('of a migration', () => {
    it('no trial seal twice, backwards, or once it signs for good', async () => {
      const first = cloud.sealByOldKey();
      const second = cloud.sealByOldKey();
      assert.equal(await outcome(cloud.askSeal('shadow', second)), 'signed');
      assert.equal(await outcome(cloud.askSeal('shadow', first)), 'out-of-turn');
      assert.equal(await outcome(cloud.askSeal('shadow', { ...second, root: EVIL })), 'second-statement');
      const { request, hash } = cloud.handover();
      assert.equal(await outcome(request), 'signed');
      assert.equal(await outcome(cloud.accept(hash)), 'signed');
      cloud.write(1);
      assert.equal(await outcome(cloud.askSeal('shadow', cloud.nextSeal())), 'out-of-turn');
    });

    it('no acceptance that makes a trial seal a real one (C16)', async () => {
      const { request, hash } = cloud.handover();
      assert.equal(await outcome(request), 'signed');
      // What the log would stand at after an acceptance that has not been asked for yet.
      cloud.sealByOldKey();
      const accept = cloud.accept(hash);
      const before = { ...cloud.standing };
      cloud.succeed(accept);
      cloud.write(3);
      const prepared = cloud.nextSeal();
      Object.assign(cloud.standing, before);
      assert.equal(await outcome(cloud.askSeal('shadow', prepared)), 'signed');
      assert.equal(await outcome(accept), 'out-of-turn');
    });

    it('no acceptance of a head that nobody shows, or another one than is shown', async () => {
      const { request, hash } = cloud.handover();
      assert.equal(await outcome(cloud.accept(hash)), 'unknown-handover');
      await outcome(request);
      cloud.shadow();
      await signer.round();
      cloud.sealByOldKey();
      assert.equal(await outcome(cloud.accept(hash, {}, { standing: null })), 'head-unverified');
      assert.equal(await outcome(cloud.accept(hash, { head: EVIL })), 'wrong-prev');
      const forged = [cloud.entryOf('forged'), ...cloud.entries.slice(1)];
      const { epoch: _, ...last } = cloud.standing.seal!;
      const lying = { ...last, root: cloud.rootOf(forged) };
      cloud.publish(forged);
      const head = cloud.hashOf({ epoch: 0, ...lying });
      assert.equal(await outcome(cloud.accept(hash, { head }, { standing: lying })), 'not-an-extension');
      cloud.publish(cloud.entries);
      assert.equal(await outcome(cloud.accept(hash)), 'signed');
      cloud.sealByOldKey();
      assert.equal(await outcome(cloud.accept(hash)), 'second-statement');
    });

    it('no handover between others, to nobody typed in, by a key that is not the signer, or without an end', async () => {
      const stranger: Hex = `0x${'77'.repeat(20)}`;
      assert.equal(await outcome(cloud.handover({ to: stranger }).request), 'wrong-address');
      assert.equal(await outcome(cloud.handover({ custody: 1 }).request), 'wrong-address');
      assert.equal(await outcome(cloud.handover({ from: SIGNER, to: stranger }).request), 'wrong-address');
      assert.equal(await outcome(cloud.handover({ expiresAt: 1_700_000_001 }).request), 'expired');
      assert.equal(await outcome(cloud.handover({ expiresAt: 9_000_000_000 }).request), 'expired');
      assert.equal(
        await outcome(cloud.proof({ message: { ...(cloud.proof()['message'] as object), newSigner: stranger } })),
        'malformed',
      );
      cloud.policy.handOverTo.push(stranger);
      assert.equal(await outcome(cloud.handover({ from: SIGNER, to: stranger }).request), 'journal-behind');
    });

    it('hands over to whom its owner typed in, once at a time, and takes it back', async () => {
      await migrated();
      const next: Hex = `0x${'88'.repeat(20)}`;
      const other: Hex = `0x${'99'.repeat(20)}`;
      const away = (to: Hex, nonce: string, change = {}) =>
        cloud.handover({ from: SIGNER, to, custody: 1, nonce: bytesOf(nonce), ...change });
      assert.equal(await outcome(away(next, 'a').request), 'wrong-address');
      cloud.policy.handOverTo.push(next, other);
      assert.equal(await outcome(away(next, 'a', { epochTo: 3 }).request), 'wrong-epoch');
      const first = away(next, 'a');
      assert.equal(await outcome(first.request), 'signed');
      assert.equal(await outcome(away(other, 'b').request), 'handover-live');
      assert.equal(await outcome(cloud.cancel(EVIL)), 'unknown-handover');
      assert.equal(await outcome(cloud.cancel(first.hash)), 'signed');
      assert.equal(await outcome(away(other, 'a').request), 'second-statement', 'its nonce is used');
      assert.equal(await outcome(away(other, 'b').request), 'signed');
    });

    it('a cancellation of a handover to it that it signed, and of no other; for ever', async () => {
      const stranger: Hex = `0x${'77'.repeat(20)}`;
      const { request, hash } = cloud.handover();
      assert.equal(await outcome(cloud.cancel(hash)), 'unknown-handover', 'it did not sign that one yet');
      assert.equal(await outcome(request), 'signed');
      const between = cloud.handover({ to: stranger, nonce: bytesOf('another') });
      assert.equal(await outcome(between.request), 'wrong-address');
      assert.equal(await outcome(cloud.cancel(between.hash)), 'unknown-handover', 'nor is its end signed');
      assert.equal(await outcome(cloud.cancel(EVIL)), 'unknown-handover');
      assert.equal(await outcome(cloud.cancel(hash, { epochTo: 2 })), 'wrong-epoch');
      assert.equal(await outcome({ ...cloud.cancel(hash), signer: stranger }), 'wrong-signer');
      assert.equal(await outcome({ ...cloud.cancel(hash), logId: EVIL }), 'malformed');
      const foreign = await startCloud(SIGNER, { origin: 'kiff.dev/t/other' });
      assert.equal(await outcome(foreign.cancel(hash)), 'wrong-log');
      await foreign.stop();
      const elsewhere = await startCloud(SIGNER, { registry: { ...cloud.registry, chainId: 8453 } });
      assert.equal(await outcome(elsewhere.cancel(hash)), 'wrong-contract');
      await elsewhere.stop();

      const cancel = cloud.cancel(hash);
      cloud.offer(cancel);
      await signer.round();
      signer.restart();
      assert.equal(await outcome(cloud.accept(hash)), 'unknown-handover', 'there is no way back');
      await signer.handle(cancel);
      assert.equal(new Set(cloud.signaturesOf(cancel)).size, 1);
      assert.equal(signer.asked.length, 2, 'the handover and its cancellation, once each');
    });

    it('no cancellation of what it has accepted', async () => {
      await migrated();
      cloud.standing.epoch = 0;
      const { hash } = cloud.handover(signer.journal.said.handovers.values().next().value as never);
      assert.equal(await outcome(cloud.cancel(hash)), 'out-of-turn');
    });
  });

  describe('by its journal', () => {
    beforeEach(migrated);

    it('cuts off a torn last line, and goes on', async () => {
      const whole = readFileSync(signer.journalPath);
      appendFileSync(signer.journalPath, '{"sum":"0123');
      signer.restart();
      assert.deepEqual(readFileSync(signer.journalPath), whole);
      cloud.offer(seal());
      await signer.round();
      assert.deepEqual(cloud.open, []);
      signer.restart();
    });

    it('refuses damage anywhere else, and other logs’ journals', () => {
      const whole = readFileSync(signer.journalPath, 'utf8');
      const lines = whole.split('\n');
      for (const [what, text] of [
        ['a changed line', whole.replace('"seq":3', '"seq":4')],
        ['a line that is missing', [...lines.slice(0, 3), ...lines.slice(4)].join('\n')],
        ['two lines that are swapped', [lines[0], lines[2], lines[1], ...lines.slice(3)].join('\n')],
        ['a beginning that is missing', lines.slice(1).join('\n')],
        ['zeros', `${'\0'.repeat(100)}\n`],
      ] as const) {
        writeFileSync(signer.journalPath, text);
        assert.throws(open, /the journal is damaged at line/, what);
      }
      writeFileSync(signer.journalPath, whole);
      const other = { ...cloud.policy, logId: EVIL } as SignerPolicy;
      assert.throws(() => openJournal(signer.journalPath, other), UsageError);
      open().close();
    });

    it('stops before it signs when somebody else writes into it', async () => {
      appendFileSync(signer.journalPath, readFileSync(signer.journalPath, 'utf8').split('\n')[1] ?? '');
      const asked = signer.asked.length;
      await assert.rejects(signer.handle(seal()), JournalBroken);
      await assert.rejects(signer.handle(seal()), JournalBroken);
      assert.equal(signer.asked.length, asked);
      truncateSync(signer.journalPath, 0);
    });

    it('put back from an old copy, signs nothing that lies beyond it', async () => {
      const old = readFileSync(signer.journalPath);
      for (let hour = 0; hour < 3; hour++) cloud.seal();
      await signer.round();
      writeFileSync(signer.journalPath, old);
      signer.restart();
      cloud.write(1);
      assert.equal(await outcome(seal()), 'journal-behind');
    });
  });
});
