/** A migration as the API answers it. */
import { z } from 'zod';
import type { Registry } from '../../protocol/eip712.ts';
import type { Hex } from '../../protocol/hex.ts';
import type { TypedData } from '../../protocol/typed-data.ts';
import { count, dateTime, hex, unixSeconds } from '../http/shapes.ts';
import { custodyName, MEANINGS, nameOf } from './custody-kinds.ts';
import type { CustodyCommand } from './evidence.ts';
import {
  acceptDataOf,
  approvalOf,
  handoverDataOf,
  proofOf,
  STEPS,
  type HandoverRecord,
  type Migration,
  type Step,
} from './migrations.ts';
import { standingOf } from './standing.ts';

const freeForm = z.record(z.string(), z.unknown()).meta({ additionalProperties: true });

/** As `eth_signTypedData_v4` takes it. */
const typedDataShape = z
  .object({
    types: z.record(z.string(), z.array(z.object({ name: z.string(), type: z.string() }))),
    primaryType: z.string(),
    domain: z.object({
      name: z.literal('KIFF Seal'),
      version: z.literal('1'),
      chainId: count,
      verifyingContract: hex(20),
    }),
    message: freeForm,
  })
  .meta({ id: 'TypedData' });

const signable = z.object({ typedData: typedDataShape, digest: hex(32) });

const chainFact = z
  .object({ level: z.enum(['included', 'safe', 'final']), txHash: hex(32), blockNumber: count })
  .meta({ id: 'ChainFact' });

const handoverShape = z
  .object({
    hash: hex(32),
    handover: signable.nullable().describe('Null of one that we only saw on chain'),
    toSignature: hex(65).nullable().describe('The new key’s'),
    fromSignature: hex(65).nullable().describe('The old key’s, made last'),
    accept: signable
      .extend({ signature: hex(65) })
      .nullable()
      .describe('The new key’s acceptance: the point of no return'),
    proposed: chainFact.nullable(),
    eta: unixSeconds.nullable().describe('When the cooling-off ends'),
    accepted: chainFact.nullable(),
    cancelled: chainFact.nullable(),
  })
  .meta({ id: 'CustodyHandover' });

const stepShape = z
  .object({
    step: z.enum(STEPS),
    state: z.enum(['begun', 'waiting', 'done', 'failed', 'undone']),
    at: dateTime,
    proof: freeForm.describe('Public facts: hashes, addresses, transactions, times'),
  })
  .meta({ id: 'CustodyStep' });

const approvalShape = z
  .object({
    user: z.string(),
    at: dateTime,
    state: z.enum(['pending', 'started', 'done', 'failed', 'rejected']),
    reason: z.string().nullable(),
  })
  .meta({ id: 'CustodyApprovalGiven' });

export const migrationShape = z
  .object({
    id: z.string(),
    state: z
      .enum(['requested', 'active', 'undoing', 'completed', 'undone'])
      .describe('requested: the signing plane has not looked at it yet'),
    says: z.string().describe('What it waits for, for whom, and until when'),
    stoppable: z.boolean().describe('Whether a veto or a cancellation can still undo it'),
    reason: z.string().nullable().describe('Why it is being undone, or was: a fixed word'),
    custody: custodyName,
    meaning: z.string().describe('What this kind of custody means'),
    keyRef: z.string().nullable().describe('The new key’s ARN or alias'),
    logId: hex(32).nullable(),
    epochTo: count.nullable(),
    fromSigner: hex(20).nullable(),
    newSigner: hex(20).nullable().describe('Known once the new key was looked at; every approval names it'),
    deleteOldKey: z.boolean(),
    startedAt: dateTime,
    endedAt: dateTime.nullable(),
    approval: signable
      .extend({ challenge: z.string().describe('The digest as base64url: the challenge of the passkeys') })
      .nullable(),
    proof: signable.nullable(),
    approvalsExpireAt: unixSeconds.nullable(),
    approvals: z.array(approvalShape),
    steps: z.array(stepShape).describe('As they went: a step may stand here several times'),
    handover: handoverShape.nullable(),
    certificate: freeForm.nullable().describe('kiff.custody/1; null until it is made'),
  })
  .meta({ id: 'CustodyMigration' });

