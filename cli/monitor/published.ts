/** What the published log says, held against the chain: it must show every tree that was sealed, each as an extension of the last. */
import {
  consistencyNodes,
  consistencyProof,
  rootFromTiles,
  rootNodes,
  TileError,
  tilesForNodes,
  TileSet,
  toHex,
  verifyCheckpoint,
  verifyConsistency,
  type ChainRecord,
  type Checkpoint,
  type PolicyLog,
} from '../../protocol/index.ts';
import type { Finding } from './findings.ts';
import type { LogMemory, SignedTree, Tree } from './memory.ts';
import type { PublicLog } from './public-log.ts';

export interface PublishedLook {
  readonly findings: readonly Finding[];
  readonly shown: Tree | null;
  readonly ahead: readonly SignedTree[];
}

/** Trees that are shown in one look; a monitor that was away for longer catches up in several. */
const TREES_AT_ONCE = 1_000;

/** @throws PublicLogUnreachable */
export async function lookAtPublished(
  log: PolicyLog,
  published: PublicLog,
  memory: LogMemory,
  record: ChainRecord,
): Promise<PublishedLook> {
  const note = await published.checkpoint();
  const { shown, ahead } = memory;
  const onChain = treesOnChain(memory, record);
  const newest = onChain.at(-1) ?? null;
  if (note === null) {
    return { findings: newest === null ? [] : [lag(newest, null)], shown, ahead };
  }
  const checkpoint = read(note, log);
  if (checkpoint === null) {
    const says = 'The published checkpoint is not signed by a key that the policy names.';
    return { findings: [{ name: 'checkpoint-unsigned', key: '', says, facts: { checkpoint: note } }], shown, ahead };
  }

  const findings: Finding[] = [];
  const tree = { size: checkpoint.size, root: checkpoint.root, checkpoint: note };
  // Each checkpoint is of a sealed tree, at once or in the end; one that the chain has passed by is of none.
  const waiting: SignedTree[] = [];
  for (const one of [...ahead.filter((other) => !same(other, tree)), tree]) {
    const standing = onChain.findLast(({ size }) => size === one.size);
    if (standing !== undefined) {
      if (standing.root !== one.root) findings.push(differs(one, standing));
    } else if (newest === null || newest.size < one.size) {
      waiting.push(one);
    } else if (onChain[0] !== undefined && onChain[0].size < one.size) {
      findings.push(differs(one, null));
    }
  }
  if (newest !== null && tree.size < newest.size) findings.push(lag(newest, tree));

  const line = [...onChain.filter(({ size }) => size <= tree.size), ...waiting.filter((one) => same(one, tree))];
  const { findings: breaks, reached } = await follow(published, shown, line, tree.size);
  findings.push(...breaks);
  // What is not on chain yet does not count as shown: another tree may be sealed in the end.
  const last = reached === null ? undefined : onChain.findLast(({ size }) => size <= reached.size);
  return { findings, shown: last ?? shown, ahead: waiting };
}

const same = (a: Tree, b: Tree): boolean => a.size === b.size && a.root === b.root;

/** Trees that the contract has, in order, each once: the last final one, and those since. */
function treesOnChain({ sealed }: LogMemory, { seals }: ChainRecord): Tree[] {
  const trees = sealed === null ? [] : [sealed];
  for (const { treeSize: size, root } of seals.values()) {
    const last = trees.at(-1);
    if (last === undefined || !same(last, { size, root })) trees.push({ size, root });
  }
  return trees;
}

function read(note: string, { origin, checkpointKeys = [] }: PolicyLog): Checkpoint | null {
  for (const publicKey of checkpointKeys) {
    const checkpoint = verifyCheckpoint(note, { origin, publicKey });
    if (checkpoint !== undefined) return checkpoint;
  }
  return null;
}

/**
 * Follows a line of trees by consistency proofs (RFC 9162 section 2.1.4) that are computed here, from published tiles.
 * @param size that the tiles are published for
 */
async function follow(
  published: PublicLog,
  from: Tree | null,
  line: readonly Tree[],
  size: number,
): Promise<{ findings: readonly Finding[]; reached: Tree | null }> {
  const beyond = line.filter(
    (tree) => from === null || tree.size > from.size || (tree.size === from.size && !same(tree, from)),
  );
  const trees = beyond.slice(0, TREES_AT_ONCE);
  const first = from ?? trees[0];
  if (first === undefined || trees.length === 0) return { findings: [], reached: from };
  const pairs = trees.map((tree, at) => [trees[at - 1] ?? first, tree] as const);
  const nodes = pairs.flatMap(([a, b]) => (isProved(a, b) ? consistencyNodes(a.size, b.size) : rootNodes(b.size)));
  const tiles = new TileSet(await published.tiles(tilesForNodes(nodes, size)));
  let reached = from;
  for (const [a, b] of pairs) {
    if (!extendsBy(tiles, a, b)) return { findings: [notAnExtension(a, b)], reached };
    reached = b;
  }
  return { findings: [], reached };
}

/** From nothing, or from itself, there is nothing to prove but the tree. */
const isProved = (a: Tree, b: Tree): boolean => a.size > 0 && a.size < b.size;

function extendsBy(tiles: TileSet, a: Tree, b: Tree): boolean {
  try {
    if (!isProved(a, b)) return toHex(rootFromTiles(tiles, b.size)) === b.root;
    const proof = consistencyProof(tiles, a.size, b.size).map((hash) => toHex(hash));
    return verifyConsistency({ size1: a.size, root1: a.root, size2: b.size, root2: b.root, proof });
  } catch (error) {
    if (error instanceof TileError) return false;
    throw error;
  }
}

function notAnExtension(a: Tree, b: Tree): Finding {
  return {
    name: 'not-an-extension',
    key: `${a.size}-${b.size}`,
    says: `The published tiles do not show that the tree of ${b.size} records extends the one of ${a.size}.`,
    facts: { size1: a.size, root1: a.root, size2: b.size, root2: b.root },
  };
}

function lag(onChain: Tree, published: Tree | null): Finding {
  return {
    name: 'public-log-behind',
    key: '',
    says: `${onChain.size} records are sealed on chain, and ${published?.size ?? 'none'} are published.`,
    facts: { sealed: onChain.size, published: published?.size ?? 0 },
  };
}

function differs({ size, root, checkpoint }: SignedTree, onChain: Tree | null): Finding {
  const says =
    onChain === null
      ? `A signed checkpoint of ${size} records was never sealed, and the log went on.`
      : `A signed checkpoint of ${size} records has another root than the seal on chain.`;
  const facts = { size, root, ...(onChain !== null && { sealedRoot: onChain.root }), checkpoint };
  return { name: 'checkpoint-differs', key: `${size}-${root}`, says, facts };
}
