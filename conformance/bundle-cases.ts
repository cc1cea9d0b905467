/** Bundles of the conformance kit: whole logs, and logs with one thing wrong. */
import type { BundleBase, BundleEntry, BundleHandover, BundleLine, BundleSeal, Policy } from '../protocol/index.ts';
import {
  bundleOf,
  makeEntry,
  makeLog,
  SIGNERS,
  textOf,
  type MadeBundle,
  type MadeLog,
} from '../test/protocol/bundle-factory.ts';
import {
  bytesOf,
  edited,
  makePolicy,
  PERIOD,
  PERIOD_SECONDS,
  signed,
  type Mutable,
} from '../test/protocol/receipt-factory.ts';
import type { MadeCase } from './case.ts';
import { endNote } from './statement-cases.ts';

type Lines = Mutable<BundleLine>[];
type Edit = (bundle: Mutable<MadeBundle>) => void;

const sealAt = (lines: Lines, seq: number): number =>
  lines.findIndex((line) => 'seal' in line && line.seal.seq === seq);
const seal = (lines: Lines, seq: number) => lines[sealAt(lines, seq)] as Mutable<BundleSeal>;
const entry = (lines: Lines, seq: number, nth: number) => lines[sealAt(lines, seq) + 1 + nth] as Mutable<BundleEntry>;
const handoverAt = (lines: Lines): number => lines.findIndex((line) => 'handover' in line);
const trailer = (lines: Lines) => lines.at(-1) as { seals: number; entries: number };
const timeOf = (seq: number, second: number): string =>
  new Date((PERIOD + (seq - 1) * PERIOD_SECONDS + second) * 1000).toISOString();

/** Takes a seal and its entries out, and counts right. */
function withoutSeal({ lines }: Mutable<MadeBundle>, seq: number, entries: number): void {
  lines.splice(sealAt(lines, seq), 1 + entries);
  trailer(lines).seals--;
  trailer(lines).entries -= entries;
}

const of = (
  name: string,
  why: string,
  fails: readonly string[],
  bundle: MadeBundle | string,
  policy?: Policy,
): MadeCase => ({
  name: `bundle-${name}`,
  kind: 'bundle',
  text: typeof bundle === 'string' ? bundle : textOf(bundle),
  fails,
  why,
  ...(policy && { policy }),
});

