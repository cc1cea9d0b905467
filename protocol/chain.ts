/**
 * The checks `anchor` and `finality`. A node's word that an event exists is not enough (it may invent a receipt), so every
 * event is held against the contract's state: the log's head is a hash over its whole history, and what does not lead
 * to that head did not happen.
 */
import { keccak_256 } from '@noble/hashes/sha3.js';
import { blockAt, claim, differingMember, eventAt } from './anchored-event.ts';
import { handoverAcceptHash, handoverHash } from './handover.ts';
import { fromHex, toHex, type Hex } from './hex.ts';
import { endOf, followLog, isBefore, readState } from './log-history.ts';
import type { Policy } from './policy.ts';
import type { AnchoredHandover, ChainPosition, Receipt, SignedSeal } from './receipt.ts';
import {
  decodeHandoverAccepted,
  decodeHandoverProposed,
  decodeSealed,
  readLogState,
  readPeriodLength,
  type LogState,
} from './registry.ts';
import { RpcRefused, type Block, type ChainReader } from './rpc.ts';
import { sealHash } from './seal.ts';

/** The state in which the log stands right after a seal. */
export function stateAfterSeal(seal: SignedSeal): LogState {
  const { signer, epoch, seq, period, treeSize } = seal;
  return { signer, epoch, seq, period, treeSize, head: sealHash(seal) };
}

/** The Sealed event, and the contract's head as what it leads to. */
async function checkSeal(chain: ChainReader, receipt: Receipt): Promise<Block> {
  const { anchor, registry } = receipt;
  const { contract } = registry;
  const { logId, seq, root } = receipt.seal;
  const { log, block } = await eventAt(chain, contract, 'the anchor', anchor);
  const event = decodeSealed(log);
  claim(event !== undefined, `event ${anchor.logIndex} of the anchor is not Sealed`);
  const sealed = stateAfterSeal(receipt.seal);
  const { period, treeSize, head } = sealed;
  const wrong = differingMember(event, { logId, seq, period, treeSize, root, sealHash: head });
  claim(wrong === undefined, `the Sealed event has another ${wrong} than the receipt`);

  const { value: state, block: at } = await readState(chain, anchor.blockNumber, (number) =>
    readLogState(chain, contract, logId, number),
  );
  claim(
    state.seq >= seq,
    `the contract itself stands at seq ${state.seq} after block ${at}: seal ${seq} is not in it, whatever the RPC's receipt says`,
  );
  const led =
    state.head === head
      ? sealed
      : await followLog(chain, { contract, logId }, sealed, { after: anchor, before: endOf(at) });
  const differs = differingMember(state, led);
  claim(
    differs === undefined,
    `the contract's own ${differs} for the log after block ${at} does not follow from this seal`,
  );
  return block;
}

/** A log's successions, and where it is known to stand behind the last of them: null when that is all that is known. */
export interface Line extends Pick<Receipt, 'registry' | 'handovers'> {
  readonly after: { readonly place: ChainPosition; readonly seq: number; readonly head: Hex } | null;
}

const lineOf = ({ registry, handovers, seal, anchor }: Receipt): Line => ({
  registry,
  handovers,
  after: { place: anchor, seq: seal.seq - 1, head: seal.prev },
});

/** Where the log must stand right before the event that comes after handover `index`: the next acceptance, or the seal. */
function nextKnown({ handovers, after }: Line, index: number): Line['after'] {
  const next = handovers[index + 1];
  return next === undefined ? after : { place: next.accepted, seq: next.accept.seq, head: next.accept.head };
}

/**
 * Whether an acceptance is part of the log's history: by the contract's state after its block or, where the node no
 * longer has that, by the line of events from it to the next statement that is known.
 */
