/**
 * Whether the signer may make a statement: everything is held against what its owner typed in, what it said before, the tree as it is
 * published, and, where there is one, the owner's own node. What it throws is the answer.
 *
 * Past 10 KB because the rules for one statement guard those of the next: they are read in one piece.
 */
import type { Handover, HandoverAccept, HandoverCancel, Seal } from '../../protocol/eip712.ts';
import { NO_HEAD, periodEnd, sealHash, toHex, type LogState } from '../../protocol/index.ts';
import { EMPTY_ROOT } from '../../protocol/hash.ts';
import { isPeriodStart } from '../../protocol/period.ts';
import type { Tree } from '../monitor/memory.ts';
import { PublicLogUnreachable, type PublicLog } from '../monitor/public-log.ts';
import { follow } from '../monitor/tree-line.ts';
import { requireAgrees, type OwnChain } from './chain.ts';
import type { SignerPolicy } from './policy.ts';
import type { SigningRequest, Statement, StatementOf } from './requests.ts';
import { nonceKey, sealKey, type Said, type StatedEntry } from './standing.ts';
import { Held, Refused } from './verdict.ts';

export interface Judge {
  readonly policy: SignerPolicy;
  readonly published: Pick<PublicLog, 'tiles' | 'entries'>;
  /** null: no node was given. */
  readonly chain: OwnChain | null;
  /** Compares the leaves of a tree with the owner's records; null: not asked for. @throws Refused records-differ, Held */
  readonly recompute: ((from: number, tree: Tree, period: number) => Promise<void>) | null;
  /** Unix seconds, by this machine. */
  readonly now: () => number;
}

/** Clocks differ: a period may be over there and not yet here. */
const CLOCK_SECONDS = 60;
/** A proof of possession, or a handover, that lives for longer than that is not one of ours. */
const LONGEST_SECONDS = 31 * 24 * 60 * 60;

/**
 * @returns what goes into the journal before the key is asked; null when exactly this statement stands there already
 * @throws Refused, Held
 */
export async function judge(deps: Judge, said: Said, request: SigningRequest): Promise<StatedEntry | null> {
  requireTyped(deps.policy, request);
  const { statement } = request;
  const kind = said.kinds.get(statement.structHash);
  if (kind !== undefined) {
    // One digest has one meaning here: a seal that was signed on trial does not come back as another thing.
    if (kind !== statement.kind) throw new Refused('second-statement', `it was stated as ${kind} before`);
    return null;
  }
  return newStatement(deps, said, statement);
}

/** Whose log, which contract, which key: as the owner typed them in. */
function requireTyped({ logId, registry, signer }: SignerPolicy, request: SigningRequest): void {
  if (request.logId !== logId) throw new Refused('wrong-log', 'the policy has another log');
  const { chainId, contract } = request.registry;
  if (chainId !== registry.chainId || contract !== registry.contract) {
    throw new Refused('wrong-contract', 'the policy has another chain or contract');
  }
  if (request.signer !== signer) throw new Refused('wrong-signer', 'the policy has another key');
}

async function newStatement(deps: Judge, said: Said, statement: Statement): Promise<StatedEntry> {
  const { structHash } = statement;
  const stated = { kind: 'stated', structHash } as const;
  switch (statement.kind) {
    case 'seal':
      await judgeSeal(deps, said, statement);
      return { ...stated, what: 'seal', epoch: statement.epoch, message: statement.message };
    case 'shadow':
      await judgeShadow(deps, said, statement);
      return { ...stated, what: 'shadow', epoch: statement.epoch, message: statement.message };
    case 'proof':
      judgeProof(deps, said, statement);
      return { ...stated, what: 'proof', message: statement.message };
    case 'handover':
      judgeHandover(deps, said, statement.message);
      return { ...stated, what: 'handover', message: statement.message };
    case 'accept': {
      const found = await judgeAccept(deps, said, statement);
      return { ...stated, what: 'accept', message: statement.message, ...found };
    }
    case 'cancel':
      judgeCancel(said, statement.message);
      return { ...stated, what: 'cancel', message: statement.message };
  }
}

const treeOf = ({ treeSize: size, root }: Pick<Seal, 'treeSize' | 'root'>): Tree => ({ size, root });

function requireOver({ policy, now }: Judge, { period }: Seal): void {
  const { periodSeconds } = policy.registry;
  if (!isPeriodStart(period, periodSeconds)) throw new Refused('wrong-period', `${period} begins no period`);
  if (periodEnd(period, periodSeconds) > now() + CLOCK_SECONDS) {
    throw new Held('too-early', 'its period is not over, by this machine’s clock');
  }
}

