/**
 * The relayer's wallet: one workflow per chain and relayer, the only owner of its nonce.
 *
 * Its queue is the tenants' seals in the database; what reaches it is an empty nudge and a timer, so continue-as-new
 * carries nothing. A lease in the database keeps a second run (a reset, another cluster) from signing.
 */
import {
  ActivityFailure,
  allHandlersFinished,
  condition,
  continueAsNew,
  defineSignal,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import { ApplicationFailure } from '@temporalio/common';
import type { Advance, AnchoringActivities, Next } from '../activities/anchoring/create.ts';
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

/** A wallet that has stopped looks again so often, for the case that a node was wrong about the nonce. */
const STOPPED_SECONDS = 60 * 60;

/** A worker that is killed in the middle of a step is noticed after this (workers/signs-of-life.ts). */
const heartbeatTimeout = '6s';

const retry = { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '30s' } as const;

/** Signs at most once per nonce and fee: what was signed before is found in the database and used again. */
const { nextTransaction, advanceTransaction } = proxyActivities<AnchoringActivities>({
  taskQueue: ANCHORING_QUEUE,
  startToCloseTimeout: '60s',
  heartbeatTimeout,
  retry,
});

/** Reads, and writes that come out the same however often they run. */
const { confirmSeals, watchRelayer, releaseWallet } = proxyActivities<AnchoringActivities>({
  taskQueue: ANCHORING_QUEUE,
  startToCloseTimeout: '60s',
  heartbeatTimeout,
  retry,
});

export async function anchorWallet(input: AnchorWalletInput): Promise<never> {
  const told = { nudged: false };
  setHandler(nudge, () => {
    told.nudged = true;
  });
  let stoppedUntil = 0;
  let hoursLeft: number | null = null;

  for (let round = 0; round < ROUNDS && !workflowInfo().continueAsNewSuggested; round++) {
    told.nudged = false;
    const sent = Date.now() < stoppedUntil ? 'stopped' : await send();
    if (sent === 'stopped' && Date.now() >= stoppedUntil) stoppedUntil = Date.now() + STOPPED_SECONDS * 1000;

    // Whatever holds a transaction up, what is in a block is followed.
    const { waiting } = await confirmSeals.executeWithOptions({ summary: 'Follow anchored seals to final' }, []);
    const underWay = sent !== 'stopped' && (sent.inFlight !== null || sent.early > 0);
    if (!underWay || sent.advance?.mined === true) {
      ({ hoursLeft } = await watchRelayer.executeWithOptions({ summary: "Look at the relayer's money" }, []));
    }
    setCurrentDetails(`${describe(sent, waiting)}${money(hoursLeft)}`);

    if (sent !== 'stopped' && sent.advance?.mined === true && !sent.advance.reverted) continue;
    // What a simulation let pass and the chain did not is not sent again at once.
    const reverted = sent !== 'stopped' && sent.advance?.reverted === true;
    const soon = (underWay || waiting > 0) && !reverted;
    // A transaction in flight is not hurried by a nudge: what waits behind it takes the next one.
    const listens = sent === 'stopped' || sent.inFlight === null;
    await condition(() => told.nudged && listens, (soon ? input.pollSeconds : input.idleSeconds) * 1000, {
      summary: soon ? 'Look again soon' : 'Nothing to do: wait for a nudge',
    });
  }

  await releaseWallet.executeWithOptions({ summary: 'Give the wallet up to the next run' }, []);
  await condition(allHandlersFinished);
  return continueAsNew<typeof anchorWallet>(input);
}

type Sent = (Next & { advance: Advance | null }) | 'stopped';

/** Opens a nonce for what waits, unless one is open, and moves it on. `stopped` when the nonce is not ours any more. */
async function send(): Promise<Sent> {
  try {
    const next = await nextTransaction.executeWithOptions({ summary: 'Claim a batch and open a nonce' }, []);
    if (next.inFlight === null) return { ...next, advance: null };
    const { nonce } = next.inFlight;
    const summary = `Broadcast and watch nonce ${nonce}`;
    return { ...next, advance: await advanceTransaction.executeWithOptions({ summary }, [{ nonce }]) };
  } catch (error) {
    const cause = error instanceof ActivityFailure ? error.cause : undefined;
    if (cause instanceof ApplicationFailure && cause.type === 'foreign-nonce') return 'stopped';
    throw error;
  }
}

function describe(sent: Sent, waiting: number): string {
  const behind = waiting > 0 ? ` ${waiting} seals or steps of handovers are in a block and not final yet.` : '';
  if (sent === 'stopped') {
    return `**Stopped**: the relayer's nonce was used by a transaction that is not ours. Give the worker a new relayer key.${behind}`;
  }
  if (sent.inFlight !== null && sent.advance?.mined !== true) {
    return `Nonce **${sent.inFlight.nonce}** is in flight, ${WHAT[sent.inFlight.kind]}; ${HELD_UP[sent.advance?.waitsFor ?? 'block']}.${behind}`;
  }
  if (sent.early > 0) return `${sent.early} seals wait for a block after their period's end.${behind}`;
  return `Nothing to send.${waiting > 0 ? behind : ' All of it is final.'}`;
}

const WHAT: Readonly<Record<NonNullable<Next['inFlight']>['kind'], string>> = {
  anchor: 'anchoring seals',
  register: 'registering a log',
  propose: 'proposing a handover',
  accept: 'accepting a handover',
  cancel: 'cancelling a handover',
};

const HELD_UP: Readonly<Record<NonNullable<Advance['waitsFor']>, string>> = {
  block: 'waiting for its block',
  'lower-fees': 'waiting for lower fees: the market is above the ceiling',
  funds: 'waiting for money: the relayer cannot pay',
};

function money(hoursLeft: number | null): string {
  return hoursLeft === null ? '' : ` The relayer's money lasts about ${hoursLeft} hours.`;
}