async function checkAcceptedInHistory(chain: ChainReader, line: Line, index: number, item: AnchoredHandover) {
  const { contract } = line.registry;
  const { logId, epochTo, to: signer } = item.handover;
  const { blockNumber } = item.accepted;
  const { seq } = item.accept;
  const head = handoverAcceptHash(item.accept);
  let state: LogState;
  try {
    state = await readLogState(chain, contract, logId, blockNumber);
  } catch (error) {
    if (!(error instanceof RpcRefused)) throw error;
    const accepted = { signer, epoch: epochTo, seq, period: 0, treeSize: 0, head };
    const known = nextKnown(line, index);
    if (known === null) return checkLeadsToNow(chain, contract, item, accepted);
    const { place, ...expected } = known;
    if (expected.seq === seq && expected.head === head) return;
    const led = await followLog(chain, { contract, logId }, accepted, { after: item.accepted, before: place });
    const differs = differingMember(led, { ...expected, epoch: epochTo, signer });
    claim(differs === undefined, `the log's ${differs} does not follow from the handover to epoch ${epochTo}`);
    return;
  }
  const follows =
    state.epoch > epochTo ||
    (state.epoch === epochTo &&
      state.signer === signer &&
      (state.seq > seq || (state.seq === seq && state.head === head)));
  claim(follows, `the contract's own state after block ${blockNumber} does not show the handover to epoch ${epochTo}`);
}

/** Whether the log's events from an acceptance on lead to where the contract stands now. */
async function checkLeadsToNow(
  chain: ChainReader,
  contract: Hex,
  { handover: { logId, epochTo }, accepted }: AnchoredHandover,
  state: LogState,
): Promise<void> {
  const { value: now, block } = await readState(chain, accepted.blockNumber, (number) =>
    readLogState(chain, contract, logId, number),
  );
  // A handover tells neither period nor size: the next seal does, or they are what they were.
  const before = { ...state, period: now.period, treeSize: now.treeSize };
  const led = await followLog(chain, { contract, logId }, before, { after: accepted, before: endOf(block) });
  const differs = differingMember(now, led);
  claim(
    differs === undefined,
    `the contract's own ${differs} for the log after block ${block} does not follow from the handover to epoch ${epochTo}`,
  );
}

/** The two events of one succession. @returns the block of its acceptance */
async function checkHandover(chain: ChainReader, line: Line, index: number, item: AnchoredHandover): Promise<Block> {
  const { contract } = line.registry;
  const { handover, accept } = item;
  const { logId, epochTo, from, to, custody, expiresAt } = handover;
  const what = `handover to epoch ${epochTo}`;
  const hash = handoverHash(handover);

  const proposal = decodeHandoverProposed((await eventAt(chain, contract, `the proposed ${what}`, item.proposed)).log);
  claim(proposal !== undefined, `event ${item.proposed.logIndex} is not the proposal of the ${what}`);
  const wrong = differingMember(proposal, { logId, epochTo, handoverHash: hash, from, to, custody, expiresAt });
  claim(wrong === undefined, `the proposal of the ${what} has another ${wrong} than the receipt`);
  claim(
    proposal.eta >= handover.notBefore && proposal.eta < expiresAt,
    `the proposal of the ${what} became due outside its time`,
  );

  const { log, block } = await eventAt(chain, contract, `the accepted ${what}`, item.accepted);
  const event = decodeHandoverAccepted(log);
  claim(event !== undefined, `event ${item.accepted.logIndex} is not the acceptance of the ${what}`);
  const accepted = { logId, epoch: epochTo, handoverHash: hash, from, to, custody, seq: accept.seq };
  const differs = differingMember(event, { ...accepted, head: handoverAcceptHash(accept) });
  claim(differs === undefined, `the acceptance of the ${what} has another ${differs} than the receipt`);
  claim(block.timestamp >= proposal.eta && block.timestamp <= expiresAt, `the ${what} was accepted outside its time`);
  await checkAcceptedInHistory(chain, line, index, item);
  return block;
}

/** The order in which the events must have happened. */
function checkOrder({ handovers, after }: Line, fromBlock: number): void {
  const order = [
    ...handovers.flatMap((item) => [
      { what: `proposal of the handover to epoch ${item.handover.epochTo}`, position: item.proposed },
      { what: `acceptance of the handover to epoch ${item.handover.epochTo}`, position: item.accepted },
    ]),
    ...(after === null ? [] : [{ what: 'anchor', position: after.place }]),
  ];
  for (const [index, { what, position }] of order.entries()) {
    const last = order[index - 1];
    claim(position.blockNumber >= fromBlock, `the ${what} is older than the contract (block ${fromBlock})`);
    claim(
      last === undefined || isBefore(last.position, position),
      `the ${what} does not come after the ${last?.what ?? 'event before it'}`,
    );
  }
}