/** The tree holds what the last one held, in its place; shown by a proof that is computed here, from tiles that are fetched here. */
async function requireExtends({ published }: Judge, before: Tree | null, tree: Tree): Promise<void> {
  if (before !== null && tree.size < before.size) {
    throw new Refused('not-an-extension', `its tree has ${tree.size} records, and ${before.size} were stated before`);
  }
  if (tree.size === 0 && tree.root !== toHex(EMPTY_ROOT)) {
    throw new Refused('not-an-extension', 'its tree is empty, and has the root of another');
  }
  let broken;
  try {
    ({ broken } = await follow(published, before, [tree], tree.size));
  } catch (error) {
    if (error instanceof PublicLogUnreachable) throw new Held('log-unreachable', `the published log: ${error.message}`);
    throw error;
  }
  if (broken !== null) {
    const from = before === null ? 'have its root' : `show that it extends the ${before.size} that were stated before`;
    throw new Refused('not-an-extension', `the published tiles of ${tree.size} records do not ${from}`);
  }
}

async function judgeSeal(deps: Judge, said: Said, { epoch, message }: StatementOf<'seal' | 'shadow'>): Promise<void> {
  const { standing } = said;
  const { seq, period, prev } = message;
  if (standing === null) {
    throw new Held('journal-behind', 'the journal holds no acceptance of this log: this key was never its signer here');
  }
  if (epoch < standing.epoch) throw new Refused('wrong-epoch', `this key signs in epoch ${standing.epoch}`);
  if (epoch > standing.epoch) throw new Held('journal-behind', `the seal is of epoch ${epoch}`);
  if (said.seals.has(sealKey(epoch, seq))) {
    throw new Refused('second-statement', `another seal ${seq} of epoch ${epoch} was stated here`);
  }
  if (seq <= standing.seq) throw new Refused('second-statement', `seal ${standing.seq} was stated already`);
  if (seq > standing.seq + 1) {
    throw new Held('journal-behind', `seal ${seq} is asked for, and the journal ends with ${standing.seq}`);
  }
  if (prev !== standing.head) throw new Refused('wrong-prev', 'it does not follow the head of the journal');
  const { periodSeconds } = deps.policy.registry;
  if (standing.period !== null && period !== standing.period + periodSeconds) {
    throw new Refused('wrong-period', `the period after the last one begins at ${standing.period + periodSeconds}`);
  }
  requireOver(deps, message);
  if (deps.chain !== null) requireAgrees(await deps.chain.state(), said, deps.policy);
  await requireExtends(deps, said.tree, treeOf(message));
  await compareLeaves(deps, said, message);
}

/**
 * A seal that the old key has stated, signed on trial. It cannot become a real one: an acceptance below its number is refused, and one
 * at or above it gives every later seal another number.
 */
async function judgeShadow(deps: Judge, said: Said, { epoch, message }: StatementOf<'seal' | 'shadow'>): Promise<void> {
  const { seq, prev } = message;
  if (said.standing !== null) throw new Refused('out-of-turn', 'the trial is over: this key signs for good');
  if (said.seals.has(sealKey(epoch, seq))) {
    throw new Refused('second-statement', `another seal ${seq} of epoch ${epoch} was signed on trial`);
  }
  if (said.shadow !== null && seq <= said.shadow.seq) {
    throw new Refused('out-of-turn', `seal ${said.shadow.seq} was signed on trial already`);
  }
  if (said.shadow !== null && seq === said.shadow.seq + 1 && prev !== said.shadow.hash) {
    throw new Refused('wrong-prev', 'it does not follow the trial seal before it');
  }
  requireOver(deps, message);
  if (deps.chain !== null) {
    const state = await deps.chain.state();
    if (state.seq === seq && state.head !== sealHash(message)) {
      throw new Refused('chain-differs', `seal ${seq} on chain is another one`);
    }
  }
  await requireExtends(deps, said.tree, treeOf(message));
  await compareLeaves(deps, said, message);
}

/** From the first tree on that was verified here: what came before it was signed without this signer. */
async function compareLeaves({ recompute }: Judge, { tree }: Said, message: Seal): Promise<void> {
  if (tree !== null) await recompute?.(tree.size, treeOf(message), message.period);
}

function requireLives({ now }: Judge, expiresAt: number): void {
  if (expiresAt < now() - CLOCK_SECONDS) throw new Refused('expired', 'its time is over');
  if (expiresAt > now() + LONGEST_SECONDS) throw new Refused('expired', 'it would live for more than 31 days');
}

function judgeProof(deps: Judge, said: Said, { message }: StatementOf<'proof'>): void {
  const { newSigner, nonce, expiresAt } = message;
  if (newSigner !== deps.policy.signer) throw new Refused('wrong-address', 'it is about another key');
  if (said.standing !== null) throw new Refused('out-of-turn', 'this key signs for this log already');
  if (said.nonces.has(nonceKey('proof', nonce))) throw new Refused('second-statement', 'its nonce was used');
  requireLives(deps, expiresAt);
}

