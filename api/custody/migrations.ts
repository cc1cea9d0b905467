/** A tenant's migrations as its own rows say that they stand. Nothing is concluded here that a worker concludes. */
import {
  CUSTODY_APPROVAL,
  CUSTODY_PROOF,
  HANDOVER,
  HANDOVER_ACCEPT,
  hashStruct,
  typedDigest,
  type CustodyApproval,
  type CustodyProof,
  type Handover,
  type HandoverAccept,
  type Registry,
} from '../../protocol/eip712.ts';
import { fromHex, toHex, type Hex } from '../../protocol/hex.ts';
import { typedData, type TypedData } from '../../protocol/typed-data.ts';
import type { Queryable } from '../http/tenant-pools.ts';
import type { Custody } from './custody-kinds.ts';

export const STEPS = [
  'identify',
  'authorise',
  'snapshot',
  'register',
  'prove',
  'trial',
  'hand-over',
  'propose',
  'cooling-off',
  'accept',
  'final',
  'cut-over',
  'catch-up',
  'disable-old-key',
  'certificate',
  'retire-key',
] as const;

export interface Step {
  step: (typeof STEPS)[number];
  state: 'begun' | 'waiting' | 'done' | 'failed' | 'undone';
  at: Date;
  proof: Record<string, unknown>;
}

export interface Migration {
  id: string;
  logId: Hex;
  epochTo: number;
  custody: Custody;
  fromSigner: Hex;
  /** Null until the new key was looked at. */
  newSigner: Hex | null;
  keyRef: string | null;
  nonce: Hex;
  /** Unix seconds. */
  approvalsExpireAt: number;
  deleteOldKey: boolean;
  startedAt: Date;
  endedAt: Date | null;
  outcome: 'completed' | 'undone' | null;
  reason: string | null;
  /** Why it is being undone; null while it is not. */
  givenUp: string | null;
}

interface MigrationRow {
  id: string;
  log_id: Buffer;
  epoch_to: number;
  custody: Custody;
  from_signer: Buffer;
  new_signer: Buffer | null;
  key_ref: string | null;
  nonce: Buffer;
  approvals_expire_at: number;
  delete_old_key: boolean;
  started_at: Date;
  ended_at: Date | null;
  outcome: 'completed' | 'undone' | null;
  reason: string | null;
  given_up: string | null;
}

function migrationOf(row: MigrationRow): Migration {
  return {
    id: row.id,
    logId: toHex(row.log_id),
    epochTo: row.epoch_to,
    custody: row.custody,
    fromSigner: toHex(row.from_signer),
    newSigner: row.new_signer && toHex(row.new_signer),
    keyRef: row.key_ref,
    nonce: toHex(row.nonce),
    approvalsExpireAt: row.approvals_expire_at,
    deleteOldKey: row.delete_old_key,
    startedAt: row.started_at,
    endedAt: row.ended_at,
    outcome: row.outcome,
    reason: row.reason,
    givenUp: row.given_up,
  };
}

const LATEST = 50;

/** The newest first. @param db the tenant's custody login, which sees its own rows only */
export async function readMigrations(db: Queryable): Promise<Migration[]> {
  const { rows } = await db.query<MigrationRow>(
    'SELECT * FROM kiff.custody_migrations ORDER BY started_at DESC, id LIMIT $1',
    [LATEST],
  );
  return rows.map(migrationOf);
}

export async function readMigration(db: Queryable, id: string): Promise<Migration | undefined> {
  const { rows } = await db.query<MigrationRow>('SELECT * FROM kiff.custody_migrations WHERE id = $1', [id]);
  return rows[0] && migrationOf(rows[0]);
}

/** In the order in which they were noted. */
export async function readSteps(db: Queryable, migration: string): Promise<Step[]> {
  const { rows } = await db.query<Step>(
    'SELECT step, state, at, proof FROM kiff.custody_steps WHERE migration = $1 ORDER BY id',
    [migration],
  );
  return rows;
}

interface ChainFact {
  level: 'included' | 'safe' | 'final';
  txHash: Hex;
  blockNumber: number;
}

/** A handover as it was signed, or as the chain showed it. */
export interface HandoverRecord {
  migration: string | null;
  hash: Hex;
  epochTo: number;
  to: Hex;
  custody: number;
  /** Null of one that we only saw on chain, and whose call cannot be read. */
  handover: Handover | null;
  toSignature: Hex | null;
  fromSignature: Hex | null;
  accept: { statement: HandoverAccept; signature: Hex } | null;
  proposed: ChainFact | null;
  accepted: ChainFact | null;
  /** The old signer's last seal, as the chain accepted it. */
  acceptedSeq: number | null;
  cancelled: ChainFact | null;
  /** Unix seconds; null until it was proposed. */
  eta: number | null;
}

