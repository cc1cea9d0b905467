/** One look at everything that is in a block: first what the tip says, then, for what it has left behind, what is final. */
import { freezeLog } from '../log/freeze.ts';
import { changeOf, followTip } from './confirm.ts';
import { followHandoverTip, settleHandovers, type HandoverDependencies } from './follow-handovers.ts';
import { judgeFinal, watchFinality } from './finality.ts';
import { watchMined } from './nonces.ts';
import type { Anchor, AnchoredSeal, LevelChange } from './queue.ts';
import type { Wallet } from './wallet.ts';
import type { WorkDependencies } from './work.ts';

/** Seals, or logs, looked at in one go. */
const AT_ONCE = 500;

export type FollowDependencies = WorkDependencies & HandoverDependencies;

/** @returns how many of our seals, and of handovers' steps, are in a block and not final yet; how many seals have become final now */
export async function followSeals(
  deps: FollowDependencies,
  wallet: Wallet,
): Promise<{ waiting: number; final: number }> {
  await watchMined(deps, wallet);
  await followHandoverTip(deps, wallet);
  const standing = await followAll(deps);

  const { agreed, queue } = deps;
  const final = await watchFinality(
    {
      agreed,
      alert: deps.alert,
      finalSeals: (after) => queue.newestFinal(after, AT_ONCE),
      freeze: ({ tenantId, seq, blockNumber }) =>
        freezeLog(deps, tenantId, 'final-reorged', { seq, block: blockNumber }),
    },
    await wallet.finality(),
  );
  // Successions first: they are heads of the log as its seals are. While they are not known, no seal is judged.
  const known = await settleHandovers(deps, wallet, final);
  const ripe = standing.filter((seal) => known && BigInt(seal.blockNumber) <= final.number);
  let count = 0;
  for (let from = 0; from < ripe.length; from += AT_ONCE) {
    const verdict = await judgeFinal(
      { ...deps, heads: (places) => queue.heads(places) },
      final,
      ripe.slice(from, from + AT_ONCE),
    );
    await fallBack(deps, 'anchor-unproved', verdict.unproved);
    await deps.writeLevels(verdict.final);
    count += verdict.final.length;
  }
  const { address } = deps.relayer;
  const counted = await agreed.read((endpoint) => endpoint.getTransactionCount({ address, blockNumber: final.number }));
  await wallet.noncesFinal(final.number, counted);
  // Last: what was not looked at for a crash in between is looked at again.
  await wallet.setFinality(final);
  const { unsettled } = await deps.handovers.open();
  return { waiting: standing.length - count + unsettled, final: count };
}

/** Writes what the tip says of all seals that are in a block. @returns those that still are in the block that we know */
async function followAll(deps: FollowDependencies): Promise<AnchoredSeal[]> {
  const standing: AnchoredSeal[] = [];
  let after: { tenantId: string; seq: number } = { tenantId: '', seq: 0 };
  for (;;) {
    const seals = await deps.queue.toConfirm(after, AT_ONCE);
    const last = seals.at(-1);
    if (last === undefined) return standing;
    after = last;
    const tip = await followTip(deps, seals);
    await fallBack(deps, 'reorg', tip.moved);
    const risen = tip.standing.filter(
      ({ level, blockNumber }) => level !== 'safe' && BigInt(blockNumber) <= tip.safeBlock,
    );
    await deps.writeLevels(risen.map((seal) => changeOf(seal, 'safe', anchorOf(seal))));
    standing.push(...tip.standing);
  }
}

/** Takes levels back, or moves them to another block; one alert tells of all. */
async function fallBack(
  deps: FollowDependencies,
  alert: 'reorg' | 'anchor-unproved',
  changes: readonly LevelChange[],
): Promise<void> {
  const [first] = changes;
  if (first === undefined) return;
  deps.alert(alert, { seals: changes.length, tenantId: first.tenantId, seq: first.seq });
  await deps.writeLevels(changes);
}

const anchorOf = ({ txHash, blockNumber, blockHash, logIndex }: Anchor): Anchor => ({
  txHash,
  blockNumber,
  blockHash,
  logIndex,
});
