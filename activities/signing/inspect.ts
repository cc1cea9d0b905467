/**
 * What the signer sees for itself before it states anything new (design section 3, wall 3). It takes no leaf hash and no root
 * from the sealing worker: it reads the new entries and hashes them, so that a stolen sealing credential, which can write tiles
 * and roots and no records, gets nothing signed that was never accepted.
 *
 * Of what was sealed before it reads a part each time, in turn, so that no stored byte stays unread for good.
 */
import type { Pool } from 'pg';
import type { Seal } from '../../protocol/eip712.ts';
import { extendTiles } from '../../protocol/extend.ts';
import { HASH_SIZE } from '../../protocol/hash.ts';
import { equalBytes, fromHex, toHex, type Hex } from '../../protocol/hex.ts';
import { TileSet } from '../../protocol/tile.ts';
import { tenantSchema } from '../../sql/login.ts';
import { failure } from '../failures.ts';
import { knownEdge, requireLeaves, sha256 } from '../log/audit.ts';
import { LEAF_PAGE, readLeaves } from '../log/leaves.ts';
import { requireTiles } from '../log/tiles.ts';
import { treeExtends } from './extends.ts';
import type { Statement } from './journal.ts';

/**
 * Old leaves that are read again before a new statement: a log of up to that many is read whole each time, a larger one in turn. A
 * multiple of a tile's width that divides 256 tiles, so that a part has one tile of level 1 above it.
 */
const OLD_LEAVES = 16_384;

export interface Inspected {
  pool: Pool;
  tenantId: string;
  /** Called after every page, with the number of leaves that were read up to then. */
  progress: (leaf: number) => void;
}

/**
 * Reads the entries that `seal` adds to the journal's last statement, hashes them, and requires that they are dated in the seal's
 * period, that the stored tiles are theirs, and that the seal's root is.
 * @param periodSeconds P of the log
 * @throws failure record-missing, record-altered, tile-altered, seal-altered, not-an-extension
 */
export async function inspectExtension(
  { pool, tenantId, progress }: Inspected,
  periodSeconds: number,
  before: Seal | null,
  seal: Seal,
): Promise<void> {
  const { seq, period, treeSize } = seal;
  const begins = before?.treeSize ?? 0;
  if (begins > treeSize) throw failure('not-an-extension', { seq });
  const edge = await edgeOf(pool, tenantId, before);
  if (edge === null) throw failure('not-an-extension', { seq });

  const schema = tenantSchema(tenantId);
  const opens = period * 1000;
  const closes = (period + periodSeconds) * 1000;
  await requireEnd(pool, schema, seal, closes);
  let last = opens;
  const tree = extendTiles(begins, edge, sha256);
  while (tree.size < treeSize) {
    const from = tree.size;
    const to = Math.min(treeSize, from + LEAF_PAGE);
    const leaves = await readLeaves(pool, schema, from, to, sha256);
    for (const [offset, { receivedAt }] of leaves.entries()) {
      // Order of index is order of time; and the cut lies where the times say.
      if (receivedAt < last) throw failure('record-altered', { index: from + offset });
      if (receivedAt >= closes) throw failure('seal-altered', { seq });
      last = receivedAt;
    }
    await requireBodies(pool, schema, from, to);
    tree.append(leaves.map(({ hash }) => hash));
    await requireTiles(pool, tenantId, tree.drain());
    progress(to);
  }
  if (toHex(tree.root()) !== seal.root) throw failure('seal-altered', { seq });
  // What everybody's proofs will be made from proves it too.
  const from = before === null ? null : { size: before.treeSize, root: before.root };
  if (!(await treeExtends(pool, tenantId, from, { size: treeSize, root: seal.root }))) {
    throw failure('not-an-extension', { seq });
  }
}

/**
 * Holds a part of what was sealed before, which part goes by `last.seq`, against the journal: leaves with everything above
 * them, and their bodies.
 * @throws failure record-missing, record-altered, tile-altered, not-an-extension
 */