interface HandoverRow {
  migration: string | null;
  log_id: Buffer;
  handover_hash: Buffer;
  epoch_to: number;
  from_signer: Buffer;
  to_signer: Buffer;
  custody: number;
  not_before: number | null;
  expires_at: number;
  nonce: Buffer | null;
  to_signature: Buffer | null;
  from_signature: Buffer | null;
  accept_seq: number | null;
  accept_head: Buffer | null;
  accept_signature: Buffer | null;
  eta: number | null;
  proposed_level: ChainFact['level'] | null;
  proposed_tx: Buffer | null;
  proposed_block: number | null;
  accepted_level: ChainFact['level'] | null;
  accepted_tx: Buffer | null;
  accepted_block: number | null;
  accepted_seq: number | null;
  cancelled_level: ChainFact['level'] | null;
  cancelled_tx: Buffer | null;
  cancelled_block: number | null;
}

function factOf(level: ChainFact['level'] | null, tx: Buffer | null, block: number | null): ChainFact | null {
  return level === null || tx === null || block === null ? null : { level, txHash: toHex(tx), blockNumber: block };
}

function handoverOf(row: HandoverRow): HandoverRecord {
  const logId = toHex(row.log_id);
  const hash = toHex(row.handover_hash);
  return {
    migration: row.migration,
    hash,
    epochTo: row.epoch_to,
    to: toHex(row.to_signer),
    custody: row.custody,
    handover:
      row.not_before === null || row.nonce === null
        ? null
        : {
            logId,
            epochTo: row.epoch_to,
            from: toHex(row.from_signer),
            to: toHex(row.to_signer),
            custody: row.custody,
            notBefore: row.not_before,
            expiresAt: row.expires_at,
            nonce: toHex(row.nonce),
          },
    toSignature: row.to_signature && toHex(row.to_signature),
    fromSignature: row.from_signature && toHex(row.from_signature),
    accept:
      row.accept_seq === null || row.accept_head === null || row.accept_signature === null
        ? null
        : {
            statement: {
              logId,
              epochTo: row.epoch_to,
              handoverHash: hash,
              seq: row.accept_seq,
              head: toHex(row.accept_head),
            },
            signature: toHex(row.accept_signature),
          },
    proposed: factOf(row.proposed_level, row.proposed_tx, row.proposed_block),
    accepted: factOf(row.accepted_level, row.accepted_tx, row.accepted_block),
    acceptedSeq: row.accepted_seq,
    cancelled: factOf(row.cancelled_level, row.cancelled_tx, row.cancelled_block),
    eta: row.eta,
  };
}

/** The tenant's handovers of its current log, by epoch. */
export async function readHandovers(db: Queryable, logId: Hex): Promise<HandoverRecord[]> {
  const { rows } = await db.query<HandoverRow>(
    'SELECT * FROM kiff.handovers WHERE log_id = $1 ORDER BY epoch_to, signed_at, handover_hash',
    [Buffer.from(fromHex(logId))],
  );
  return rows.map(handoverOf);
}

type Approvable = Migration & { newSigner: Hex };

/** What admins approve, and its digest, which is the challenge of their passkeys. */
export function approvalOf(
  registry: Registry,
  { logId, newSigner, custody, nonce, approvalsExpireAt: expiresAt }: Approvable,
): { typedData: TypedData; digest: Hex; challenge: string } {
  const approval: CustodyApproval = { logId, newSigner, custody, nonce, expiresAt };
  const digest = typedDigest(registry, hashStruct(CUSTODY_APPROVAL, approval));
  return {
    typedData: typedData(registry, CUSTODY_APPROVAL, approval),
    digest,
    challenge: Buffer.from(fromHex(digest)).toString('base64url'),
  };
}

/** What the new signer signs to show that it holds its key. */
export function proofOf(
  registry: Registry,
  { logId, newSigner, nonce, approvalsExpireAt: expiresAt }: Approvable,
): { typedData: TypedData; digest: Hex } {
  const proof: CustodyProof = { logId, newSigner, nonce, expiresAt };
  return {
    typedData: typedData(registry, CUSTODY_PROOF, proof),
    digest: typedDigest(registry, hashStruct(CUSTODY_PROOF, proof)),
  };
}

export function handoverDataOf(registry: Registry, handover: Handover): { typedData: TypedData; digest: Hex } {
  return {
    typedData: typedData(registry, HANDOVER, handover),
    digest: typedDigest(registry, hashStruct(HANDOVER, handover)),
  };
}

export function acceptDataOf(registry: Registry, accept: HandoverAccept): { typedData: TypedData; digest: Hex } {
  return {
    typedData: typedData(registry, HANDOVER_ACCEPT, accept),
    digest: typedDigest(registry, hashStruct(HANDOVER_ACCEPT, accept)),
  };
}
