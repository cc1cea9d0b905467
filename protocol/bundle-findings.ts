/** What is wrong with a bundle, each thing by itself and by name; and how many lines that may take. */

/** The checks of a bundle, by name and in order. Those that a receipt has too mean the same there. Names are stable. */
export const BUNDLE_CHECK_NAMES = [
  'format',
  'policy',
  'log id',
  'base',
  'sequence',
  'periods',
  'handovers',
  'signature',
  'leaf',
  'period',
  'roots',
  'commitment',
  'end',
  'anchor',
  'finality',
  'on time',
  'complete',
] as const;

export type BundleCheckName = (typeof BUNDLE_CHECK_NAMES)[number];

/** Kinds of findings. Stable: scripts tell them apart by these words. */
export type FindingKind =
  | 'malformed'
  | 'cut-off'
  | 'not-the-policys'
  | 'another-log'
  | 'missing-seal'
  | 'fork'
  | 'repeated-seal'
  | 'missing-period'
  | 'wrong-period'
  | 'bad-handover'
  | 'bad-signature'
  | 'bad-checkpoint'
  | 'bad-entry'
  | 'entry-outside-period'
  | 'entries-missing'
  | 'wrong-root'
  | 'bad-commitment'
  | 'bad-end'
  | 'seal-after-end'
  | 'unanchored'
  | 'wrong-anchor'
  | 'chain-differs'
  | 'not-final'
  | 'late'
  | 'not-in-bundle';

/** One thing that is wrong. `seq` and `period` (its first second) name the seal that it is about, where it is about one. */
export interface Finding {
  readonly check: BundleCheckName;
  readonly kind: FindingKind;
  readonly seq: number | null;
  readonly period: number | null;
  /** A sentence for people. */
  readonly detail: string;
}

/** Which seal a finding is about. */
export interface About {
  readonly seq?: number;
  readonly period?: number;
}

/** More than a year of hours. Whoever wrote a bundle chose how much is wrong with it: all of that cannot be held. */
const MAX_FINDINGS = 10_000;

/** Findings in the order in which they were made, and how many more there were of each check. */
export class Findings {
  readonly list: Finding[] = [];
  readonly #counts = new Map<BundleCheckName, number>();
  #omitted = 0;

  /** How many are not in the list. */
  get omitted(): number {
    return this.#omitted;
  }

  add(check: BundleCheckName, kind: FindingKind, detail: string, { seq, period }: About = {}): void {
    this.#counts.set(check, this.count(check) + 1);
    if (this.list.length < MAX_FINDINGS)
      this.list.push({ check, kind, seq: seq ?? null, period: period ?? null, detail });
    else this.#omitted++;
  }

  /** Adds one finding for each of `count` neighbours, in constant time beyond what the list holds. */
  addEach(
    check: BundleCheckName,
    kind: FindingKind,
    count: number,
    nth: (index: number) => { readonly detail: string } & About,
  ): void {
    const listed = Math.min(count, MAX_FINDINGS - this.list.length);
    for (let index = 0; index < listed; index++) {
      const { detail, ...about } = nth(index);
      this.add(check, kind, detail, about);
    }
    this.#omitted += count - listed;
    this.#counts.set(check, this.count(check) + count - listed);
  }

  /** How many there are of a check, listed or not. */
  count(check: BundleCheckName): number {
    return this.#counts.get(check) ?? 0;
  }

  first(check: BundleCheckName): Finding | undefined {
    return this.list.find((finding) => finding.check === check);
  }
}
