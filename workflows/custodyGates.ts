/** The way to the acceptance: every step that can still be undone, in order (design section 7). */
import { CancellationScope, isCancellation, sleep } from '@temporalio/workflow';
import { ActivityFailure } from '@temporalio/common';
import type { HandoverStanding } from '../activities/anchoring/handovers.ts';
import { hour } from './ids.ts';
import {
  acceptWithin,
  handover,
  handoverStanding,
  holdLog,
  logStanding,
  makeCustodyKey,
  nudgeWallet,
  patient,
  setNewSigner,
} from './custodyActivities.ts';
import { isDead, lookUntil } from './custodyChain.ts';
import { ids, mayComeLater, note, refuse, say, takeStep, type Saga } from './custodySaga.ts';
import { killHandover, dropFreshKey } from './custodyUndo.ts';

/** Different admins. */
const APPROVALS = 2;
const CLOUD = 1;
const WHOSE: Readonly<Record<number, string>> = {
  [CLOUD]: 'a fresh key of ours',
  2: "the tenant's key in KMS",
  3: "the address of the tenant's own signer",
};

/** Seconds between two looks in the end, where a signal tells of news anyway. */
const FOR_PEOPLE = 1800;
const FOR_THE_CHAIN = 30;
const FOR_THE_COOLING_OFF = 600;
/** Seconds: what must not be interrupted is tried so long at once, and as long as a period while the log is held for it. */
const ATTEMPT = 60;
const SHORTEST_ATTEMPT = 10;

/** Walks through all gates. @throws TemporalFailure at the one that stays shut; what was done so far is in `saga.undo` */
export async function throughTheGates(saga: Saga): Promise<void> {
  await identify(saga);
  await authorise(saga);
  await takeStep(saga, 'snapshot', 'The signer keeps what is public of the old key.', async () => ({
    ...(await patience(saga).snapshotKey.executeWithOptions({ summary: "Keep the old key's public half" }, [
      ids(saga),
    ])),
  }));
  await takeStep(saga, 'register', `Looking at the new signer \`${saga.newSigner}\` once more.`, () => look(saga));
  await takeStep(saga, 'prove', `Waiting for the new signer \`${saga.newSigner}\` to prove that it has its key.`, () =>
    patience(saga).custodyProof.executeWithOptions({ summary: 'The new signer proves possession' }, [ids(saga)]),
  );
  await trial(saga);
  await handOver(saga);
  const eta = await propose(saga);
  await coolingOff(saga, eta);
  await accept(saga);
}

/** How long a signer that does not answer is waited for. */
const patience = (saga: Saga) => patient(saga.policy.handoverExpiry);

async function identify(saga: Saga): Promise<void> {
  const whose = WHOSE[saga.custody] ?? 'the new signer';
  await takeStep(saga, 'identify', `Looking at ${whose}.`, async () => {
    if (saga.custody === CLOUD) {
      saga.undo.push({ step: 'identify', run: () => dropFreshKey(saga) });
      await makeCustodyKey.executeWithOptions({ summary: 'Make a fresh key in KMS' }, [ids(saga)]);
    }
    return look(saga);
  });
}

/** The signer's own look at the new signer: its key, and whose it is not. The first look fixes who it is. */
async function look(saga: Saga): Promise<{ newSigner: string; keyRef: string | null }> {
  const seen = await patience(saga).identifySigner.executeWithOptions({ summary: 'Look at the new signer' }, [
    ids(saga),
  ]);
  if (!seen.ok) throw refuse(seen.reason);
  const { newSigner, keyRef } = seen;
  await setNewSigner.executeWithOptions({ summary: 'Fix who is to sign' }, [
    { migrationId: saga.migrationId, newSigner, keyRef },
  ]);
  saga.newSigner = newSigner;
  return { newSigner, keyRef };
}

async function authorise(saga: Saga): Promise<void> {
  const until = saga.approvalsExpireAt;
  const waiting = (admins: number): string =>
    `Waiting for ${APPROVALS - admins} of ${APPROVALS} admins of ${saga.tenantId} to approve \`${saga.newSigner}\` with their passkeys, until ${hour(until)}.`;
  await takeStep(saga, 'authorise', waiting(0), async () => {
    let known = 0;
    const approved = await lookUntil(
      saga.told,
      async () => {
        const seen = await patient(saga.policy.approvals).approvals.executeWithOptions(
          { summary: 'Who has approved' },
          [ids(saga)],
        );
        if (seen.admins >= APPROVALS) return seen;
        if (seen.admins !== known) {
          known = seen.admins;
          say(saga, waiting(known));
          await note(saga, 'authorise', 'waiting', { admins: known, of: APPROVALS, until });
        }
        return null;
      },
      { summary: 'Waiting for admins to approve', slowest: FOR_PEOPLE, until: until * 1000 },
    );
    if (approved === null) throw refuse('approvals-timed-out');
    return { ...approved };
  });
}

