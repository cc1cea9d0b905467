/**
 * Verifies a bundle (`kiff.bundle/1`) in one pass and bounded memory: every seal, signature, link and entry, every root
 * recomputed, and with an RPC everything against the chain. Each thing that is wrong is named by itself; one does not hide
 * those behind it.
 */
import { sha256 as portableSha256 } from '@noble/hashes/sha2.js';
import { BundleLineError, readBundle, type BundleHeader, type BundleLine, type BundleLines } from './bundle.ts';
import { BUNDLE_CHECK_NAMES, Findings, type BundleCheckName, type Finding } from './bundle-findings.ts';
import { BundleWalk, type OnChain } from './bundle-walk.ts';
import { stateAfterSeal } from './chain.ts';
import { blockTimes, readChainRecord, unsealed, type RecordStart } from './chain-record.ts';
import { CheckFailed, held, type Check, type Outcome } from './checks.ts';
import { parseEnd, verifyEnd } from './ending.ts';
import { timeOf } from './findings.ts';
import type { Sha256 } from './hash.ts';
import { logId as logIdOf } from './logid.ts';
import { policyLogOf } from './policy-check.ts';
import type { Policy } from './policy.ts';
import type { SignedSeal } from './receipt.ts';
import { passes, unreadReport, type Report } from './report.ts';
import { createChainReader, RpcMalformed, RpcRefused, RpcUnreachable, type ChainReader, type Rpc } from './rpc.ts';

export interface BundleOptions {
  /** Answers JSON-RPC calls. Without it the checks that need the chain are waived. */
  readonly rpc?: Rpc;
  /** SHA-256; a native one is about twice as fast. */
  readonly sha256?: Sha256;
  /** Told now and then how far it is. */
  readonly onProgress?: (progress: { readonly seals: number; readonly entries: number }) => void;
}

/** What became of a bundle. `findings` are all that is wrong, in the order of the bundle; `omitted` more were not listed. */
export interface BundleReport extends Report<BundleCheckName> {
  readonly findings: readonly Finding[];
  readonly omitted: number;
  readonly seals: number;
  readonly entries: number;
  readonly disclosed: number;
}

/** Checks that only a chain can make; `anchor` names seals that are in no block without it too. */
const OF_CHAIN: readonly BundleCheckName[] = ['anchor', 'finality', 'on time', 'complete'];

/** What kept the chain from being asked to the end. */
type ChainTrouble = { readonly status: 'failed' | 'not-run'; readonly detail: string } | undefined;

/** Reads the log's record and the times of its blocks, within what the bundle is about. */
async function askChain(
  chain: ChainReader,
  policy: Policy,
  header: BundleHeader,
  logId: SignedSeal['logId'],
  start: RecordStart,
): Promise<OnChain> {
  const record = await readChainRecord(chain, policy, logId, start);
  const within = [...record.seals.values()].filter(({ period }) => period >= header.from && period <= header.to);
  return {
    record,
    times: await blockTimes(
      chain,
      within.map(({ place }) => place),
    ),
  };
}

/** Runs over the bundle's lines; resolves to whether its trailer was the last of them. */
class Verifier {
  readonly findings = new Findings();
  readonly walk: BundleWalk;
  readonly #header: BundleHeader;
  readonly #policy: Policy;
  readonly #chain: ChainReader | undefined;
  readonly #logId: SignedSeal['logId'];
  #chainAsked = false;
  chainTrouble: ChainTrouble;
  rpcUnreachable = false;
  base: SignedSeal | undefined;
  ended = false;
  #trailer = false;

