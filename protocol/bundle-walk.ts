/**
 * Walks a bundle as the log went on, and says each thing that is wrong with it. It holds where the log stands and nothing of
 * what lies behind: memory does not grow with the bundle. Longer than most files here: it is one state machine, and every
 * line of a bundle moves all of its parts.
 */
import { differingMember } from './anchored-event.ts';
import type { BundleBase, BundleEntry, BundleHeader, BundleSeal } from './bundle.ts';
import type { Findings } from './bundle-findings.ts';
import type { ChainRecord } from './chain-record.ts';
import { CheckFailed } from './checks.ts';
import { CompactRange } from './compact-range.ts';
import { commit, parseBody, parseEntry, type Entry } from './entry.ts';
import type { EndStatement } from './ending.ts';
import { timeOf } from './findings.ts';
import { handoverAcceptHash, oneHandoverFault } from './handover.ts';
import { hashLeaf, type Sha256 } from './hash.ts';
import { fromHex, toHex, utf8, type Hex } from './hex.ts';
import { JsonError } from './json.ts';
import { isPeriodStart, sealBy, unixMillis } from './period.ts';
import { checkPolicy } from './policy-check.ts';
import type { Policy, PolicyLog } from './policy.ts';
import { checkCheckpoint } from './receipt-checks.ts';
import type { AnchoredHandover, ChainPosition, SignedSeal } from './receipt.ts';
import { NO_HEAD, sealDigest, sealHash } from './seal.ts';
import { recoverSigner, SignatureError } from './signature.ts';
import { rootNodes } from './subtree.ts';

/** Handovers of one log that are held: one takes a day at least. */
const MAX_HANDOVERS = 10_000;

/** What the walk is done with. */
export interface WalkOptions {
  readonly header: BundleHeader;
  readonly logId: Hex;
  readonly policy: Policy;
  readonly log: PolicyLog | undefined;
  readonly findings: Findings;
  readonly sha256: Sha256;
}

/** What the chain says, where it was asked; `times` are those of the blocks (Unix seconds). */
export interface OnChain {
  readonly record: ChainRecord;
  readonly times: ReadonlyMap<number, number>;
}

/** The seal whose entries are being read. `skip`: it is no part of the line that is followed, nor are its entries. */
interface Group {
  readonly seal: SignedSeal;
  readonly skip: boolean;
  entries: number;
}

export class BundleWalk {
  readonly #is: WalkOptions;
  readonly #findings: Findings;
  readonly #period: number;
  #chain: OnChain | undefined;

  // Where the log stands. The head is the one after the statement at `headSeq`; a gap leaves it unknown to the next seal.
  #signer: Hex;
  #epoch = 0;
  #head: Hex = NO_HEAD;
  #headSeq = 0;
  #last: SignedSeal | undefined;
  #lastHash: Hex | undefined;
  readonly #handovers: Pick<AnchoredHandover, 'handover' | 'accept'>[] = [];

  // The tree. Once leaves are missing or wrong, no later root can be recomputed.
  #tree: CompactRange;
  #treeLost: string | undefined;
  #notRecomputed = 0;
  #group: Group | undefined;
  #receivedAt = 0;

  // What there was.
  seals = 0;
  entries = 0;
  disclosed = 0;
  recomputed = 0;
  checkpoints = 0;
  checkpointsVerified = 0;
  anchored = 0;
  readonly #seen = new Set<number>();

  constructor(options: WalkOptions) {
    this.#is = options;
    this.#findings = options.findings;
    this.#period = options.header.periodSeconds;
    this.#signer = options.header.genesisSigner;
    this.#tree = new CompactRange(0, [], options.sha256);
  }

  /** From here on seals are held against what the chain says. */
  set chain(chain: OnChain) {
    this.#chain = chain;
  }

  /** How many lines of handovers there were. */
  get successions(): number {
    return this.#handovers.length;
  }

  /** Roots that could not be recomputed, and why. */
  get lost(): { readonly seals: number; readonly why: string } | undefined {
    return this.#treeLost === undefined ? undefined : { seals: this.#notRecomputed, why: this.#treeLost };
  }

