/** Seals as this API shows them, and which one covers a leaf. */
import type { Pool } from 'pg';
import { z } from 'zod';
import { toHex, type Hex } from '../../protocol/hex.ts';
import type { ChainPosition } from '../../protocol/receipt.ts';
import { count, dateTime, hex, unixSeconds } from '../http/shapes.ts';
import type { LogIdentity } from './log-identity.ts';
import { chainPosition } from './receipt-shape.ts';

export const levelShape = z
  .enum(['accepted', 'sealed', 'included', 'safe', 'final'])
  .meta({ id: 'Level', description: 'How far a record has come. Nothing is confirmed that is not final.' });

/** How far a record has come (design section 2). */
export type Level = z.infer<typeof levelShape>;

const sealLevelShape = z.enum(['collected', 'hashed', 'sealed', 'included', 'safe', 'final']);

/** How far a seal has come: before it is signed it is cut (`collected`) and has a root (`hashed`). */
export type SealLevel = z.infer<typeof sealLevelShape>;

/** Levels of what stands in a block: from here on there are receipts. */
export type AnchoredLevel = 'included' | 'safe' | 'final';

export interface SealRow {
  seq: number;
  period: number;
  tree_size: number;
  level: SealLevel;
  root: Buffer | null;
  prev: Buffer | null;
  seal_hash: Buffer | null;
  epoch: number | null;
  signer: Buffer | null;
  signature: Buffer | null;
  checkpoint: string | null;
  tx_hash: Buffer | null;
  block_number: number | null;
  block_hash: Buffer | null;
  log_index: number | null;
}

const COLUMNS = `seq, period, tree_size, level, root, prev, seal_hash, epoch, signer, signature, checkpoint, tx_hash,
  block_number, block_hash, log_index`;

export const sealShape = z
  .object({
    logId: hex(32),
    seq: count,
    period: unixSeconds.describe('The first second of the sealed period'),
    treeSize: count,
    level: sealLevelShape,
    root: hex(32).nullable(),
    prev: hex(32).nullable(),
    sealHash: hex(32).nullable(),
    signer: hex(20).nullable(),
    epoch: count.nullable(),
    signature: hex(65).nullable(),
    checkpoint: z.string().nullable().describe('The operator’s signed note (C2SP) for this size and root'),
    anchor: chainPosition.nullable(),
  })
  .meta({
    id: 'Seal',
    description:
      'What is not there yet is null: the root until hashed, the signature until sealed, the anchor until included.',
  });

export type SealView = z.infer<typeof sealShape>;

/** What keeps a log's seals from being signed; a person on our side has to put it right. */
export const signingShape = z
  .object({
    blocked: z
      .enum(['kms-refused', 'kms-denied', 'policy-drift', 'foreign-signature'])
      .describe(
        'The key is disabled or gone; access to it is denied; its policy drifted; what it answers is not its signature',
      ),
    since: dateTime,
  })
  .meta({ id: 'Signing' });

/** Null when nothing is in the way. */
export async function signingBlocked(
  pool: Pick<Pool, 'query'>,
  tenant: string,
): Promise<z.infer<typeof signingShape> | null> {
  const { rows } = await pool.query<{ blocked: z.infer<typeof signingShape>['blocked']; since: Date }>(
    `SELECT signing_blocked AS blocked, signing_blocked_at AS since
       FROM kiff.logs WHERE tenant = $1 AND signing_blocked IS NOT NULL`,
    [tenant],
  );
  const row = rows[0];
  return row === undefined ? null : { blocked: row.blocked, since: row.since.toISOString() };
}

/** The level of a leaf from the seal that covers it first; none, or one without a signature, leaves it `accepted`. */
export function leafLevel(seal: Pick<SealRow, 'level'> | undefined): Level {
  return seal === undefined || seal.level === 'collected' || seal.level === 'hashed' ? 'accepted' : seal.level;
}

/**
 * The first seal that covers a leaf: the one of the period that the leaf was received in, since a cut counts exactly what
 * was received before its period's end. (So it is found by an index, however many seals there are.)
 */
export async function coveringSeal(
  pool: Pick<Pool, 'query'>,
  schema: string,
  leaf: { leafIndex: number; period: number },
): Promise<SealRow | undefined> {
  const { rows } = await pool.query<SealRow>(
    `SELECT ${COLUMNS} FROM ${schema}.seals
      WHERE period >= $1 AND tree_size > $2 ORDER BY period LIMIT 1`,
    [leaf.period, leaf.leafIndex],
  );
  return rows[0];
}

/** The levels of the seals of some periods; periods without a seal are not in the answer. */
export async function sealLevels(
  pool: Pick<Pool, 'query'>,
  schema: string,
  periods: readonly number[],
): Promise<Map<number, SealLevel>> {
  const { rows } = await pool.query<{ period: number; level: SealLevel }>(
    `SELECT period, level FROM ${schema}.seals WHERE period = ANY ($1::bigint[])`,
    [periods],
  );
  return new Map(rows.map(({ period, level }) => [period, level]));
}

/** Seals after `after` in order of seq, at most `limit`. */
export async function listSeals(
  pool: Pick<Pool, 'query'>,
  schema: string,
  { after, limit }: { after: number; limit: number },
): Promise<SealRow[]> {
  const { rows } = await pool.query<SealRow>(
    `SELECT ${COLUMNS} FROM ${schema}.seals WHERE seq > $1 ORDER BY seq LIMIT $2`,
    [after, limit],
  );
  return rows;
}

export async function findSeal(pool: Pick<Pool, 'query'>, schema: string, seq: number): Promise<SealRow | undefined> {
  const { rows } = await pool.query<SealRow>(`SELECT ${COLUMNS} FROM ${schema}.seals WHERE seq = $1`, [seq]);
  return rows[0];
}

/** How far a log is signed: its last signed seal (0 when none is), and how many behind it have a root only. */
export async function readSigned(
  pool: Pick<Pool, 'query'>,
  { schema }: Pick<LogIdentity, 'schema'>,
): Promise<{ signedSeq: number; unsigned: number }> {
  const { rows } = await pool.query<{ signedSeq: number; unsigned: number }>(
    `SELECT coalesce((SELECT seq FROM ${schema}.seals WHERE signature IS NOT NULL ORDER BY seq DESC LIMIT 1), 0) AS "signedSeq",
            (SELECT count(*)::integer FROM ${schema}.seals WHERE level = 'hashed') AS unsigned`,
  );
  return rows[0]!;
}

export function sealView(row: SealRow, { logId }: Pick<LogIdentity, 'logId'>): SealView {
  return {
    logId,
    seq: row.seq,
    period: row.period,
    treeSize: row.tree_size,
    level: row.level,
    root: hexOf(row.root),
    prev: hexOf(row.prev),
    sealHash: hexOf(row.seal_hash),
    signer: hexOf(row.signer),
    epoch: row.epoch,
    signature: hexOf(row.signature),
    checkpoint: row.checkpoint,
    anchor: anchorOf(row),
  };
}

function hexOf(bytes: Buffer | null): Hex | null {
  return bytes === null ? null : toHex(bytes);
}

/** Where the seal stands on chain; null until it does (the table allows all four columns or none). */
export function anchorOf(row: SealRow): ChainPosition | null {
  const { tx_hash, block_number, block_hash, log_index } = row;
  if (tx_hash === null || block_number === null || block_hash === null || log_index === null) return null;
  return { txHash: toHex(tx_hash), blockNumber: block_number, blockHash: toHex(block_hash), logIndex: log_index };
}
