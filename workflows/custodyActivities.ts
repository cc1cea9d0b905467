/** What a custody migration has done for it, grouped by what a retry would do. */
import { proxyActivities } from '@temporalio/workflow';
import type { AnchoringActivities } from '../activities/anchoring/create.ts';
import type { CustodyActivities } from '../activities/custody/create.ts';
import type { CustodyKeyActivities } from '../activities/keyadmin/custody.ts';
import type { LogActivities } from '../activities/log/create.ts';
import type { SigningActivities } from '../activities/signing/create.ts';
import type { CustodySigningActivities } from '../activities/signing/custody/create.ts';
import { ANCHORING_QUEUE, KEYADMIN_QUEUE, SEALING_QUEUE, SIGNING_QUEUE } from './ids.ts';

const retry = { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '30s' } as const;
/** A process that is killed in the middle of a step is noticed after this (workers/signs-of-life.ts). */
const heartbeatTimeout = '6s';
const sealing = { taskQueue: SEALING_QUEUE, startToCloseTimeout: '10s', heartbeatTimeout, retry } as const;
const signing = { taskQueue: SIGNING_QUEUE, startToCloseTimeout: '60s', heartbeatTimeout, retry } as const;
const anchoring = { taskQueue: ANCHORING_QUEUE, startToCloseTimeout: '10s', heartbeatTimeout, retry } as const;
const keyadmin = { taskQueue: KEYADMIN_QUEUE, startToCloseTimeout: '30s', heartbeatTimeout, retry } as const;

/** Reads. */
export const { logStanding } = proxyActivities<CustodyActivities>({ ...sealing, summary: 'Where the log stands' });
export const { unsignedSeals } = proxyActivities<LogActivities>({
  ...sealing,
  summary: 'Which seals have no signature yet',
});
export const { handoverStanding } = proxyActivities<AnchoringActivities>({
  ...anchoring,
  summary: 'What the chain says of the handover',
});

/** Writes that come out the same however often they run. */
export const { openMigration, noteStep, setNewSigner, answerStops, tellCustodyStuck } =
  proxyActivities<CustodyActivities>(sealing);
export const { holdLog } = proxyActivities<CustodyActivities>(sealing);
export const { makeCustodyKey, disableOldKey } = proxyActivities<CustodyKeyActivities>(keyadmin);

/** A wish: the wallet also looks by itself. */
export const { nudgeWallet } = proxyActivities<AnchoringActivities>({
  ...anchoring,
  scheduleToCloseTimeout: '60s',
  summary: 'Wake the wallet',
});

/** What the new signer has to do with: it may be away, so each is tried until the migration's patience ends. */
export const patient = (seconds: number) =>
  proxyActivities<CustodySigningActivities>({ ...signing, scheduleToCloseTimeout: seconds * 1000 });

/**
 * Irreversible. Whoever stops the migration waits for their end: what was signed has to be known. The acceptance is tried for a short
 * while at once, since the log is held meanwhile.
 */
export const { handover } = proxyActivities<CustodySigningActivities>({
  ...signing,
  summary: 'Hand over: the new key signs first, the old key last',
});
export const acceptWithin = (seconds: number) =>
  proxyActivities<CustodySigningActivities>({
    ...signing,
    scheduleToCloseTimeout: seconds * 1000,
    summary: 'Accept: the new key signs, and nothing goes back',
  }).handoverAccept;
/** Comes out the same however often it runs. */
export const { certificate } = proxyActivities<CustodySigningActivities>({
  ...signing,
  scheduleToCloseTimeout: '1h',
  summary: 'Put the certificate together',
});
export const { learnSuccession } = proxyActivities<CustodySigningActivities>({
  ...signing,
  summary: 'The signer reads the succession from the chain',
});

/** Signs what was held back, as a seal does. */
export const signWithin = (seconds: number) =>
  proxyActivities<SigningActivities>({
    taskQueue: SIGNING_QUEUE,
    startToCloseTimeout: '6h',
    heartbeatTimeout: '60s',
    scheduleToCloseTimeout: seconds * 1000,
    retry,
  }).signSeals;

/** Undoing, tried for an hour: what is still there then wants a person. Each one asks the database whether it may. */
const undoing = { scheduleToCloseTimeout: '1h' } as const;
export const { giveUp } = proxyActivities<CustodyActivities>({ ...sealing, summary: 'Give the migration up' });
export const { dropCustodyKey } = proxyActivities<CustodyKeyActivities>({
  ...keyadmin,
  ...undoing,
  summary: 'Take the fresh key away',
});
export const { handoverCancel } = proxyActivities<CustodySigningActivities>({
  ...signing,
  ...undoing,
  summary: 'Sign the cancellation of the handover',
});
export const { endMigration } = proxyActivities<CustodyActivities>({ ...sealing, summary: 'End the migration' });
