/**
 * A migration as the signer sees it. Its row in the product database is only where to look: what the tenant asked for is read from the
 * command that began it, which log and which signer are the journal's word.
 */
import type { Pool } from 'pg';
import { z } from 'zod';
import { toHex, type Hex } from '../../../protocol/hex.ts';
import { failure } from '../../failures.ts';
import { identifyLog, type IdentityDependencies } from '../identity.ts';
import type { JournalLog } from '../journal.ts';
import { currentKey, TENANT_AGENT, TENANT_KMS, type SignerKey } from '../signer-key.ts';

export interface MigrationDependencies extends IdentityDependencies {
  /** The product database, with the signing login. */
  pool: Pool;
}

export interface Migration {
  id: string;
  log: JournalLog;
  /** The key that signs now, and hands over. */
  key: SignerKey;
  epochTo: number;
  custody: number;
  /** As the tenant named it; null unless the custody is the tenant's KMS. */
  keyArn: string | null;
  /** The address of the tenant's own signer, as the tenant named it; null for any other custody. */
  ownSigner: Hex | null;
  /** What the approvals name; null until it was looked at. */
  newSigner: Hex | null;
  nonce: Hex;
  /** Unix seconds: the last one for approvals and proof. */
  approvalsExpireAt: number;
  /** Seconds from the signing of a handover to its last second. */
  handoverExpiry: number;
  startedAt: Date;
  /** The command that began it. */
  command: number;
  /** It has ended, or is being undone. */
  stopped: boolean;
}

interface MigrationRow {
  command: number;
  log_id: Buffer;
  epoch_to: number;
  custody: number;
  from_signer: Buffer;
  new_signer: Buffer | null;
  nonce: Buffer;
  approvals_expire_at: number;
  policy: unknown;
  given_up: string | null;
  ended_at: Date | null;
}

/** What `custody.start` says; everything else of it is no business of the signer's. */
const startPayload = z.object({
  ref: z.string(),
  custody: z.number().int(),
  keyArn: z.string().max(2048).optional(),
  signer: z
    .string()
    .regex(/^0x[0-9a-f]{40}$/)
    .optional(),
});
const policy = z.object({ handoverExpiry: z.number().int().positive() });

/** Whatever policy says, approvals and handovers are not good for longer than this, in seconds. */
const LONGEST = 7 * 24 * 60 * 60;

/**
 * @throws failure custody-refused when row, command, journal and our own bounds do not fit together: for a migration of another log
 *   or epoch, or one that no tenant asked for
 */
export async function readMigration(
  deps: MigrationDependencies,
  { tenantId, migrationId }: { tenantId: string; migrationId: string },
): Promise<Migration> {
  const { pool, journal } = deps;
  const log = await identifyLog(deps, tenantId);
  const key = await currentKey(journal, log);
  const { rows } = await pool.query<MigrationRow>(
    `SELECT command, log_id, epoch_to, custody, from_signer, new_signer, nonce, approvals_expire_at, policy, given_up, ended_at
       FROM kiff.custody_migrations WHERE id = $1 AND tenant = $2`,
    [migrationId, tenantId],
  );
  const row = rows[0];
  if (row === undefined) throw failure('custody-refused');
  const { rows: commands } = await pool.query<{ payload: unknown; issued_at: Date }>(
    `SELECT payload, issued_at FROM kiff.custody_evidence($1, '{custody.start}') WHERE id = $2`,
    [tenantId, row.command],
  );
  const start = startPayload.safeParse(commands[0]?.payload);
  const times = policy.safeParse(row.policy);
  const startedAt = commands[0]?.issued_at;
  if (!start.success || !times.success || startedAt === undefined) throw failure('custody-refused');
  const fits =
    start.data.ref === migrationId &&
    start.data.custody === row.custody &&
    toHex(row.log_id) === log.logId &&
    row.approvals_expire_at <= startedAt.getTime() / 1000 + LONGEST &&
    times.data.handoverExpiry <= LONGEST;
  if (!fits) throw failure('custody-refused');
  return {
    id: migrationId,
    log,
    key,
    epochTo: row.epoch_to,
    custody: row.custody,
    keyArn: row.custody === TENANT_KMS ? (start.data.keyArn ?? null) : null,
    ownSigner: row.custody === TENANT_AGENT ? ((start.data.signer ?? null) as Hex | null) : null,
    newSigner: row.new_signer === null ? null : toHex(row.new_signer),
    nonce: toHex(row.nonce),
    approvalsExpireAt: row.approvals_expire_at,
    handoverExpiry: times.data.handoverExpiry,
    startedAt,
    command: row.command,
    stopped: row.given_up !== null || row.ended_at !== null,
  };
}

/** A migration that hands over from the signer of now to the next epoch. @throws failure custody-refused, custody-stopped */
export function requireCurrent(migration: Migration): void {
  if (migration.stopped) throw failure('custody-stopped');
  if (migration.epochTo !== migration.key.epoch + 1) throw failure('custody-refused');
}
