/** Trees that must each extend the one before, shown by consistency proofs that are computed here, from published tiles. */
import {
  consistencyNodes,
  consistencyProof,
  rootFromTiles,
  rootNodes,
  TileError,
  tilesForNodes,
  TileSet,
  toHex,
  verifyConsistency,
} from '../../protocol/index.ts';
import type { Tree } from './memory.ts';
import type { PublicLog } from './public-log.ts';

/** Trees that are shown in one look; who was away for longer catches up in several. */
const TREES_AT_ONCE = 1_000;

export const same = (a: Tree, b: Tree): boolean => a.size === b.size && a.root === b.root;

/**
 * Follows a line of trees by consistency proofs (RFC 9162 section 2.1.4).
 * @param from null: the first of the line is only held against the tiles
 * @param line by size; what lies before `from` is passed over
 * @param size that the tiles are published for
 * @returns the last tree that was reached, and the first two of which the second does not extend the first
 * @throws PublicLogUnreachable
 */
export async function follow(
  published: Pick<PublicLog, 'tiles'>,
  from: Tree | null,
  line: readonly Tree[],
  size: number,
): Promise<{ broken: readonly [Tree, Tree] | null; reached: Tree | null }> {
  const beyond = line.filter(
    (tree) => from === null || tree.size > from.size || (tree.size === from.size && !same(tree, from)),
  );
  const trees = beyond.slice(0, TREES_AT_ONCE);
  const first = from ?? trees[0];
  if (first === undefined || trees.length === 0) return { broken: null, reached: from };
  const pairs = trees.map((tree, at) => [trees[at - 1] ?? first, tree] as const);
  const nodes = pairs.flatMap(([a, b]) => (isProved(a, b) ? consistencyNodes(a.size, b.size) : rootNodes(b.size)));
  const tiles = new TileSet(await published.tiles(tilesForNodes(nodes, size)));
  let reached = from;
  for (const [a, b] of pairs) {
    if (!extendsBy(tiles, a, b)) return { broken: [a, b], reached };
    reached = b;
  }
  return { broken: null, reached };
}

/** From nothing, or from itself, there is nothing to prove but the tree. */
const isProved = (a: Tree, b: Tree): boolean => a.size > 0 && a.size < b.size;

function extendsBy(tiles: TileSet, a: Tree, b: Tree): boolean {
  // Whatever the tiles say now: one size has one root.
  if (a.size === b.size && !same(a, b)) return false;
  try {
    if (!isProved(a, b)) return toHex(rootFromTiles(tiles, b.size)) === b.root;
    const proof = consistencyProof(tiles, a.size, b.size).map((hash) => toHex(hash));
    return verifyConsistency({ size1: a.size, root1: a.root, size2: b.size, root2: b.root, proof });
  } catch (error) {
    if (error instanceof TileError) return false;
    throw error;
  }
}