  /** Checks of the log's id, signer and signature that any signed seal of a bundle has to pass. */
  #judgeSigned(seal: SignedSeal): void {
    const { header, logId, policy } = this.#is;
    const about = { seq: seal.seq, period: seal.period };
    const name = `seal ${seal.seq}`;
    if (seal.logId !== logId) this.#findings.add('log id', 'another-log', `${name} is of another log`, about);
    try {
      const recovered = recoverSigner(sealDigest(header.registry, seal), seal.signature);
      if (recovered !== seal.signer) {
        this.#findings.add(
          'signature',
          'bad-signature',
          `${name} is signed by ${recovered}, not by ${seal.signer}`,
          about,
        );
      }
    } catch (error) {
      if (!(error instanceof SignatureError)) throw error;
      this.#findings.add('signature', 'bad-signature', `${name}: its signature is none: ${error.message}`, about);
    }
    if (seal.epoch !== this.#epoch || seal.signer !== this.#signer) {
      const expected = `epoch ${this.#epoch} with the signer ${this.#signer}`;
      const problem = `${name} is of epoch ${seal.epoch} by ${seal.signer}, but the log is in ${expected}`;
      this.#findings.add('handovers', 'bad-handover', problem, about);
    }
    try {
      checkPolicy({ ...header, seal, handovers: this.#handovers }, policy);
    } catch (error) {
      if (!(error instanceof CheckFailed)) throw error;
      this.#findings.add('policy', 'not-the-policys', `${name}: ${error.message}`, about);
    }
  }

  /** The seal before the first one. */
  base({ base, nodes, anchor }: BundleBase): void {
    const { header, sha256 } = this.#is;
    const about = { seq: base.seq, period: base.period };
    const bad = (detail: string): void => this.#findings.add('base', 'wrong-root', detail, about);
    this.#judgeSigned(base);
    if (base.seq === this.#headSeq + 1 && base.prev !== this.#head)
      bad(`seal ${base.seq} does not follow the head before it`);
    if (base.period + this.#period !== header.from) bad(`seal ${base.seq} is not of the period before ${header.from}`);
    if (nodes.length === rootNodes(base.treeSize).length) {
      this.#tree = new CompactRange(
        base.treeSize,
        nodes.map((node) => fromHex(node)),
        sha256,
      );
      if (toHex(this.#tree.root()) !== base.root) {
        bad(`the hashes that the tree goes on from do not give the root of seal ${base.seq}`);
        this.#treeLost = `the tree of seal ${base.seq} is not known`;
      }
    } else {
      bad(`a tree of ${base.treeSize} leaves does not go on from ${nodes.length} hashes`);
      this.#treeLost = `the tree of seal ${base.seq} is not known`;
    }
    this.#stand(base);
    // Where the chain's events were followed from the base on, that they lead to the contract's head is what proves it.
    if (this.#chain === undefined || this.#chain.record.seals.has(base.seq)) this.#judgeAnchor(base, anchor);
  }

  #stand(seal: SignedSeal): void {
    this.#last = seal;
    this.#lastHash = sealHash(seal);
    this.#head = this.#lastHash;
    this.#headSeq = seal.seq;
  }

  handover(item: AnchoredHandover): void {
    this.#closeGroup();
    const { header, logId } = this.#is;
    const { handover, accept } = item;
    const epochTo = this.#epoch + 1;
    const before = { signer: this.#signer, seq: this.#headSeq, head: this.#head };
    const fault =
      this.#handovers.length >= MAX_HANDOVERS
        ? `a log has no more than ${MAX_HANDOVERS}`
        : oneHandoverFault({ registry: header.registry, logId }, item, epochTo, before);
    const onChain = this.#chain?.record.handovers.get(epochTo);
    if (fault !== undefined) {
      this.#findings.add('handovers', 'bad-handover', `handover to epoch ${handover.epochTo}: ${fault}`);
      return;
    }
    this.#epoch = epochTo;
    this.#signer = handover.to;
    this.#head = handoverAcceptHash(accept);
    this.#headSeq = accept.seq;
    this.#handovers.push({ handover, accept });
    if (onChain !== undefined && onChain.head !== this.#head) {
      this.#findings.add('anchor', 'chain-differs', `the chain has another handover to epoch ${epochTo}`);
    }
  }

  seal({ seal, checkpoint, anchor }: BundleSeal): void {
    this.#closeGroup();
    const findings = this.#findings;
    const { seq, period, treeSize } = seal;
    const about = { seq, period };
    this.seals++;
    this.#judgeSigned(seal);
    this.#judgeCheckpoint(seal, checkpoint);
    this.#judgeAnchor(seal, anchor);

    const expected = (this.#last?.seq ?? 0) + 1;
    if (seq < expected || (seq === expected && this.#headSeq === seq - 1 && seal.prev !== this.#head)) {
      const same = seq === this.#last?.seq && sealHash(seal) === this.#lastHash;
      if (same) findings.add('sequence', 'repeated-seal', `seal ${seq} stands there twice`, about);
      else if (seq < expected)
        findings.add('sequence', 'fork', `a second statement is signed as seal ${seq}: a fork`, about);
      else findings.add('sequence', 'fork', `seal ${seq} does not follow the head before it: a fork`, about);
      if (seq < expected) {
        this.#group = { seal, skip: true, entries: 0 };
        return;
      }
    }
    findings.addEach('sequence', 'missing-seal', seq - expected, (index) => ({
      detail: `seal ${expected + index} is missing`,
      seq: expected + index,
    }));
    if (seq > expected) this.#lose(`the leaves of seal ${expected} are missing`);

    const due = this.#last === undefined ? this.#is.header.from : this.#last.period + this.#period;
    if (period < due || !isPeriodStart(period, this.#period)) {
      findings.add('periods', 'wrong-period', `seal ${seq} is of period ${period}; ${timeOf(due)} is due`, about);
    } else {
      this.#missingPeriods(due, period);
    }
    if (treeSize < (this.#last?.treeSize ?? 0)) {
      findings.add('roots', 'wrong-root', `the tree of seal ${seq} is smaller than the one before`, about);
      this.#lose(`the tree shrinks at seal ${seq}`);
    }
    this.#stand(seal);
    this.#group = { seal, skip: false, entries: 0 };
  }

  #missingPeriods(from: number, before: number): void {
    const count = Math.max(0, Math.floor((before - from) / this.#period));
    this.#findings.addEach('periods', 'missing-period', count, (index) => {
      const period = from + index * this.#period;
      return { detail: `the period ${timeOf(period)} has no seal`, period };
    });
  }

  #lose(why: string): void {
    this.#treeLost ??= why;
  }

  #judgeCheckpoint(seal: SignedSeal, checkpoint: string | null): void {
    if (checkpoint === null) return;
    this.checkpoints++;
    try {
      const { origin } = this.#is.header;
      if (checkCheckpoint({ origin, seal }, checkpoint, this.#is.log?.checkpointKeys)) this.checkpointsVerified++;
    } catch (error) {
      if (!(error instanceof CheckFailed)) throw error;
      const about = { seq: seal.seq, period: seal.period };
      this.#findings.add('signature', 'bad-checkpoint', `seal ${seal.seq}: ${error.message}`, about);
    }
  }

  /** By the chain where it was asked; else only by what the bundle itself says. */
  #judgeAnchor(seal: SignedSeal, anchor: ChainPosition | null): void {
    const { seq, period } = seal;
    const about = { seq, period };
    if (this.#chain === undefined) {
      if (anchor === null) this.#findings.add('anchor', 'unanchored', `seal ${seq} is in no block`, about);
      else this.anchored++;
      return;
    }
    const { record, times } = this.#chain;
    const onChain = record.seals.get(seq);
    if (onChain === undefined) {
      this.#findings.add('anchor', 'unanchored', `the contract does not have seal ${seq}`, about);
      return;
    }
    this.#seen.add(seq);
    if (onChain.sealHash !== sealHash(seal)) {
      this.#findings.add('anchor', 'fork', `the contract has another statement as seal ${seq}: a fork`, about);
      return;
    }
    this.anchored++;
    const { place } = onChain;
    const wrong = anchor === null ? undefined : differingMember(place, anchor);
    if (wrong !== undefined) {
      this.#findings.add(
        'anchor',
        'wrong-anchor',
        `seal ${seq} stands on chain at another ${wrong} than the bundle says`,
        about,
      );
    }
    if (place.blockNumber > record.finalized.number) {
      this.#findings.add('finality', 'not-final', `seal ${seq}: block ${place.blockNumber} is not final yet`, about);
    }
    const time = times.get(place.blockNumber);
    const promised = isPeriodStart(period, this.#period) ? sealBy(period, this.#period) : undefined;
    if (time !== undefined && promised !== undefined && time > promised) {
      const problem = `seal ${seq} is on chain since ${timeOf(time)}, ${time - promised} s after ${timeOf(promised)}`;
      this.#findings.add('on time', 'late', problem, about);
    }
  }

  entry({ entry: source, disclosure }: BundleEntry): void {
    const group = this.#group;
    if (group === undefined) {
      this.#findings.add('format', 'malformed', 'an entry stands before any seal');
      return;
    }
    this.entries++;
    group.entries++;
    if (group.skip) return;
    const { seq, period } = group.seal;
    const about = { seq, period };
    const name = this.#treeLost === undefined ? `leaf ${this.#tree.size}` : `entry ${group.entries} of seal ${seq}`;
    if (this.#treeLost === undefined) this.#tree.append(hashLeaf(utf8(source), this.#is.sha256));
    let entry: Entry;
    try {
      entry = parseEntry(source);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      this.#findings.add('leaf', 'bad-entry', `${name}: ${error.message}`, about);
      return;
    }
    const received = unixMillis(entry.receivedAt);
    if (received < this.#receivedAt) {
      this.#findings.add('leaf', 'bad-entry', `${name} is dated before the leaf in front of it`, about);
    }
    this.#receivedAt = received;
    if (received < period * 1000 || received >= (period + this.#period) * 1000) {
      const problem = `${name} says ${entry.receivedAt}, which is not in the sealed period ${timeOf(period)}`;
      this.#findings.add('period', 'entry-outside-period', problem, about);
    }
    if (disclosure === null) return;
    this.disclosed++;
    try {
      parseBody(disclosure.body);
      if (toHex(commit(fromHex(disclosure.salt), utf8(disclosure.body))) !== `0x${entry.commitment}`) {
        this.#findings.add('commitment', 'bad-commitment', `${name} commits to another salt or body`, about);
      }
    } catch (error) {
      if (!(error instanceof TypeError) && !(error instanceof JsonError)) throw error;
      this.#findings.add(
        'commitment',
        'bad-commitment',
        `${name}: its body is not acceptable: ${error.message}`,
        about,
      );
    }
  }

  /** What can be said of a seal once all its entries were there. */
  #closeGroup(): void {
    const group = this.#group;
    this.#group = undefined;
    if (group === undefined || group.skip) return;
    const { seq, period, treeSize, root } = group.seal;
    if (this.#treeLost !== undefined) {
      this.#notRecomputed++;
      return;
    }
    if (this.#tree.size !== treeSize) {
      const problem = `seal ${seq} is over ${treeSize} leaves, and with its entries there are ${this.#tree.size}`;
      this.#findings.add('roots', 'entries-missing', problem, { seq, period });
      this.#lose(`leaves of seal ${seq} are missing or too many`);
    } else if (toHex(this.#tree.root()) !== root) {
      this.#findings.add('roots', 'wrong-root', `seal ${seq}: its entries give another root`, { seq, period });
      this.#lose(`a leaf under seal ${seq} is not the one that was sealed`);
    } else {
      this.recomputed++;
    }
  }

  end(statement: EndStatement): void {
    this.#closeGroup();
    const { last, logId: ended } = statement;
    if (ended !== this.#is.logId) {
      this.#findings.add('end', 'bad-end', 'the end statement is of another log');
    } else if (this.#last !== undefined && this.#last.seq > last.seq) {
      const problem = `the log ended after seal ${last.seq}, and seal ${this.#last.seq} lies beyond`;
      this.#findings.add('end', 'seal-after-end', problem, { seq: this.#last.seq, period: this.#last.period });
    } else if (this.#last?.seq === last.seq && this.#lastHash !== last.sealHash) {
      this.#findings.add('end', 'bad-end', `the end statement names another statement as seal ${last.seq}`);
    }
  }

  /** Behind the last line: what should have come and did not. */
  finish(): void {
    this.#closeGroup();
    const { header } = this.#is;
    const due = this.#last === undefined ? header.from : this.#last.period + this.#period;
    this.#missingPeriods(due, header.to + this.#period);
    if (this.#chain === undefined) return;
    const { seals, handovers } = this.#chain.record;
    for (const { seq, period } of seals.values()) {
      if (period < header.from || period > header.to || this.#seen.has(seq)) continue;
      this.#findings.add('complete', 'not-in-bundle', `seal ${seq} stands on chain and is not in the bundle`, {
        seq,
        period,
      });
    }
    for (const { epoch, seq } of handovers.values()) {
      if (epoch <= this.#epoch || this.#last === undefined || seq >= this.#last.seq) continue;
      this.#findings.add(
        'complete',
        'not-in-bundle',
        `the handover to epoch ${epoch} stands on chain and is not in the bundle`,
      );
    }
  }
}
