/** What a mined transaction did, into the tenants' seals; and what it did not do, which rests for a while. */
import { decodeFunctionData, type TransactionReceipt } from 'viem';
import { registryAbi } from '../../contracts/registry.ts';
import type { Hex } from '../../protocol/hex.ts';
import { isRefusal } from './choose.ts';
import { refusals, sealedEvents } from './events.ts';
import type { FollowDependencies } from './follow.ts';
import { noteHandovers } from './follow-handovers.ts';
import { handoverIn } from './handover-calls.ts';
import { handoverEvents } from './handover-events.ts';
import type { LevelChange } from './queue.ts';

/**
 * @param call what the transaction called
 * @returns how many seals of ours it anchored
 */
export async function settle(deps: FollowDependencies, call: Hex, receipt: TransactionReceipt): Promise<number> {
  const { contract, queue } = deps;
  const reverted = receipt.status === 'reverted';
  await noteHandovers(deps, handoverEvents(receipt, contract));
  const handover = handoverIn(call);
  // Its account, or somebody who was faster, made the simulation untrue.
  if (handover !== null && reverted)
    await deps.handovers.refuse(handover.logId, handover.handoverHash, 'reverted', null);
  const events = sealedEvents(receipt, contract);
  // After a revert nobody knows whose seal it was: all of them go on in batches that have gas for the worst.
  const failed = reverted ? logsOf(call) : refusals(receipt, contract).filter(({ outcome }) => isRefusal(outcome));
  const owners = await queue.owners([...events, ...failed].map(({ logId }) => logId));
  const changes = events.flatMap((event): LevelChange[] => {
    const tenantId = owners.get(event.logId);
    if (tenantId === undefined) return []; // anybody may use the contract
    return [{ tenantId, seq: event.seq, period: event.period, level: 'included', anchor: event.anchor }];
  });
  await deps.writeLevels(changes);

  const resting = [...new Set(failed.flatMap(({ logId }) => owners.get(logId) ?? []))];
  if (resting.length > 0) {
    await queue.holdBack(resting);
    const transaction = receipt.transactionHash;
    deps.tell('seal.held-back', { transaction, logs: resting.length });
    if (!reverted) {
      for (const tenantId of resting) deps.alert('refused-after-simulation', { transaction, tenantId });
    }
  }
  return changes.length;
}

/** The logs whose seals a call anchors; none for any other call. */
function logsOf(call: Hex): { logId: Hex }[] {
  const { functionName, args } = decodeFunctionData({ abi: registryAbi, data: call });
  return functionName === 'anchor' ? args[0].map(({ logId }) => ({ logId })) : [];
}