function judgeHandover(deps: Judge, said: Said, message: Handover): void {
  const { signer, handOverTo } = deps.policy;
  const { from, to, epochTo, custody, notBefore, expiresAt, nonce } = message;
  requireLives(deps, expiresAt);
  if (notBefore >= expiresAt) throw new Refused('expired', 'it would be over before it begins');
  if (said.nonces.has(nonceKey('handover', nonce))) throw new Refused('second-statement', 'its nonce was used');
  if (to === signer && from !== signer) {
    if (said.standing !== null) throw new Refused('out-of-turn', 'this key signs for this log already');
    if (custody !== TENANT_AGENT) throw new Refused('wrong-address', 'it says that this key is not its owner’s alone');
    return;
  }
  if (from !== signer || to === signer) throw new Refused('wrong-address', 'it is between other keys');
  if (!handOverTo.includes(to)) throw new Refused('wrong-address', `the policy does not let the log go to ${to}`);
  if (said.standing === null) throw new Held('journal-behind', 'the journal does not say that this key is the signer');
  if (epochTo !== said.standing.epoch + 1) throw new Refused('wrong-epoch', 'it is not to the next epoch');
  for (const [hash, other] of said.handovers) {
    const lives = other.from === signer && other.expiresAt >= deps.now() && !said.cancelled.has(hash);
    if (lives) throw new Refused('handover-live', `one to ${other.to} lives until it is cancelled, or is over`);
  }
}

const TENANT_AGENT = 3;

/** The point of no return. What the log stands at is verified here, since every later seal goes on from it. */
async function judgeAccept(
  deps: Judge,
  said: Said,
  { message, standing }: StatementOf<'accept'>,
): Promise<{ period: number | null; tree: Tree | null }> {
  const { handoverHash, epochTo, seq } = message;
  const handover = said.handovers.get(handoverHash);
  if (handover === undefined || handover.to !== deps.policy.signer) {
    throw new Refused('unknown-handover', 'this key did not sign the handover that it accepts');
  }
  if (epochTo !== handover.epochTo) throw new Refused('wrong-epoch', 'the handover is to another epoch');
  if (said.cancelled.has(handoverHash)) throw new Refused('unknown-handover', 'the handover was cancelled here');
  if (handover.expiresAt < deps.now() - CLOCK_SECONDS) throw new Refused('expired', 'the handover is over');
  for (const other of said.accepted.values()) {
    if (!said.cancelled.has(other.handoverHash)) throw new Refused('second-statement', 'an acceptance was stated here');
  }
  if (said.shadow !== null && seq < said.shadow.seq) {
    throw new Refused('out-of-turn', `seal ${said.shadow.seq} was signed on trial, and this would make it a real one`);
  }
  const state = (await deps.chain?.state()) ?? null;
  if (state !== null) requireStandsThere(state, handover, message);
  return headOf(deps, said, message, standing, state);
}

function requireStandsThere(state: LogState, handover: Handover, { seq, head }: HandoverAccept): void {
  if (state.signer !== handover.from || state.epoch !== handover.epochTo - 1) {
    throw new Refused('chain-differs', 'the log’s signer on chain is not the one that hands over');
  }
  if (state.seq !== seq || state.head !== head) {
    throw new Refused('chain-differs', `the log stands at seal ${state.seq} on chain, and not at this head`);
  }
}

/** What is known of the head that is accepted: its seal's period and tree. @throws Held head-unverified; Refused */
async function headOf(
  deps: Judge,
  said: Said,
  { seq, head }: HandoverAccept,
  standing: Seal | null,
  state: LogState | null,
): Promise<{ period: number | null; tree: Tree | null }> {
  if (standing !== null) {
    if (standing.seq !== seq || sealHash(standing) !== head) {
      throw new Refused('wrong-prev', 'the seal that it goes on from is not its head');
    }
    await requireExtends(deps, said.tree, treeOf(standing));
    return { period: standing.period, tree: treeOf(standing) };
  }
  if (seq === 0 && head === NO_HEAD) return { period: null, tree: { size: 0, root: toHex(EMPTY_ROOT) } };
  if (state !== null) return { period: state.period, tree: null };
  if (said.shadow?.seq === seq && said.shadow.hash === head) return { period: null, tree: null };
  throw new Held(
    'head-unverified',
    'the cloud does not show the seal that it goes on from, and there is no node to ask',
  );
}

function judgeCancel(said: Said, { handoverHash, epochTo }: HandoverCancel): void {
  const handover = said.handovers.get(handoverHash);
  if (handover === undefined) throw new Refused('unknown-handover', 'this key did not sign that handover');
  if (handover.epochTo !== epochTo) throw new Refused('wrong-epoch', 'the handover is to another epoch');
  if (said.accepted.has(handoverHash)) throw new Refused('out-of-turn', 'it was accepted here: there is no way back');
}