  constructor(header: BundleHeader, policy: Policy, { rpc, sha256 = portableSha256 }: BundleOptions) {
    this.#header = header;
    this.#policy = policy;
    this.#chain = rpc === undefined ? undefined : createChainReader(rpc);
    this.#logId = logIdOf(header.genesisSigner, header.origin);
    const log = policyLogOf(policy, header);
    this.walk = new BundleWalk({ header, logId: this.#logId, policy, log, findings: this.findings, sha256 });
    this.#checkPolicy(log !== undefined);
  }

  #checkPolicy(known: boolean): void {
    const { registry, origin, periodSeconds } = this.#header;
    const of = this.#policy.registry;
    const bad = (detail: string): void => this.findings.add('policy', 'not-the-policys', detail);
    if (registry.chainId !== of.chainId || registry.contract !== of.contract) {
      bad(
        `the bundle is of ${registry.contract} on chain ${registry.chainId}, the policy of ${of.contract} on ${of.chainId}`,
      );
    }
    if (!known) bad(`the policy does not know the log ${origin} with this genesis signer`);
    if (periodSeconds !== of.periodSeconds) {
      bad(`the bundle's periods have ${periodSeconds} seconds, the policy's ${of.periodSeconds}`);
    }
  }

  /** Before the first seal is judged: from the base on, where there is one on chain, else from the log's beginning. */
  async #needChain(base: { seal: SignedSeal; place: RecordStart['place'] } | undefined): Promise<void> {
    if (this.#chainAsked || this.#chain === undefined) return;
    this.#chainAsked = true;
    const { fromBlock } = this.#policy.registry;
    const start: RecordStart =
      base === undefined
        ? { state: unsealed(this.#header.genesisSigner), place: { blockNumber: fromBlock, logIndex: -1 } }
        : { state: stateAfterSeal(base.seal), place: base.place };
    try {
      this.walk.chain = await askChain(this.#chain, this.#policy, this.#header, this.#logId, start);
    } catch (error) {
      if (error instanceof RpcUnreachable) {
        this.rpcUnreachable = true;
        this.chainTrouble = { status: 'not-run', detail: `the RPC is unreachable: ${error.message}` };
      } else if (error instanceof RpcRefused) {
        this.chainTrouble = {
          status: 'failed',
          detail: `the RPC answered with an error (${error.code}): ${error.message}`,
        };
      } else if (error instanceof CheckFailed || error instanceof RpcMalformed) {
        this.chainTrouble = { status: 'failed', detail: error.message };
      } else {
        throw error;
      }
      if (this.chainTrouble.status === 'failed') this.findings.add('anchor', 'chain-differs', this.chainTrouble.detail);
    }
  }

  async take(line: BundleLine): Promise<void> {
    if ('base' in line) {
      if (this.base !== undefined || this.walk.seals > 0)
        this.#malformed('a base stands behind another one, or a seal');
      this.base = line.base;
      await this.#needChain(line.anchor === null ? undefined : { seal: line.base, place: line.anchor });
      this.walk.base(line);
    } else if ('seal' in line) {
      await this.#needChain(undefined);
      this.walk.seal(line);
    } else if ('handover' in line) {
      this.walk.handover(line.handover);
    } else if ('end' in line) {
      this.#end(line.end);
    } else if ('seals' in line) {
      this.#trailer = true;
      if (line.seals !== this.walk.seals || line.entries !== this.walk.entries) {
        const { seals, entries } = this.walk;
        this.#malformed(
          `its last line counts ${line.seals} seals and ${line.entries} entries, and there are ${seals} and ${entries}`,
        );
      }
    }
  }

  #malformed(detail: string): void {
    this.findings.add('format', 'malformed', detail);
  }

  /** Takes lines in order; entries, which are almost all of them, without a turn of the loop each. */
  async takeAll({ first, lines }: BundleLines): Promise<void> {
    for (const [index, line] of lines.entries()) {
      if (this.#trailer) throw new BundleLineError(first + index, 'stands behind the last one');
      if ('entry' in line) this.walk.entry(line);
      else await this.take(line);
    }
  }

  #end(note: string): void {
    this.ended = true;
    const keys = policyLogOf(this.#policy, this.#header)?.checkpointKeys ?? [];
    try {
      const statement = parseEnd(note);
      if (!keys.some((key) => verifyEnd(note, key) !== undefined)) {
        this.findings.add('end', 'bad-end', "the end statement is signed by none of the policy's checkpoint keys");
      }
      this.walk.end(statement);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      this.findings.add('end', 'bad-end', error.message);
    }
  }

  async finish(): Promise<void> {
    if (!this.#trailer) {
      this.findings.add(
        'format',
        'cut-off',
        'its last line is missing: the bundle was cut off, and an export can go on',
      );
    }
    // A bundle without a seal is held against the chain too.
    await this.#needChain(undefined);
    this.walk.finish();
  }
}

const waived = (detail: string): Outcome => ({ status: 'waived', detail });

const numbered = (count: number, one: string, more = `${one}s`): string => `${count} ${count === 1 ? one : more}`;

function outcomeOf(name: BundleCheckName, verifier: Verifier, header: BundleHeader, offline: boolean): Outcome {
  const { findings, walk, chainTrouble, base, ended } = verifier;
  const found = findings.count(name);
  if (found > 0) {
    const first = findings.first(name)?.detail ?? 'more than can be listed';
    return { status: 'failed', detail: found === 1 ? first : `${found} findings; the first: ${first}` };
  }
  if (OF_CHAIN.includes(name)) {
    if (offline) return waived('no chain was asked');
    if (chainTrouble !== undefined) return { status: 'not-run', detail: chainTrouble.detail };
  }
  const { seals, entries } = walk;
  switch (name) {
    case 'format':
      return held(`${header.format}: ${numbered(seals, 'seal')}, ${numbered(entries, 'entry', 'entries')}`);
    case 'policy':
      return held(`the policy knows ${header.origin} with genesis signer ${header.genesisSigner}`);
    case 'log id':
      return held('every seal is of this log');
    case 'base':
      return base === undefined
        ? waived('it begins with the log')
        : held(`it goes on from seal ${base.seq} over ${numbered(base.treeSize, 'leaf', 'leaves')}`);
    case 'sequence':
      return held('every seal follows the one before, without a gap or a fork');
    case 'periods':
      return held(`every period from ${timeOf(header.from)} to ${timeOf(header.to)} has its seal`);
    case 'handovers':
      return held('every seal is by the signer of its time');
    case 'signature':
      return held(
        `all seals are signed${walk.checkpoints === 0 ? '' : `; ${walk.checkpointsVerified} of ${walk.checkpoints} checkpoints by a known key`}`,
      );
    case 'leaf':
      return held('every entry is one, in the order of time');
    case 'period':
      return held('every entry lies in its sealed period');
    case 'roots': {
      const { lost } = walk;
      return lost === undefined || lost.seals === 0
        ? held(`${numbered(walk.recomputed, 'root')} recomputed from the entries`)
        : { status: 'failed', detail: `${numbered(lost.seals, 'root')} cannot be recomputed: ${lost.why}` };
    }
    case 'commitment':
      return walk.disclosed === 0 && entries > 0
        ? waived('no record is disclosed (withheld or erased)')
        : held(`${walk.disclosed} of ${numbered(entries, 'record')} disclosed, the others withheld or erased`);
    case 'end':
      return ended
        ? held('the end that the operator states is the last seal here')
        : waived('the log has not ended here');
    case 'anchor':
      return held(`${numbered(walk.anchored, 'seal')} on chain, where the bundle says`);
    case 'finality':
      return held('every seal on chain is final');
    case 'on time':
      return held('every seal was on chain when it was promised');
    case 'complete':
      return held('the chain has no seal of these periods that is not here');
  }
}

function sentences(
  checks: readonly Check<BundleCheckName>[],
  header: BundleHeader,
  { seals, entries, successions }: BundleWalk,
): { proved: string[]; notProved: string[] } {
  const has = (...names: BundleCheckName[]): boolean =>
    names.every((name) => checks.some((check) => check.name === name && check.status === 'held'));
  const span = `from ${timeOf(header.from)} to ${timeOf(header.to)}`;
  const proved: string[] = [];
  const notProved = ["That the records' content is true.", 'That the agents posted everything that they did.'];
  if (has('log id', 'sequence', 'periods', 'handovers', 'signature')) {
    proved.push(
      `${numbered(seals, 'seal')} of ${header.origin}, ${span}, follow each other and are signed by the log's signers.`,
    );
  }
  if (has('sequence', 'leaf', 'period', 'roots')) {
    proved.push(
      `They are over exactly these ${numbered(entries, 'entry', 'entries')}: none was added, changed or left out.`,
    );
  }
  if (has('commitment')) proved.push('The disclosed records are, byte for byte, what the entries commit to.');
  if (has('anchor', 'complete')) proved.push('The contract holds these seals, and no others of this time.');
  else notProved.push('That the contract holds these seals and no others: no chain told so.');
  if (has('on time')) proved.push('Every seal was on chain within one period after the end of its own.');
  if (!has('finality')) notProved.push('That the seals can no longer be reorganised away.');
  if (successions > 0) {
    notProved.push(
      'Where on chain its successions were proposed and accepted: only what they made of the log is looked up.',
    );
  }
  notProved.push('Anything about periods outside of the bundle.');
  return { proved, notProved };
}

/**
 * Verifies a bundle, given as its bytes in chunks of any size, against a policy. It reports; what it throws is a bug, or comes
 * from the chunks' source.
 */
export async function verifyBundle(
  chunks: AsyncIterable<Uint8Array>,
  policy: Policy,
  options: BundleOptions = {},
): Promise<BundleReport> {
  let verifier: Verifier | undefined;
  let header: BundleHeader | undefined;
  try {
    for await (const read of readBundle(chunks)) {
      if ('format' in read) {
        header = read;
        verifier = new Verifier(header, policy, options);
      } else {
        await verifier!.takeAll(read);
        const { seals, entries } = verifier!.walk;
        options.onProgress?.({ seals, entries });
      }
    }
    await verifier?.finish();
  } catch (error) {
    if (!(error instanceof BundleLineError)) throw error;
    if (verifier === undefined || header === undefined) {
      const unread = unreadReport(BUNDLE_CHECK_NAMES, 'a bundle', error.message);
      const finding = { check: 'format', kind: 'malformed', seq: null, period: null, detail: error.message } as const;
      return { ...unread, findings: [finding], omitted: 0, seals: 0, entries: 0, disclosed: 0 };
    }
    verifier.findings.add('format', 'malformed', error.message);
    verifier.walk.finish();
  }

  const { findings, walk } = verifier!;
  const checks = BUNDLE_CHECK_NAMES.map((name) => {
    const outcome = outcomeOf(name, verifier!, header!, options.rpc === undefined);
    const forbidden = outcome.status === 'waived' && (policy.require as readonly string[]).includes(name);
    return forbidden
      ? ({ name, status: 'failed', detail: `the policy requires this check, but ${outcome.detail}` } as const)
      : { name, ...outcome };
  });
  return {
    ok: passes(checks),
    checks,
    ...sentences(checks, header!, walk),
    rpcUnreachable: verifier!.rpcUnreachable,
    findings: findings.list,
    omitted: findings.omitted,
    seals: walk.seals,
    entries: walk.entries,
    disclosed: walk.disclosed,
  };
}