/** The new signer signs the next real seals beside the old one: what it signs, nobody submits. */
async function trial(saga: Saga): Promise<void> {
  const { tenantId, policy, periodSeconds } = saga;
  const seals = policy.trialSeals;
  const until = Date.now() + (policy.handoverExpiry + 2 * seals * periodSeconds) * 1000;
  const sentence = `Waiting for the next ${seals} seals, which the new signer \`${saga.newSigner}\` signs on trial, until ${hour(Math.floor(until / 1000))}.`;
  await takeStep(saga, 'trial', sentence, async () => {
    const { signedSeq: before } = await logStanding({ tenantId });
    const shadows = [];
    for (let seq = before + 1; seq <= before + seals; seq++) {
      const sealed = await lookUntil(
        saga.told,
        async () => ((await logStanding({ tenantId })).signedSeq >= seq ? seq : null),
        { summary: `Waiting for seal ${seq}`, slowest: Math.min(300, Math.max(1, periodSeconds / 4)), until },
      );
      if (sealed === null) throw refuse('trial-timed-out');
      const shadow = await patience(saga).shadowSeal.executeWithOptions({ summary: `Sign seal ${seq} on trial` }, [
        { ...ids(saga), seq },
      ]);
      shadows.push({ seq, ...shadow });
      await note(saga, 'trial', 'waiting', { seals: shadows, of: seals });
    }
    return { seals: shadows };
  });
}

async function handOver(saga: Saga): Promise<void> {
  const sentence = `Both keys sign the handover, the new one \`${saga.newSigner}\` first.`;
  await takeStep(saga, 'hand-over', sentence, async () => {
    saga.undo.push({ step: 'hand-over', run: () => killHandover(saga) });
    const until = Date.now() + saga.policy.handoverExpiry * 1000;
    for (;;) {
      const signed = await attempt(() =>
        handover.executeWithOptions(
          {
            summary: 'Hand over: the new key signs first, the old key last',
            scheduleToCloseTimeout: ATTEMPT * 1000,
          },
          [ids(saga)],
        ),
      );
      if (signed !== null) return signed;
      if (Date.now() >= until) throw refuse('signer-away');
      await sleep(ATTEMPT * 1000, { summary: 'A signer did not answer; try again' });
    }
  });
}

/** @returns from when on it may be accepted, Unix seconds */
async function propose(saga: Saga): Promise<number> {
  let eta = 0;
  await takeStep(saga, 'propose', 'Waiting until the proposal is final on Base.', async () => {
    await nudged();
    const standing = await lookUntil(
      saga.told,
      async () => {
        const seen = await alive(saga);
        return seen?.accepted != null || seen?.proposed?.level === 'final' ? seen : null;
      },
      { summary: 'The proposal is not final yet', slowest: FOR_THE_CHAIN },
    );
    eta = standing?.eta ?? 0;
    return { ...standing };
  });
  return eta;
}

async function coolingOff(saga: Saga, eta: number): Promise<void> {
  const sentence = `Cooling off until ${hour(eta)}: every admin of ${saga.tenantId} and its security contact can veto.`;
  await takeStep(saga, 'cooling-off', sentence, async () => {
    await lookUntil(saga.told, async () => ((await alive(saga))?.accepted ? true : null), {
      summary: 'Cooling off: time for a veto',
      slowest: FOR_THE_COOLING_OFF,
      until: eta * 1000,
    });
    return { until: eta };
  });
}

/**
 * The point of no return. The acceptance binds to the exact head of the log: so nothing new is signed while the new key signs. When it does
 * not answer within a period, the log goes on for as long, and then it is asked again.
 */
async function accept(saga: Saga): Promise<void> {
  const { tenantId, migrationId, periodSeconds } = saga;
  const seconds = Math.max(periodSeconds, SHORTEST_ATTEMPT);
  const sentence = `The log's next seals are held back while the new signer \`${saga.newSigner}\` accepts.`;
  await takeStep(saga, 'accept', sentence, async () => {
    saga.undo.push({ step: 'accept', run: () => holdLog({ migrationId, hold: false }) });
    for (;;) {
      const standing = await alive(saga);
      // The tenant did it by itself: the chain says so, and the saga follows.
      if (standing?.accepted) return { acceptedBy: 'others' };
      await holdLog.executeWithOptions({ summary: 'Hold back the next seals' }, [{ migrationId, hold: true }]);
      const settled = await lookUntil(
        saga.told,
        async () => {
          const { signedSeq, includedSeq } = await logStanding({ tenantId });
          return includedSeq >= signedSeq ? includedSeq : null;
        },
        { summary: 'A signed seal is not in a block yet', slowest: 10, until: Date.now() + seconds * 1000 },
      );
      const accepted = settled === null ? null : await attempt(() => acceptWithin(seconds)(ids(saga)));
      if (accepted !== null) {
        saga.accepted = true;
        return accepted;
      }
      await holdLog.executeWithOptions({ summary: 'Let the log go on' }, [{ migrationId, hold: false }]);
      say(saga, `The new signer \`${saga.newSigner}\` did not accept in time; the log goes on, and it is asked again.`);
      await sleep(seconds * 1000, { summary: 'The acceptance did not come; try again' });
    }
  });
}

/** Does what must not be interrupted. @returns null when it did not get through and may later */
async function attempt<T>(run: () => Promise<T>): Promise<T | null> {
  try {
    return await CancellationScope.nonCancellable(run);
  } catch (error) {
    if (mayComeLater(error)) return null;
    throw error;
  }
}

/** What the chain says, as long as the handover can still be accepted. */
async function alive(saga: Saga): Promise<HandoverStanding | null> {
  const standing = await handoverStanding(ids(saga));
  if (isDead(standing)) throw refuse(standing?.lapsed === true ? 'handover-lapsed' : 'handover-cancelled');
  return standing;
}

async function nudged(): Promise<void> {
  try {
    await nudgeWallet();
  } catch (error) {
    // The wallet finds it at its next look; only a cancellation is ours to pass on.
    if (!(error instanceof ActivityFailure) || isCancellation(error)) throw error;
  }
}
