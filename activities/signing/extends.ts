/** Does the stored tree of `size2` leaves extend the one that was stated before? Read from tiles, believed from proofs. */
import type { Pool } from 'pg';
import { toHex, type Hex } from '../../protocol/hex.ts';
import { consistencyProof, verifyConsistency } from '../../protocol/proof.ts';
import { consistencyNodes, rootNodes } from '../../protocol/subtree.ts';
import { rootFromTiles, TileError, tilesForNodes } from '../../protocol/tile.ts';
import { readTiles } from '../log/tiles.ts';

/**
 * True if the tiles give `root` at `size`, and an RFC 9162 section 2.1.4.2 consistency proof from the earlier tree to
 * this one verifies.
 */
export async function treeExtends(
  pool: Pool,
  tenantId: string,
  before: { size: number; root: Hex } | null,
  now: { size: number; root: Hex },
): Promise<boolean> {
  // Every tree extends the empty one: from size 0 there is nothing to prove.
  const from = before === null || before.size === 0 ? null : before;
  if (from !== null && from.size > now.size) return false;
  const nodes = [...rootNodes(now.size), ...(from === null ? [] : consistencyNodes(from.size, now.size))];
  const tiles = await readTiles(pool, tenantId, tilesForNodes(nodes, now.size));
  try {
    if (toHex(rootFromTiles(tiles, now.size)) !== now.root) return false;
    if (from === null) return true;
    const proof = consistencyProof(tiles, from.size, now.size).map((hash) => toHex(hash));
    return verifyConsistency({ size1: from.size, root1: from.root, size2: now.size, root2: now.root, proof });
  } catch (error) {
    if (error instanceof TileError) return false;
    throw error;
  }
}
