/**
 * One tenant's seal of one period: collect → Merkle-hash → KMS-sign → anchor on Base → confirm.
 *
 * The workflow decides nothing that matters: the cut, the root and the signature are facts in the databases, guarded
 * there, and the contract judges in the end. What a workflow adds is that it never forgets.
 */
import {
  ActivityFailure,
  condition,
  defineSignal,
  isCancellation,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  sleep,
  upsertSearchAttributes,
} from '@temporalio/workflow';
import { ApplicationFailure } from '@temporalio/common';
import type { AnchoringActivities } from '../activities/anchoring/create.ts';
import type { LogActivities, SealStanding } from '../activities/log/create.ts';
import { CUSTODY, custodyName, LEVEL } from './attributes.ts';
import { ANCHORING_QUEUE, hour, SEALING_QUEUE } from './ids.ts';
import { signAll, type Unsigned } from './signAll.ts';

export interface SealInput {
  tenantId: string;
  /** First second of the period, Unix time. */
  period: number;
  /** P, seconds. */
  periodSeconds: number;
  /** Where in the spread window this tenant's seal starts. */
  delaySeconds: number;
}

export interface SealResult {
  /** Null when the log's first period is still to come. */
  seq: number | null;
  /**
   * `awaiting-signer`: the signer was away for a whole period; `signing-blocked`: its key refused for that long. The next seal
   * catches up.
   */
  level: 'not-begun' | Unsigned['level'] | SealStanding['level'];
}

/** From the anchoring worker: this tenant's level changed. It carries nothing; the workflow looks for itself. */
const levelChanged = defineSignal('levelChanged');

/** When nobody tells it, the workflow looks by itself, rarely. */
const LOOK_EVERY_SECONDS = 300;

const retry = { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '60s' } as const;

/** Reads. */
const read = { taskQueue: SEALING_QUEUE, startToCloseTimeout: '10s', retry } as const;
const { sealOfPeriod } = proxyActivities<LogActivities>({ ...read, summary: 'Which seal is of this period' });
const { sealStanding } = proxyActivities<LogActivities>({ ...read, summary: 'Where the seal stands' });

/** Writes that come out the same however often they run. */
const write = { taskQueue: SEALING_QUEUE, startToCloseTimeout: '6h', heartbeatTimeout: '60s', retry } as const;
const { collect } = proxyActivities<LogActivities>({ ...write, summary: 'Collect: cut the period under the log head' });
const { hashSeals } = proxyActivities<LogActivities>({
  ...write,
  summary: 'Merkle-hash: extend the tree, compute roots',
});

/** A wish: the wallet also looks by itself. */
const { nudgeWallet } = proxyActivities<AnchoringActivities>({
  taskQueue: ANCHORING_QUEUE,
  startToCloseTimeout: '10s',
  scheduleToCloseTimeout: '60s',
  retry,
  summary: 'Wake the wallet',
});

export async function seal(input: SealInput): Promise<SealResult> {
  const { tenantId, period } = input;
  const told = { changed: false };
  setHandler(levelChanged, () => {
    told.changed = true;
  });
  const say = (text: string) => tell(tenantId, period, text);

  if (input.delaySeconds > 0) await sleep(input.delaySeconds * 1000, { summary: 'Spread the tenants over the window' });

  // Collect: cut this period, and every earlier one that was missed.
  say('Collecting: fixing which records belong to the period.');
  const newest = await collect({ tenantId, period });
  const mine = newest === null ? null : await sealOfPeriod({ tenantId, period });
  if (mine === null) return { seq: null, level: 'not-begun' };
  const { seq } = mine;
  const custody = custodyName(mine.custody);

  // After an outage a log's seals start all at once. The newest takes all of them along, so the others step back: each
  // hashing and signing for itself would be work that grows with the square of the outage. If nothing comes of it
  // within a period (a minute at least), this one goes on by itself; what is done by then is not done again.
  if (!mine.newest) {
    say(`Seal ${seq}: a later seal of this log is under way and takes this one along.`);
    await condition(() => told.changed, Math.max(input.periodSeconds, 60) * 1000, {
      summary: 'A later seal takes this one along',
    });
    const { level } = await sealStanding({ tenantId, seq, period });
    if (level !== 'collected' && level !== 'hashed') return confirm(input, { seq, custody }, told);
  }

  // Merkle-hash: re-read and re-hash the entries, extend the tiles, store the roots.
  say(`Seal ${seq}: hashing the new records into the Merkle tree.`);
  await hashSeals({ tenantId, throughSeq: seq });

  // KMS-sign: every unsigned seal in order. An absent signer is waited for, at most one period.
  say(`Seal ${seq}: waiting for the signer.`);
  const unsigned = await signAll(input, seq, say);
  if (unsigned !== null) {
    show(unsigned.level, custody);
    say(`Seal ${seq}: not signed for a whole period (${unsigned.why}). The next seal catches up; nothing is lost.`);
    return { seq, level: unsigned.level };
  }

  // Anchor: the wallet's queue is the seals themselves, so a nudge is all it takes.
  show('sealed', custody);
  say(`Seal ${seq}: signed; waiting for the wallet to anchor it on Base.`);
  await nudged();

  return confirm(input, { seq, custody }, told);
}

/** What the operator searches by. */
function show(level: string, custody: string): void {
  upsertSearchAttributes([
    { key: LEVEL, value: level },
    { key: CUSTODY, value: custody },
  ]);
}

/** What the operator reads of this seal. */
function tell(tenantId: string, period: number, text: string): void {
  setCurrentDetails(`**${tenantId}**, period ${hour(period)}\n\n${text}`);
}

/** Confirm: follow the levels to `final`. */
async function confirm(
  { tenantId, period }: SealInput,
  { seq, custody }: { seq: number; custody: string },
  told: { changed: boolean },
): Promise<SealResult> {
  for (let standing = await sealStanding({ tenantId, seq, period }); ;) {
    show(standing.refused ? 'refused' : standing.level, custody);
    tell(tenantId, period, describe(seq, standing));
    if (standing.level === 'final') return { seq, level: 'final' };
    if (standing.refused) {
      throw ApplicationFailure.nonRetryable('The contract would refuse this seal; it was set aside.', 'seal-refused');
    }
    await condition(() => told.changed, LOOK_EVERY_SECONDS * 1000, {
      summary: `Wait for what comes after '${standing.level}'`,
    });
    told.changed = false;
    standing = await sealStanding({ tenantId, seq, period });
  }
}

async function nudged(): Promise<void> {
  try {
    await nudgeWallet();
  } catch (error) {
    // The wallet finds the seal at its next look; only a cancellation is ours to pass on.
    if (!(error instanceof ActivityFailure) || isCancellation(error)) throw error;
  }
}

function describe(seq: number, { level, refused, txHash, blockNumber, treeSize }: SealStanding): string {
  const where = txHash === null ? '' : `\n\nTransaction \`${txHash}\`, block ${blockNumber}.`;
  if (refused) return `Seal ${seq} would be refused by the contract and was set aside. An alert was raised.`;
  switch (level) {
    case 'final':
      return `Seal ${seq} over ${treeSize} records is **final**: receipts can be verified by anyone.${where}`;
    case 'safe':
      return `Seal ${seq} over ${treeSize} records is safe on Base; waiting until its block is finalized.${where}`;
    case 'included':
      return `Seal ${seq} over ${treeSize} records is in a block; waiting until it is finalized.${where}`;
    case 'sealed':
    case 'hashed':
    case 'collected':
      return `Seal ${seq} over ${treeSize} records is signed; waiting for the wallet to anchor it on Base.`;
  }
}