export type MigrationView = z.input<typeof migrationShape>;

function handoverView(registry: Registry, record: HandoverRecord): z.input<typeof handoverShape> {
  const { hash, handover, toSignature, fromSignature, accept, proposed, eta, accepted, cancelled } = record;
  return {
    hash,
    handover: handover && mutable(handoverDataOf(registry, handover)),
    toSignature,
    fromSignature,
    accept: accept && { ...mutable(acceptDataOf(registry, accept.statement)), signature: accept.signature },
    proposed,
    eta,
    accepted,
    cancelled,
  };
}

/** The schema's type knows no readonly; what is answered is written out at once. */
function mutable(value: { typedData: TypedData; digest: Hex }): z.input<typeof signable> {
  return value as unknown as z.input<typeof signable>;
}

export interface MigrationFacts {
  migration: Migration;
  steps: readonly Step[];
  handover: HandoverRecord | undefined;
  approvals: readonly CustodyCommand[];
  certificate: Record<string, unknown> | null;
}

export function migrationView(registry: Registry, facts: MigrationFacts): MigrationView {
  const { migration, steps, handover, approvals, certificate } = facts;
  const { newSigner, outcome, givenUp } = migration;
  const approved = new Set(approvals.filter(({ state }) => state === 'done').map(({ by }) => by)).size;
  const approval = newSigner && approvalOf(registry, { ...migration, newSigner });
  const custody = nameOf(migration.custody);
  return {
    id: migration.id,
    state: outcome ?? (givenUp === null ? 'active' : 'undoing'),
    ...standingOf(migration, steps, handover, approved),
    reason: migration.reason ?? givenUp,
    custody,
    meaning: MEANINGS[custody],
    keyRef: migration.keyRef,
    logId: migration.logId,
    epochTo: migration.epochTo,
    fromSigner: migration.fromSigner,
    newSigner,
    deleteOldKey: migration.deleteOldKey,
    startedAt: migration.startedAt.toISOString(),
    endedAt: migration.endedAt?.toISOString() ?? null,
    approval: approval && { ...mutable(approval), challenge: approval.challenge },
    proof: newSigner && mutable(proofOf(registry, { ...migration, newSigner })),
    approvalsExpireAt: migration.approvalsExpireAt,
    approvals: approvals.map(({ by, issuedAt, state, reason }) => ({
      user: by ?? '',
      at: issuedAt.toISOString(),
      state,
      reason,
    })),
    steps: steps.map(({ at, ...step }) => ({ ...step, at: at.toISOString() })),
    handover: handover === undefined ? null : handoverView(registry, handover),
    certificate,
  };
}

/** One that was asked for, and that nobody has looked at yet. */
export function requestedView({ ref, payload, issuedAt }: CustodyCommand): MigrationView {
  const {
    custody: number,
    keyArn,
    deleteOldKey,
  } = payload as { custody: number; keyArn?: string; deleteOldKey?: boolean };
  const custody = nameOf(number);
  return {
    id: ref,
    state: 'requested',
    says: 'It was asked for; the signing plane will look at it in a moment.',
    stoppable: false,
    reason: null,
    custody,
    meaning: MEANINGS[custody],
    keyRef: keyArn ?? null,
    logId: null,
    epochTo: null,
    fromSigner: null,
    newSigner: null,
    deleteOldKey: deleteOldKey ?? true,
    startedAt: issuedAt.toISOString(),
    endedAt: null,
    approval: null,
    proof: null,
    approvalsExpireAt: null,
    approvals: [],
    steps: [],
    handover: null,
    certificate: null,
  };
}
