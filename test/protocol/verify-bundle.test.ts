/** Whole logs: what holds, and each thing that can be wrong with one, named by itself. The chain is honest or lies here. */
import assert from 'node:assert/strict';
import { verifyBundle, type BundleReport } from '../../protocol/verify-bundle.ts';
import type { BundleEntry, BundleHandover, BundleLine, BundleSeal, Policy } from '../../protocol/index.ts';
import {
  bundleOf,
  chunksOf,
  makeEntry,
  makeLog,
  SIGNERS,
  textOf,
  type MadeBundle,
  type MadeLog,
} from './bundle-factory.ts';
import { logChain, type LogChainOptions } from './log-chain.ts';
import {
  addressOf,
  bytesOf,
  edited,
  makePolicy,
  named,
  operatorOf,
  PERIOD,
  PERIOD_SECONDS,
  signed,
  structHash,
  type Mutable,
} from './receipt-factory.ts';

const hour = (seq: number): number => PERIOD + (seq - 1) * PERIOD_SECONDS;
const isSeal = (line: BundleLine): line is BundleSeal => 'seal' in line;
const isEntry = (line: BundleLine): line is BundleEntry => 'entry' in line;
const sealAt = (lines: readonly BundleLine[], seq: number): number =>
  lines.findIndex((line) => isSeal(line) && line.seal.seq === seq);

const receivedAt = ({ entry }: BundleEntry): string => (JSON.parse(entry) as { received_at: string }).received_at;

/** The kinds of what was found, with the seal that each is about. */
const found = ({ findings }: BundleReport): string[] =>
  findings.map(({ check, kind, seq }) => `${check}: ${kind}${seq === null ? '' : ` ${seq}`}`);

/** The second entry of seal 3. */
const leaf = (lines: readonly BundleLine[]): number => sealAt(lines, 3) + 2;

const entryAt = (lines: Mutable<BundleLine>[], seq: number, index: number) =>
  lines[sealAt(lines, seq) + 1 + index] as Mutable<BundleEntry>;

/** What is said of the format of what breaks it. */
async function formatFault(text: string): Promise<string> {
  const report = await verifyBundle(chunksOf(text, 100_000), makePolicy());
  assert.equal(report.ok, false);
  assert.equal(report.checks[0]?.status, 'failed');
  return report.findings.find(({ check }) => check === 'format')?.detail ?? '';
}