export async function inspectOldLeaves({ pool, tenantId, progress }: Inspected, last: Seal): Promise<void> {
  const { seq, treeSize: size } = last;
  const edge = await edgeOf(pool, tenantId, last);
  if (edge === null) throw failure('not-an-extension', { seq });
  const parts = Math.max(1, Math.ceil(size / OLD_LEAVES));
  const from = (seq % parts) * OLD_LEAVES;
  const to = Math.min(size, from + OLD_LEAVES);
  await requireLeaves(pool, tenantId, { size, edge }, { from, to });
  const schema = tenantSchema(tenantId);
  for (let page = from; page < to; page += LEAF_PAGE)
    await requireBodies(pool, schema, page, Math.min(to, page + LEAF_PAGE));
  progress(to);
}

/**
 * Holds stored seals against the statements that the journal has of them.
 * @param signers the log's, by epoch
 * @param statements in order of seq
 * @throws failure seal-altered
 */
export async function inspectSeals(
  pool: Pool,
  tenantId: string,
  signers: readonly Uint8Array[],
  statements: readonly Statement[],
): Promise<void> {
  const { rows } = await pool.query<{
    seq: number;
    period: number;
    tree_size: number;
    root: Buffer | null;
    prev: Buffer | null;
    seal_hash: Buffer | null;
    epoch: number | null;
    signer: Buffer | null;
    signature: Buffer | null;
    checkpoint: string | null;
  }>(
    `SELECT seq, period, tree_size, root, prev, seal_hash, epoch, signer, signature, checkpoint
       FROM ${tenantSchema(tenantId)}.seals WHERE seq = ANY ($1::integer[])`,
    [statements.map(({ seal }) => seal.seq)],
  );
  const stored = new Map(rows.map((row) => [row.seq, row]));
  for (const { seal, epoch, sealHash, signature, checkpoint, rebuilt } of statements) {
    const row = stored.get(seal.seq);
    const signer = signers[epoch];
    const same =
      row !== undefined &&
      row.period === seal.period &&
      row.tree_size === seal.treeSize &&
      is(row.root, seal.root) &&
      // A statement that was interrupted is signed, or its signature recorded, by whoever comes next; its checkpoint may be there.
      ((row.signature === null && (row.checkpoint === null || checkpoint === null || row.checkpoint === checkpoint)) ||
        (row.signature !== null &&
          is(row.prev, seal.prev) &&
          is(row.seal_hash, sealHash) &&
          row.epoch === epoch &&
          row.signer !== null &&
          signer !== undefined &&
          equalBytes(row.signer, signer) &&
          // What was taken from the chain came without them.
          (rebuilt || (is(row.signature, signature) && row.checkpoint === checkpoint))));
    if (!same) throw failure('seal-altered', { seq: seal.seq });
  }
}

/** The right-edge tiles of a journaled tree; null when they do not give its root and nothing below them says why. */
async function edgeOf(pool: Pool, tenantId: string, seal: Seal | null): Promise<TileSet | null> {
  if (seal === null) return new TileSet([]);
  return knownEdge(pool, tenantId, { size: seal.treeSize, root: fromHex(seal.root, HASH_SIZE) });
}

/** Bodies that were not erased are what their entries commit to. */
async function requireBodies(pool: Pool, schema: string, from: number, to: number): Promise<void> {
  const { rows } = await pool.query<{ index: number }>(
    `SELECT index FROM ${schema}.unkept_commitments($1, $2) AS u (index) ORDER BY index LIMIT 1`,
    [from, to],
  );
  const first = rows[0];
  if (first !== undefined) throw failure('record-altered', { index: first.index });
}

/** The seal ends where records end, or before one that is not of its period. */
async function requireEnd(pool: Pool, schema: string, { seq, treeSize }: Seal, closes: number): Promise<void> {
  const { rows } = await pool.query(
    `SELECT FROM ${schema}.log_head h LEFT JOIN ${schema}.records r ON r.leaf_index = $1
      WHERE h.size >= $1 AND (r.received_at IS NULL OR r.received_at >= to_timestamp($2::float8 / 1000))`,
    [treeSize, closes],
  );
  if (rows.length === 0) throw failure('seal-altered', { seq });
}

function is(stored: Buffer | null, known: Hex | null): boolean {
  return stored !== null && known !== null && toHex(stored) === known;
}