export async function bundleCases(): Promise<MadeCase[]> {
  // Three epochs, an empty hour, a tree beyond one power of two, and two records that were erased.
  const log = await makeLog({
    hours: [
      { entries: 3 },
      { entries: 0 },
      { entries: 5, handover: true },
      { entries: 2 },
      { entries: 7, handover: true },
      { entries: 1 },
    ],
    erased: [1, 9],
  });
  const ended = makePolicy();
  const changed = (edit: Edit, first = 1, last = 6): MadeBundle => edited(bundleOf(log, first, last), edit);
  const lastLine = (line: BundleLine): MadeBundle =>
    changed(({ lines }) => void lines.splice(-1, 0, line as Mutable<BundleLine>));
  const whole = textOf(bundleOf(log));

  return [
    of('whole', 'a whole log: six hours, one empty, two handovers, two erased records', [], bundleOf(log)),
    of('one-hour', 'one hour alone, from a base on', [], bundleOf(log, 2, 2)),
    of('from-base', 'from the third hour on', [], bundleOf(log, 3, 6)),
    of('from-handover', 'its base is the seal right before a handover', [], bundleOf(log, 4, 6)),
    of('second-epoch', 'its base is of epoch 1', [], bundleOf(log, 5, 5)),
    of(
      'erased',
      'nothing is disclosed',
      [],
      changed(({ lines }) => lines.forEach((line) => 'entry' in line && (line.disclosure = null))),
    ),
    of(
      'no-checkpoints',
      'no checkpoints',
      [],
      changed(({ lines }) => lines.forEach((line) => 'seal' in line && (line.checkpoint = null))),
    ),
    of('ended', 'a log that has ended', [], lastLine({ end: endNote({ log, seq: 6 }) }), ended),
    ...broken(changed),
    of('signed-by-another', 'a seal by another key', ['signature'], await resigned(log, 2, () => undefined, 2)),
    of(
      'fork-head',
      'a seal that follows another head',
      ['sequence'],
      await resigned(log, 2, (made) => void (made.prev = bytesOf('another')), 0, 2),
    ),
    of(
      'wrong-period',
      'a seal of an earlier period',
      ['periods'],
      await resigned(log, 2, (made) => void (made.period -= PERIOD_SECONDS), 0, 2),
    ),
    of(
      'wrong-root',
      'a seal over another root',
      ['roots'],
      await resigned(log, 2, (made) => void (made.root = bytesOf('another')), 0, 2),
    ),
    of(
      'shrinks',
      'a seal over a smaller tree',
      ['roots'],
      await resigned(log, 2, (made) => void (made.treeSize = 2), 0, 2),
    ),
    of(
      'other-log-id',
      'a seal of another log',
      ['log id'],
      await resigned(log, 2, (made) => void (made.logId = bytesOf('another')), 0, 2),
    ),
    of('fork', 'two statements for one seq', ['format', 'sequence'], await forked(log)),
    of(
      'policy',
      'the policy does not list the log',
      ['policy'],
      bundleOf(log, 1, 1),
      makePolicy({ origin: 'kiff.dev/t/other' }),
    ),
    of(
      'ended-earlier',
      'a seal beyond the end of the log',
      ['end'],
      lastLine({ end: endNote({ log, seq: 4 }) }),
      ended,
    ),
    of(
      'ended-otherwise',
      'an end that names another last seal',
      ['end'],
      lastLine({ end: endNote({ log, seq: 6, sealHash: bytesOf('another') }) }),
      ended,
    ),
    of(
      'ended-by-another',
      'an end that the operator did not sign',
      ['end'],
      lastLine({ end: endNote({ log, seq: 6, by: 'mallory' }) }),
      ended,
    ),
    of('cut-off', 'without its last line', ['format'], whole.slice(0, whole.lastIndexOf('\n', whole.length - 2) + 1)),
    of('half-a-line', 'without its last line feed', ['format'], whole.slice(0, -1)),
    of('empty-line', 'an empty line', ['format', 'periods'], whole.replace('\n', '\n\n')),
    of('behind-the-end', 'a line behind the last one', ['format'], `${whole}{"seals":0,"entries":0}\n`),
    of(
      'name-twice',
      'a line with a name twice',
      ['format', 'periods', 'roots'],
      whole.replace('{"entry"', '{"entry":"","entry"'),
    ),
    of('unknown-line', 'a line that is none', ['format', 'periods'], whole.replace('\n', '\n{"note":1}\n')),
    of(
      'long-line',
      'a line of more than 1 MiB',
      ['format', 'periods'],
      whole.replace('\n', `\n{"note":"${'x'.repeat(1024 * 1024)}"}\n`),
    ),
    of('no-header', 'without its header', ['format'], whole.slice(whole.indexOf('\n') + 1)),
  ];

  function broken(make: typeof changed): MadeCase[] {
    const no = (
      name: string,
      why: string,
      fails: readonly string[],
      edit: Edit,
      first?: number,
      last?: number,
    ): MadeCase => of(name, why, fails, make(edit, first, last));
    return [
      no(
        'missing-seal',
        'a seal and its period are missing, of an empty hour',
        ['sequence', 'periods', 'roots'],
        (bundle) => withoutSeal(bundle, 2, 0),
      ),
      no('missing-seals', 'two gaps', ['sequence', 'periods', 'roots'], (bundle) => {
        withoutSeal(bundle, 2, 0);
        withoutSeal(bundle, 5, 7);
      }),
      no(
        'begins-late',
        'it says that it begins earlier than it does',
        ['periods'],
        ({ header }) => void (header.from -= PERIOD_SECONDS),
      ),
      no(
        'ends-early',
        'it says that it goes on longer than it does',
        ['periods'],
        ({ header }) => void (header.to += 2 * PERIOD_SECONDS),
      ),
      no(
        'no-base',
        'its base is missing',
        ['sequence', 'handovers', 'roots'],
        ({ lines }) => void lines.splice(handoverAt(lines), 2),
        6,
        6,
      ),
      no(
        'repeated-seal',
        'a seal twice',
        ['format', 'sequence'],
        ({ lines }) => void lines.splice(sealAt(lines, 2), 0, structuredClone(seal(lines, 2))),
      ),
      no(
        'entry-changed',
        'another entry',
        ['roots'],
        ({ lines }) => void Object.assign(entry(lines, 3, 1), makeEntry(99, timeOf(3, 61))),
      ),
      no('entry-missing', 'an entry is missing', ['roots'], ({ lines }) => {
        lines.splice(sealAt(lines, 3) + 1, 1);
        trailer(lines).entries--;
      }),
      no('entry-twice', 'an entry twice', ['roots'], ({ lines }) => {
        lines.splice(sealAt(lines, 3) + 1, 0, structuredClone(entry(lines, 3, 0)));
        trailer(lines).entries++;
      }),
      no('entries-swapped', 'two entries swapped', ['leaf', 'roots'], ({ lines }) => {
        const at = sealAt(lines, 3) + 1;
        lines.splice(at, 2, lines[at + 1]!, lines[at]!);
      }),
      no('entry-late', 'an entry of the next hour', ['period', 'roots'], ({ lines }) => {
        Object.assign(entry(lines, 6, 0), makeEntry(17, timeOf(7, 0)));
      }),
      no(
        'entry-malformed',
        'an entry that is none',
        ['leaf', 'roots'],
        ({ lines }) => void Object.assign(entry(lines, 6, 0), { entry: '{"v":2}', disclosure: null }),
      ),
      no('entry-first', 'an entry before any seal', ['format', 'roots'], ({ lines }) => {
        const at = sealAt(lines, 1);
        lines.splice(at, 2, lines[at + 1]!, lines[at]!);
        trailer(lines).entries--;
      }),
      no('record-changed', 'another record', ['commitment'], ({ lines }) => {
        const { disclosure } = entry(lines, 1, 0);
        disclosure!.body = disclosure!.body.replace('o-0', 'o-1');
      }),
      no(
        'salt-changed',
        'another salt',
        ['commitment'],
        ({ lines }) => void (entry(lines, 1, 0).disclosure!.salt = bytesOf('another')),
      ),
      no(
        'checkpoint',
        'the checkpoint of another seal',
        ['signature'],
        ({ lines }) => void (seal(lines, 1).checkpoint = seal(lines, 3).checkpoint),
      ),
      no(
        'handover-missing',
        'a handover is missing',
        ['sequence', 'handovers'],
        ({ lines }) => void lines.splice(handoverAt(lines), 1),
        1,
        4,
      ),
      no(
        'handover-early',
        'a handover before the seal that it follows',
        ['sequence', 'handovers'],
        ({ lines }) => {
          const [handover] = lines.splice(handoverAt(lines), 1);
          lines.splice(sealAt(lines, 3), 0, handover!);
        },
        1,
        4,
      ),
      no(
        'handover-forged',
        'a handover that the old key did not sign',
        ['sequence', 'handovers'],
        ({ lines }) => {
          const { handover } = lines[handoverAt(lines)] as Mutable<BundleHandover>;
          handover.fromSignature = handover.toSignature;
        },
        1,
        4,
      ),
      no(
        'base-node',
        'its base goes on from another tree',
        ['base', 'roots'],
        ({ lines }) => {
          (lines.find((line) => 'base' in line) as Mutable<BundleBase>).nodes[0] = bytesOf('another');
        },
        4,
        6,
      ),
      no(
        'base-count',
        'its base has a hash too many',
        ['base', 'roots'],
        ({ lines }) => {
          (lines.find((line) => 'base' in line) as Mutable<BundleBase>).nodes.push(bytesOf('another'));
        },
        4,
        6,
      ),
      no('unanchored', 'its last seal is in no block', ['anchor'], ({ lines }) => void (seal(lines, 6).anchor = null)),
      no('count', 'its last line counts wrong', ['format'], ({ lines }) => void trailer(lines).entries++),
      no(
        'other-contract',
        'another registry',
        ['policy', 'signature'],
        ({ header }) => void (header.registry.contract = `0x${'ab'.repeat(20)}`),
        1,
        1,
      ),
      no(
        'other-period-length',
        'another period length',
        ['policy', 'periods', 'period'],
        ({ header }) => void (header.periodSeconds = 60),
        1,
        2,
      ),
    ];
  }
}

/** A bundle of the first `last` hours in which one seal is another statement, signed by the key of an epoch. */
async function resigned(
  log: MadeLog,
  seq: number,
  edit: (made: Mutable<BundleSeal['seal']>) => void,
  epoch = 0,
  last = seq,
): Promise<MadeBundle> {
  const bundle = bundleOf(log, 1, last) as Mutable<MadeBundle>;
  const line = seal(bundle.lines, seq);
  edit(line.seal);
  line.checkpoint = null;
  line.seal.signature = await signed(SIGNERS[epoch]!, log.registry, 'Seal', line.seal);
  return bundle;
}

/** A second seal 2 in front of seal 3; the last line counts the seals of the log alone. */
async function forked(log: MadeLog): Promise<MadeBundle> {
  const other = await resigned(log, 2, (made) => void (made.root = bytesOf('another')));
  const bundle = bundleOf(log, 1, 3) as Mutable<MadeBundle>;
  bundle.lines.splice(sealAt(bundle.lines, 3), 0, seal(other.lines as Lines, 2));
  return bundle;
}