describe('protocol/verify-bundle', () => {
  let log: MadeLog;
  let policy: Policy;

  before(async () => {
    log = await makeLog({
      hours: [{ entries: 3 }, { entries: 0 }, { entries: 5, handover: true }, { entries: 2 }, { entries: 7 }],
      erased: [1, 5],
    });
    policy = makePolicy();
  });

  const verify = (bundle: MadeBundle, options: { chain?: LogChainOptions; by?: Policy; chunk?: number } = {}) =>
    verifyBundle(chunksOf(textOf(bundle), options.chunk), options.by ?? policy, {
      ...(options.chain && { rpc: logChain(log, options.chain) }),
    });
  /** A bundle of the whole log with its lines changed. */
  const changed = (edit: (bundle: Mutable<MadeBundle>) => void): MadeBundle => edited(bundleOf(log), edit);
  /** Signs seal `seq` anew, with the key that it has, after changing its statement. */
  async function resign(bundle: MadeBundle, seq: number, edit: (seal: Mutable<BundleSeal['seal']>) => void, key = 0) {
    const line = bundle.lines[sealAt(bundle.lines, seq)] as Mutable<BundleSeal>;
    edit(line.seal);
    line.checkpoint = null;
    line.seal.signature = await signed(SIGNERS[key]!, log.registry, 'Seal', line.seal);
    return bundle;
  }

  describe('holds', () => {
    it('offline: every check but those of the chain, and nothing is found', async () => {
      const report = await verify(bundleOf(log));
      assert.deepEqual(report.findings, []);
      assert.deepEqual(named(report.checks, 'waived'), ['base', 'end', 'anchor', 'finality', 'on time', 'complete']);
      assert.equal(report.ok, true);
      assert.deepEqual([report.seals, report.entries, report.disclosed], [5, 17, 15]);
    });

    it('in chunks of any size, down to single bytes', async () => {
      for (const chunk of [1, 7, 4096, 10_000_000]) assert.equal((await verify(bundleOf(log), { chunk })).ok, true);
    });

    it('with a chain: every check', async () => {
      const report = await verify(bundleOf(log), { chain: {} });
      assert.deepEqual(report.findings, []);
      assert.deepEqual(named(report.checks, 'waived'), ['base', 'end']);
      assert.equal(report.ok, true);
      const told = (of: typeof report): boolean => of.notProved.some((each) => each.includes('proposed and accepted'));
      assert.equal(told(report), true, 'it has a handover');
      assert.equal(told(await verify(bundleOf(log, 1, 2))), false);
    });

    it('any stretch of the log, from a base on, with and without a chain', async () => {
      for (let first = 1; first <= 5; first++) {
        for (let last = first; last <= 5; last++) {
          for (const chain of [undefined, {}]) {
            const report = await verify(bundleOf(log, first, last), { ...(chain && { chain }) });
            assert.deepEqual(report.findings, [], `${first} to ${last}`);
            assert.equal(report.ok, true);
          }
        }
      }
    });

    it('erased records: their commitments are there, and no record is', async () => {
      const erased = changed(({ lines }) =>
        lines.filter(isEntry).forEach((line) => ((line as Mutable<BundleEntry>).disclosure = null)),
      );
      const report = await verify(erased, { chain: {} });
      assert.deepEqual(report.findings, []);
      assert.equal(report.ok, true);
      assert.equal(named(report.checks, 'waived').includes('commitment'), true);
    });
  });

  describe('names each thing that is wrong', () => {
    it('missing seals and periods, one by one, and roots that cannot be recomputed behind them', async () => {
      const bundle = changed(({ lines }) => {
        for (const seq of [2, 4]) lines.splice(sealAt(lines, seq), 1 + log.hours[seq - 1]!.entries.length);
      });
      const report = await verify(bundle);
      assert.deepEqual(found(report), [
        'sequence: missing-seal 2',
        'periods: missing-period',
        'sequence: missing-seal 4',
        'periods: missing-period',
        'format: malformed',
      ]);
      assert.deepEqual(
        report.findings.filter(({ kind }) => kind === 'missing-period').map(({ period }) => period),
        [hour(2), hour(4)],
      );
      assert.deepEqual(named(report.checks, 'failed'), ['format', 'sequence', 'periods', 'roots']);
    });

    it('periods at the beginning and the end', async () => {
      const bundle = changed(({ header }) => {
        header.from -= 2 * PERIOD_SECONDS;
        header.to += PERIOD_SECONDS;
      });
      const report = await verify(bundle);
      assert.deepEqual(
        found(report),
        Array.from({ length: 3 }, () => 'periods: missing-period'),
      );
      assert.deepEqual(
        report.findings.map(({ period }) => period),
        [hour(-1), hour(0), hour(6)],
      );
    });

    it('a second statement for one seq, with what lies behind it still verified', async () => {
      const fork = await resign(bundleOf(log), 3, (seal) => void (seal.root = bytesOf('another root')));
      const twice = changed(({ lines }) => {
        lines.splice(sealAt(lines, 4), 0, fork.lines[sealAt(fork.lines, 3)] as Mutable<BundleSeal>);
      });
      assert.deepEqual(found(await verify(twice)), [
        'handovers: bad-handover 3',
        'sequence: fork 3',
        'format: malformed',
      ]);
    });

    it('the same seal twice', async () => {
      const bundle = changed(({ lines }) => {
        lines.splice(sealAt(lines, 2), 0, structuredClone(lines[sealAt(lines, 2)]!));
      });
      assert.deepEqual(found(await verify(bundle)), ['sequence: repeated-seal 2', 'format: malformed']);
    });

    it('a seal that follows another head', async () => {
      const bundle = await resign(bundleOf(log), 2, (seal) => void (seal.prev = bytesOf('another head')));
      assert.deepEqual(found(await verify(bundle)), ['sequence: fork 2', 'sequence: fork 3']);
    });

    it('a period that does not follow', async () => {
      const bundle = await resign(bundleOf(log, 1, 2), 2, (seal) => void (seal.period -= PERIOD_SECONDS));
      assert(found(await verify(bundle)).includes('periods: wrong-period 2'));
    });

    it('a seal by another key, and one that is not signed at all', async () => {
      const other = await resign(bundleOf(log, 1, 2), 2, () => undefined, 2);
      assert.deepEqual(found(await verify(other)), ['signature: bad-signature 2']);
      const none = changed(
        ({ lines }) => void ((lines[sealAt(lines, 1)] as Mutable<BundleSeal>).seal.signature = `0x${'00'.repeat(65)}`),
      );
      assert.deepEqual(found(await verify(none)), ['signature: bad-signature 1']);
    });

    it('an entry that was changed, left out or added: the seal over it, and how many roots behind it', async () => {
      const edits: [(lines: Mutable<BundleLine>[]) => void, string[]][] = [
        [
          (lines) => void (lines[leaf(lines)] = makeEntry(99, receivedAt(lines[leaf(lines)] as BundleEntry))),
          ['roots: wrong-root 3'],
        ],
        [(lines) => void lines.splice(leaf(lines), 1), ['roots: entries-missing 3', 'format: malformed']],
        [
          (lines) => void lines.splice(leaf(lines), 0, structuredClone(lines[leaf(lines)]!)),
          ['roots: entries-missing 3', 'format: malformed'],
        ],
      ];
      for (const [edit, expected] of edits) {
        const report = await verify(changed(({ lines }) => edit(lines)));
        assert.deepEqual(found(report), expected);
        assert.deepEqual(named(report.checks, 'failed').at(-1), 'roots');
      }
    });

    it('entries out of their period, out of order, and none at all', async () => {
      const report = await verify(
        changed(({ lines }) => {
          entryAt(lines, 1, 2).entry = makeEntry(2, new Date(hour(2) * 1000).toISOString()).entry;
          entryAt(lines, 3, 1).entry = entryAt(lines, 3, 1).entry.replace(/:01:0/, ':00:0');
          entryAt(lines, 4, 0).entry = '{"v":2}';
        }),
      );
      const kinds = found(report);
      for (const kind of ['period: entry-outside-period 1', 'leaf: bad-entry 3', 'leaf: bad-entry 4'])
        assert(kinds.includes(kind), kind);
    });

    it('a record that is not the one committed to, and a body with a name twice', async () => {
      const bundle = changed(({ lines }) => {
        const [first, , third] = lines.filter(isEntry) as Mutable<BundleEntry>[];
        first!.disclosure!.body = first!.disclosure!.body.replace('o-0', 'o-1');
        third!.disclosure!.body = third!.disclosure!.body.replace('"kind"', '"id":"evt_2","kind"');
      });
      const report = await verify(bundle);
      assert.deepEqual(found(report), ['commitment: bad-commitment 1', 'commitment: bad-commitment 1']);
    });

    it('a checkpoint of another tree, and one by another operator', async () => {
      const bundle = changed(({ lines }) => {
        (lines[sealAt(lines, 1)] as Mutable<BundleSeal>).checkpoint = log.hours[2]!.seal.checkpoint;
      });
      assert.deepEqual(found(await verify(bundle)), ['signature: bad-checkpoint 1']);
      const by = makePolicy({ checkpointKeys: [operatorOf('somebody').publicKey] });
      assert.equal(
        (await verify(bundleOf(log), { by })).findings.filter(({ kind }) => kind === 'bad-checkpoint').length,
        5,
      );
    });

    it('a handover that is missing, forged, or too early', async () => {
      const missing = await verify(
        changed(
          ({ lines }) =>
            void lines.splice(
              lines.findIndex((line) => 'handover' in line),
              1,
            ),
        ),
      );
      assert.deepEqual(found(missing), ['handovers: bad-handover 4', 'sequence: fork 4', 'handovers: bad-handover 5']);
      const forged = changed(({ lines }) => {
        const { handover } = lines.find((line) => 'handover' in line) as Mutable<BundleHandover>;
        handover.handover.to = addressOf(SIGNERS[2]!);
      });
      assert.equal(found(await verify(forged))[0], 'handovers: bad-handover');
      const early = changed(({ lines }) => {
        const [handover] = lines.splice(
          lines.findIndex((line) => 'handover' in line),
          1,
        );
        lines.splice(sealAt(lines, 3), 0, handover!);
      });
      assert(found(await verify(early)).includes('handovers: bad-handover 3'));
    });

    it('another log, another contract, another period length', async () => {
      const registry = { chainId: 8453, contract: `0x${'ab'.repeat(20)}` } as const;
      for (const edit of [
        (header: Mutable<MadeBundle['header']>) => void (header.origin = 'kiff.dev/t/other'),
        (header: Mutable<MadeBundle['header']>) => void (header.registry = registry),
        (header: Mutable<MadeBundle['header']>) => void (header.periodSeconds = 1800),
      ]) {
        const report = await verify(changed(({ header }) => edit(header)));
        assert(named(report.checks, 'failed').includes('policy'));
      }
    });

    it('what a policy says of the signers', async () => {
      const succession = [{ epoch: 1, signer: addressOf(SIGNERS[1]!), afterSeq: 4 }];
      const report = await verify(bundleOf(log), { by: makePolicy({ succession }) });
      assert.deepEqual(found(report), ['policy: not-the-policys 4', 'policy: not-the-policys 5']);
    });

    it('a base whose tree is another', async () => {
      const bundle = edited(bundleOf(log, 3), ({ lines }) => {
        const base = lines.find((line) => 'base' in line) as Mutable<{ nodes: string[] }>;
        base.nodes[0] = bytesOf('another node');
      });
      assert.deepEqual(found(await verify(bundle)), ['base: wrong-root 2']);
    });

    it('seals that are in no block', async () => {
      const bundle = changed(({ lines }) => {
        for (const line of lines.filter(isSeal).slice(3)) (line as Mutable<BundleSeal>).anchor = null;
      });
      const report = await verify(bundle);
      assert.deepEqual(found(report), ['anchor: unanchored 4', 'anchor: unanchored 5']);
    });
  });

  describe('against the chain, names', () => {
    it('seals that the contract does not have', async () => {
      const report = await verify(bundleOf(log), { chain: { seals: 3 } });
      assert.deepEqual(found(report), ['anchor: unanchored 4', 'anchor: unanchored 5']);
    });

    it('seals that the contract has and the bundle does not', async () => {
      const bundle = changed(({ lines }) => lines.splice(sealAt(lines, 2), 1));
      assert(found(await verify(bundle, { chain: {} })).includes('complete: not-in-bundle 2'));
      const shorter = edited(bundleOf(log, 1, 3), ({ header }) => void (header.to = hour(5)));
      const report = await verify(shorter, { chain: {} });
      assert.deepEqual(
        found(report).filter((text) => text.startsWith('complete')),
        ['complete: not-in-bundle 4', 'complete: not-in-bundle 5'],
      );
    });

    it('late seals, each', async () => {
      const report = await verify(bundleOf(log), { chain: { delay: { 2: 3 * 3600, 5: 10 * 3600 } } });
      assert.deepEqual(found(report), ['on time: late 2', 'on time: late 5']);
    });

    it('seals that are not final', async () => {
      const report = await verify(bundleOf(log), { chain: { finalized: 1030 } });
      assert.deepEqual(found(report), ['finality: not-final 4', 'finality: not-final 5']);
    });

    it('an anchor at another place', async () => {
      const bundle = changed(({ lines }) => {
        (lines[sealAt(lines, 4)] as Mutable<BundleSeal>).anchor!.logIndex = 9;
      });
      assert.deepEqual(found(await verify(bundle, { chain: {} })), ['anchor: wrong-anchor 4']);
    });

    it('a statement that is not the one that the contract took', async () => {
      const bundle = await resign(bundleOf(log, 5, 5), 5, (seal) => void (seal.root = bytesOf('another root')), 1);
      assert(found(await verify(bundle, { chain: {} })).includes('anchor: fork 5'));
    });
  });

  describe('a hostile node', () => {
    it('that leaves an event out is found by the contract’s own head', async () => {
      const report = await verify(bundleOf(log), { chain: { hide: [4] } });
      assert(named(report.checks, 'failed').includes('anchor'));
      assert.equal(report.ok, false);
    });

    it('that invents one is too', async () => {
      const report = await verify(bundleOf(log), { chain: { invent: true } });
      assert(named(report.checks, 'failed').includes('anchor'));
    });

    it('of another chain, or with another contract, is told so', async () => {
      for (const chain of [{ chainId: 1 }, { code: '0x6001' as const }]) {
        const report = await verify(bundleOf(log), { chain });
        assert.deepEqual(named(report.checks, 'failed'), ['anchor']);
      }
    });

    it('that is unreachable leaves the checks of the chain open', async () => {
      const report = await verifyBundle(chunksOf(textOf(bundleOf(log))), policy, {
        rpc: () => Promise.reject(new Error('gone')),
      });
      assert.deepEqual(named(report.checks, 'not-run'), ['anchor', 'finality', 'on time', 'complete']);
      assert.deepEqual([report.ok, report.rpcUnreachable], [false, true]);
    });
  });

  describe('what is no bundle', () => {
    it('is refused with the line that breaks the format', async () => {
      const text = textOf(bundleOf(log));
      assert.match(await formatFault(''), /empty/);
      assert.match(await formatFault(text.slice(0, -1)), /breaks off/);
      assert.match(await formatFault(text.slice(0, text.lastIndexOf('\n', text.length - 2) + 1)), /cut off/);
      assert.match(await formatFault(`${text}{"seals":0,"entries":0}\n`), /behind the last one/);
      assert.match(await formatFault(text.replace('"checkpoint"', '"checkpoints"')), /^line 2: /);
      assert.match(await formatFault(text.replace('{"entry"', '{"entry":"","entry"')), /^line 3: .*same name/);
      assert.match(await formatFault(text.replace('\n', '\n\n')), /^line 2: it is not JSON/);
      assert.match(await formatFault(text.replace('\n', `\n${'['.repeat(100_000)}\n`)), /^line 2: .*nested too deep/);
      assert.match(await formatFault(text.replace('\n', `\n"${'x'.repeat(2_000_000)}"\n`)), /^line 2: is longer than/);
    });

    it('and every line that is left out is missed', async () => {
      const whole = bundleOf(log);
      for (let at = 0; at < whole.lines.length; at++) {
        const report = await verify({ header: whole.header, lines: whole.lines.toSpliced(at, 1) });
        assert.equal(report.ok, false, `line ${at + 2}`);
      }
    });
  });

  it('names as much as can be held, and counts the rest', async () => {
    const bundle = changed(({ header }) => void (header.to = PERIOD + PERIOD_SECONDS * 1_000_000_000));
    const { findings, omitted } = await verify(bundle);
    assert.deepEqual([findings.length, omitted], [10_000, 1_000_000_000 + 1 - 5 - 10_000]);
  });

  it('a seal hash is the struct hash that the contract has', () => {
    assert.equal(log.hours[1]!.seal.seal.prev, structHash('Seal', log.hours[0]!.seal.seal));
  });
});
