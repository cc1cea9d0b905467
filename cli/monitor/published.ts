/** What the published log says, held against the chain: it must show every tree that was sealed, each as an extension of the last. */
import { verifyCheckpoint, type ChainRecord, type Checkpoint, type PolicyLog } from '../../protocol/index.ts';
import type { Finding } from './findings.ts';
import type { LogMemory, SignedTree, Tree } from './memory.ts';
import type { PublicLog } from './public-log.ts';
import { follow, same } from './tree-line.ts';

export interface PublishedLook {
  readonly findings: readonly Finding[];
  readonly shown: Tree | null;
  readonly ahead: readonly SignedTree[];
}

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
  const { broken, reached } = await follow(published, shown, line, tree.size);
  if (broken !== null) findings.push(notAnExtension(...broken));
  // What is not on chain yet does not count as shown: another tree may be sealed in the end.
  const last = reached === null ? undefined : onChain.findLast(({ size }) => size <= reached.size);
  return { findings, shown: last ?? shown, ahead: waiting };
}

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
