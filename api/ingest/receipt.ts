/** Builds `kiff.receipt/1` (design section 8), always against the first seal that covers the leaf. */
import type { Pool } from 'pg';
import type { Registry } from '../../protocol/eip712.ts';
import { toHex } from '../../protocol/hex.ts';
import { inclusionProof, verifyInclusion } from '../../protocol/proof.ts';
import type { Receipt } from '../../protocol/receipt.ts';
import { inclusionNodes } from '../../protocol/subtree.ts';
import { tilesForNodes } from '../../protocol/tile.ts';
import type { LogIdentity } from './log-identity.ts';
import { anchorOf, type AnchoredLevel, type SealRow } from './seals.ts';
import type { StoredRecord } from './stored-record.ts';
import { readHandovers } from './successions.ts';
import { damaged, fromTiles } from './tiles.ts';

/**
 * The receipt of a record whose seal stands in a block, or undefined while it does not (receipts exist from `included` on).
 * What it hands out it has checked: a proof that does not lead to the sealed root never leaves.
 * @throws Problem log-damaged when stored tiles are missing, damaged or prove something else; unavailable while not everything
 *   that was signed for a succession before the seal is known here
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
    handovers: await readHandovers(pool, log, epoch),
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
  return fromTiles(pool, schema, needed, (tiles) => inclusionProof(tiles, leafIndex, treeSize));
}
