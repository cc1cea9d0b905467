/**
 * What the wallet has to do next: logs that the contract must learn of, and signed seals that it would take now. Everything else in the
 * queue is dealt with on the way, and holds up nobody.
 */
import { encodeFunctionData, keccak256, stringToHex } from 'viem';
import { registryAbi } from '../../contracts/registry.ts';
import type { Hex } from '../../protocol/hex.ts';
import type { AgreedChain } from '../chain/endpoints.ts';
import { readLogState, reachable } from '../chain/registry.ts';
import { failureType, type Alert } from '../failures.ts';
import { cutBatch, type SignerKind } from './batch.ts';
import { divide, isRefusal, judge, outcomesOf, type Verdicts } from './choose.ts';
import { findSealed, placeOf } from './events.ts';
import { followHandoverTip, type HandoverDependencies } from './follow-handovers.ts';
import { handoverCallData, refusalOf, type HandoverCall } from './handover-calls.ts';
import type { LevelChange, QueuedSeal, SealQueue } from './queue.ts';
import type { SendDependencies } from './send.ts';
import type { Wallet } from './wallet.ts';

export interface WorkDependencies extends SendDependencies {
  agreed: AgreedChain;
  queue: SealQueue;
  alert: Alert;
  writeLevels: (changes: readonly LevelChange[]) => Promise<void>;
  /** Stops a log of which the chain has another seal than we. */
  freeze: (seal: { tenantId: string; seq: number }) => Promise<void>;
}

/** Logs looked at in one go. */
const LOGS = 500;
/** Signed seals looked at in one go: some batches, so that the seals of one kind of signer do not hide the other's. */
const CANDIDATES = 900;

/** Logs that are registered already (by anybody) are noted; the first that is not becomes the next transaction. */
export async function registration(deps: WorkDependencies): Promise<Hex | null> {
  for (;;) {
    const block = await reachable(() => deps.chain.getBlockNumber({ cacheTime: 0 }));
    const logs = await deps.queue.unregistered(LOGS);
    const states = await Promise.all(logs.map(({ logId }) => readLogState(deps.chain, deps.contract, logId)));
    const known = logs.filter((_, index) => !isZero(states[index]?.signer));
    if (known.length > 0)
      await deps.queue.registered(
        known.map(({ tenantId }) => tenantId),
        block,
      );
    const log = logs.find((_, index) => isZero(states[index]?.signer));
    if (log !== undefined) {
      return encodeFunctionData({
        abi: registryAbi,
        functionName: 'register',
        args: [log.genesisSigner, keccak256(stringToHex(log.origin))],
      });
    }
    if (logs.length < LOGS) return null;
  }
}

/** Handovers looked at in one go. */
const HANDOVERS = 50;
/** Not yet, and soon: the chain's clock is behind, or a seal that the acceptance is over is not in its block (any more). */
const SOON_SECONDS = 5;

/** The first call for a handover that the contract takes now. The others rest, each for a while. */
export async function dueHandover(deps: HandoverDependencies, wallet: Wallet): Promise<HandoverCall | null> {
  for (const due of await deps.handovers.due(HANDOVERS)) {
    const data = handoverCallData(due);
    const refusal = await refusalOf(deps, data);
    if (refusal === null) return { kind: due.call, data };
    // Whoever was faster with what we have signed is as good as we.
    await followHandoverTip(deps, wallet);
    const { handover, handoverHash: hash, tenantId, call } = due;
    const still = await deps.handovers.due(HANDOVERS);
    if (!still.some((each) => each.handoverHash === hash && each.call === call)) continue;
    const soon = refusal === 'TooSoon' || (call === 'accept' && refusal === 'InvalidSignature');
    if (refusal !== due.refused && refusal !== 'TooSoon') {
      deps.alert('handover-refused', { tenantId, handover: hash, call, outcome: refusal });
    }
    await deps.handovers.refuse(handover.logId, hash, refusal, soon ? SOON_SECONDS : null);
  }
  return null;
}

