/** Builds `kiff.receipt/1` (design section 8), always against the first seal that covers the leaf. */
import type { Pool } from 'pg';
import type { Registry } from '../../protocol/eip712.ts';
import { toHex } from '../../protocol/hex.ts';
import { inclusionProof, verifyInclusion } from '../../protocol/proof.ts';
import type { Receipt } from '../../protocol/receipt.ts';
import { inclusionNodes } from '../../protocol/subtree.ts';
import { TileError, TileSet, tilesForNodes } from '../../protocol/tile.ts';
import { Problem } from '../http/problems.ts';
import type { LogIdentity } from './log-identity.ts';
import { anchorOf, type AnchoredLevel, type SealRow } from './seals.ts';
import type { StoredRecord } from './stored-record.ts';

/**
 * The receipt of a record whose seal stands in a block, or undefined while it does not (receipts exist from `included` on).
 * What it hands out it has checked: a proof that does not lead to the sealed root never leaves.
 * @throws Problem log-damaged when stored tiles are missing, damaged or prove something else
 */
export async function buildReceipt(
  pool: Pick<Pool, 'query'>,
  log: LogIdentity,
  registry: Registry,
  record: StoredRecord,
  seal: SealRow,
): Promise<Receipt | undefined> {
  const anchor = anchorOf(seal);
  const { root, prev, signer, epoch, signature, level } = seal;
  if (anchor === null || !isAnchored(level)) return undefined;
  if (root === null || prev === null || signer === null || epoch === null || signature === null) return undefined;

  const { leafIndex, leafHash } = record;
  const treeSize = seal.tree_size;
  const inclusion = (await prove(pool, log.schema, leafIndex, treeSize)).map(toHex);
  if (!verifyInclusion({ leafHash, leafIndex, treeSize, inclusion, root: toHex(root) })) throw damaged();

  return {
    format: 'kiff.receipt/1',
    origin: log.origin,
    genesisSigner: log.genesisSigner,
    registry: { chainId: registry.chainId, contract: registry.contract },
    entry: record.entry,
    disclosure: record.disclosure && {
      salt: toHex(record.disclosure.salt),
      body: record.disclosure.body.toString('utf8'),
    },
    leafIndex,
    inclusion,
    seal: {
      logId: log.logId,
      seq: seal.seq,
      period: seal.period,
      treeSize,
      root: toHex(root),
      prev: toHex(prev),
      signer: toHex(signer),
      epoch,
      signature: toHex(signature),
    },
    checkpoint: seal.checkpoint,
    handovers: [],
    anchor: { ...anchor, level },
  };
}

function isAnchored(level: SealRow['level']): level is AnchoredLevel {
  return level === 'included' || level === 'safe' || level === 'final';
}

async function prove(
  pool: Pick<Pool, 'query'>,
  schema: string,
  leafIndex: number,
  treeSize: number,
): Promise<Uint8Array[]> {
  const needed = tilesForNodes(inclusionNodes(leafIndex, treeSize), treeSize);
  const { rows } = await pool.query<{ level: number; index: number; hashes: Buffer }>(
    `SELECT t.level, t.index, t.hashes
       FROM unnest($1::smallint[], $2::bigint[]) AS u (level, index)
       JOIN ${schema}.tiles t USING (level, index)`,
    [needed.map((tile) => tile.level), needed.map((tile) => tile.index)],
  );
  try {
    return inclusionProof(new TileSet(rows), leafIndex, treeSize);
  } catch (error) {
    if (error instanceof TileError) throw damaged(error);
    throw error;
  }
}

function damaged(cause?: unknown): Problem {
  return new Problem('log-damaged', 'The stored log does not lead to its sealed root; nothing false is handed out.', {
    cause,
  });
}