async function checkChainId(chain: ChainReader, { registry }: Pick<Receipt, 'registry'>): Promise<void> {
  const chainId = await chain.chainId();
  claim(chainId === registry.chainId, `the RPC is of chain ${chainId}, the receipt of chain ${registry.chainId}`);
}

/**
 * Whether a line of handovers stands in the contract: the right chain, the policy's code (when there is a policy), the events in
 * canonical blocks and in their order, and the contract's state as what they lead to. Resolves to the last acceptance's block.
 * @param at the block whose code is looked at
 * @throws CheckFailed, or what the reader throws.
 */
export async function checkLine(
  chain: ChainReader,
  line: Line,
  policy: Policy | null,
  at: number,
): Promise<Block | undefined> {
  const { registry, handovers } = line;
  await checkChainId(chain, line);
  if (policy !== null) {
    const { value: code } = await readState(chain, at, (block) => chain.code(registry.contract, block));
    claim(
      toHex(keccak_256(fromHex(code))) === policy.registry.codeHash,
      "the code at the contract's address is not the policy's",
    );
  }
  checkOrder(line, policy?.registry.fromBlock ?? 0);
  let last: Block | undefined;
  for (const [index, item] of handovers.entries()) last = await checkHandover(chain, line, index, item);
  return last;
}

/**
 * Whether an acceptance is final: its block not after the chain's finalized block and still canonical, and the contract's signer
 * there its successor, or a later one. Resolves to the finalized block.
 * @throws CheckFailed, or what the reader throws.
 */
export async function checkAcceptanceFinal(
  chain: ChainReader,
  { registry }: Pick<Receipt, 'registry'>,
  { accepted, handover }: AnchoredHandover,
): Promise<Block> {
  await checkChainId(chain, { registry });
  const finalized = await chain.block('finalized');
  claim(finalized !== null, 'the chain has no finalized block yet');
  claim(
    finalized.number >= accepted.blockNumber,
    `block ${accepted.blockNumber} is not final yet: the finalized block is ${finalized.number}`,
  );
  await blockAt(chain, 'the acceptance', accepted);
  const { value: state, block } = await readState(chain, finalized.number, (number) =>
    readLogState(chain, registry.contract, handover.logId, number),
  );
  claim(
    state.epoch > handover.epochTo || (state.epoch === handover.epochTo && state.signer === handover.to),
    `the contract after block ${block} does not hold the handover to epoch ${handover.epochTo}`,
  );
  return finalized;
}

/**
 * Whether the seal, and every handover before it, stands in the contract: the right chain, the policy's code (when there is
 * a policy), the events in canonical blocks, and the contract's own head as what they lead to. Resolves to the anchor's
 * block.
 * @throws CheckFailed, or what the reader throws.
 */
export async function checkAnchor(chain: ChainReader, receipt: Receipt, policy: Policy | null): Promise<Block> {
  await checkLine(chain, lineOf(receipt), policy, receipt.anchor.blockNumber);
  return checkSeal(chain, receipt);
}

/**
 * Whether the anchor's block is final: not after the chain's finalized block, still canonical, and the contract has not
 * fallen behind the seal there. Resolves to the finalized block.
 * @throws CheckFailed, or what the reader throws.
 */
export async function checkFinality(chain: ChainReader, receipt: Receipt): Promise<Block> {
  const { registry, anchor, seal } = receipt;
  await checkChainId(chain, receipt);
  const finalized = await chain.block('finalized');
  claim(finalized !== null, 'the chain has no finalized block yet');
  claim(
    finalized.number >= anchor.blockNumber,
    `block ${anchor.blockNumber} is not final yet: the finalized block is ${finalized.number}`,
  );
  await blockAt(chain, 'the anchor', anchor);
  const { value: state, block } = await readState(chain, finalized.number, (number) =>
    readLogState(chain, registry.contract, seal.logId, number),
  );
  claim(
    state.seq > seal.seq || (state.seq === seal.seq && (state.epoch > seal.epoch || state.head === sealHash(seal))),
    `the contract after block ${block} does not hold the seal`,
  );
  return finalized;
}

/** The contract's period length in seconds: an immutable, so any block that has the contract tells it. */
export async function periodLengthOnChain(chain: ChainReader, { registry, anchor }: Receipt): Promise<number> {
  const { value } = await readState(chain, anchor.blockNumber, (block) =>
    readPeriodLength(chain, registry.contract, block),
  );
  return value;
}