/** The queue's head, by kind of signer. */
export async function readQueue(deps: WorkDependencies): Promise<Record<SignerKind, QueuedSeal[]>> {
  return divide(deps.chain, await deps.queue.toAnchor(CANDIDATES));
}

/** Of one kind, what the contract would take in one transaction; `early` seals wait for a block after their period's end. */
export async function anchorable(
  deps: WorkDependencies,
  queue: readonly QueuedSeal[],
  kind: SignerKind,
): Promise<{ take: QueuedSeal[]; early: number }> {
  const batch = cutBatch(queue, kind);
  if (batch.length === 0) return { take: [], early: 0 };
  const { chain, contract, relayer } = deps;
  const verdicts = judge(batch, await reachable(() => outcomesOf(chain, contract, relayer.address, batch)));
  await setAside(
    deps,
    verdicts.refuse.map(({ seal }) => seal),
  );
  await deps.queue.unregister(verdicts.unknown.map((seal) => seal.tenantId));
  await takeAsDone(deps, verdicts.stale);
  return { take: verdicts.take, early: verdicts.early.length };
}

/**
 * Refusing is for good until a person has looked, so no single node decides it. Asked again and alone, a seal behind another
 * refused one is a Gap: its turn comes when it is the next.
 */
async function setAside(deps: WorkDependencies, seals: readonly QueuedSeal[]): Promise<void> {
  if (seals.length === 0) return;
  const { agreed, contract, relayer } = deps;
  const outcomes = await whereAgreed(async () => {
    const { number } = await agreed.newest('latest');
    return agreed.read((endpoint) => outcomesOf(endpoint, contract, relayer.address, seals, number));
  });
  for (const [index, { tenantId, seq }] of seals.entries()) {
    const outcome = outcomes?.[index];
    if (!isRefusal(outcome)) continue;
    deps.alert('seal-refused', { tenantId, seq, outcome });
    await deps.queue.setRefused(tenantId, seq, outcome);
  }
}

/** Somebody else was first: that is as good as our own transaction, if it is our seal that stands there. */
async function takeAsDone(deps: WorkDependencies, stale: Verdicts['stale']): Promise<void> {
  if (stale.length === 0) return;
  const { chain, contract, fromBlock } = deps;
  const found = await findSealed(chain, contract, stale, fromBlock);
  const ours = stale.filter((seal) => found.get(placeOf(seal))?.sealHash === seal.sealHash);
  await deps.writeLevels(
    ours.map(({ tenantId, seq, period, ...place }): LevelChange => {
      const anchor = found.get(placeOf({ seq, ...place }))?.anchor ?? null;
      deps.tell('seal.relayed', { tenantId, seq, transaction: anchor?.txHash ?? '' });
      return { tenantId, seq, period, level: 'included', anchor };
    }),
  );
  // What is not found waits: the node that found it stale may be ahead of the one that looked.
  const others = stale.filter((seal) => found.has(placeOf(seal)) && !ours.includes(seal));
  if (others.length === 0) return;
  const agreed = await whereAgreed(() =>
    deps.agreed.read((endpoint) => findSealed(endpoint, contract, others, fromBlock)),
  );
  for (const seal of others) {
    const standing = agreed?.get(placeOf(seal));
    if (standing === undefined || standing.sealHash === seal.sealHash) continue;
    await deps.queue.setRefused(seal.tenantId, seal.seq, 'another seal stands on chain');
    await deps.freeze(seal);
  }
}

/** What the endpoints agree on; undefined while they do not, or too few answer: then it is asked again in the next round. */
async function whereAgreed<T>(ask: () => Promise<T>): Promise<T | undefined> {
  try {
    return await ask();
  } catch (error) {
    const type = failureType(error);
    if (type === 'chain-unavailable' || type === 'chain-disagrees') return undefined;
    throw error;
  }
}

const isZero = (address: Hex | undefined): boolean => address !== undefined && /^0x0{40}$/.test(address);
