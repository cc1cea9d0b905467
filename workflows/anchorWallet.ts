/**
 * The relayer's wallet: one workflow per chain and relayer, the only owner of its nonce.
 *
 * Its queue is the tenants' seals in the database; what reaches it is an empty nudge and a timer, so continue-as-new
 * carries nothing. A lease in the database keeps a second run (a reset, another cluster) from signing.
 */
import {
  allHandlersFinished,
  condition,
  continueAsNew,
  defineSignal,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  sleep,
  workflowInfo,
} from '@temporalio/workflow';
import type { AnchoringActivities } from '../activities/anchoring/create.ts';
import { ANCHORING_QUEUE } from './ids.ts';

export interface AnchorWalletInput {
  /** Between two looks at a transaction that is not in a block yet, or a seal that is not final yet. */
  pollSeconds: number;
  /** Between two looks when nothing is under way. */
  idleSeconds: number;
}

/** Something may be waiting to be anchored. It carries nothing. */
const nudge = defineSignal('nudge');

/** Rounds before a run hands over to the next, to keep its history short. */
const ROUNDS = 500;

const retry = { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '30s' } as const;

/** Signs at most once per nonce: what was signed before is found in the database and used again. */
const { nextTransaction, advanceTransaction } = proxyActivities<AnchoringActivities>({
  taskQueue: ANCHORING_QUEUE,
  startToCloseTimeout: '60s',
  retry,
});

/** Writes that come out the same however often they run. */
const { confirmSeals, releaseWallet } = proxyActivities<AnchoringActivities>({
  taskQueue: ANCHORING_QUEUE,
  startToCloseTimeout: '60s',
  retry,
  summary: 'Give the wallet up to the next run',
});

export async function anchorWallet(input: AnchorWalletInput): Promise<never> {
  const told = { nudged: false };
  setHandler(nudge, () => {
    told.nudged = true;
  });

  for (let round = 0; round < ROUNDS && !workflowInfo().continueAsNewSuggested; round++) {
    told.nudged = false;
    const { inFlight, early } = await nextTransaction.executeWithOptions(
      { summary: 'Claim a batch and open a nonce' },
      [],
    );
    if (inFlight !== null) {
      const what = inFlight.kind === 'anchor' ? 'anchoring seals' : 'registering a log';
      setCurrentDetails(`Nonce **${inFlight.nonce}** is in flight, ${what}; waiting for its block.`);
      const reverted = await untilMined(inFlight.nonce, input.pollSeconds);
      // What a simulation let pass and the chain did not: not again at once.
      if (reverted)
        await sleep(input.idleSeconds * 1000, { summary: 'The transaction reverted; wait before the next' });
    }
    const { waiting } = await confirmSeals.executeWithOptions({ summary: 'Follow anchored seals to final' }, []);
    if (inFlight !== null) continue;
    setCurrentDetails(describe(waiting, early));
    const underWay = waiting > 0 || early > 0;
    await condition(() => told.nudged, (underWay ? input.pollSeconds : input.idleSeconds) * 1000, {
      summary: underWay ? 'Look again soon' : 'Nothing to do: wait for a nudge',
    });
  }

  await releaseWallet();
  await condition(allHandlersFinished);
  return continueAsNew<typeof anchorWallet>(input);
}

/** @returns whether the transaction reverted; false also when the next run has to go on (it finds the nonce open) */
async function untilMined(nonce: number, pollSeconds: number): Promise<boolean> {
  while (!workflowInfo().continueAsNewSuggested) {
    const { mined, reverted } = await advanceTransaction.executeWithOptions(
      { summary: `Broadcast and watch nonce ${nonce}` },
      [{ nonce }],
    );
    if (mined) return reverted;
    await sleep(pollSeconds * 1000, { summary: `Nonce ${nonce} is not in a block yet` });
  }
  return false;
}

function describe(waiting: number, early: number): string {
  if (early > 0)
    return `${early} seals wait for a block after their period's end; ${waiting} are in a block and not final yet.`;
  return waiting > 0
    ? `Nothing to send; ${waiting} seals are in a block and not final yet.`
    : 'Nothing to send; all seals are final.';
}
