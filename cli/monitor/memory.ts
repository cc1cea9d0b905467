/**
 * What the monitor remembers of each log: how far everything is final and was looked at, and what it has told. It is the one
 * thing that a log's operator cannot rewrite, so it is written whole and durably, or not at all.
 */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { z } from 'zod';
import type { EventPlace, Hex, LogState, Policy } from '../../protocol/index.ts';
import { UsageError } from '../command.ts';

/** A tree by its size and root. */
export interface Tree {
  readonly size: number;
  readonly root: Hex;
}

/** A tree that the operator signed, with its note: the evidence. */
export interface SignedTree extends Tree {
  readonly checkpoint: string;
}

/** A finding that was told and still stands. */
export interface OpenFinding {
  readonly name: string;
  readonly key: string;
  readonly since: string;
}

export interface LogMemory {
  /** The newest block at the first look; what came before it is past. Null before the first look. */
  readonly since: number | null;
  /** Everything up to this place is final. */
  readonly place: EventPlace;
  /** The contract's own state of the log there. */
  readonly state: LogState;
  /** The last final seal's tree. */
  readonly sealed: Tree | null;
  /** The newest tree on chain of which the published tiles showed that it extends the one before. */
  readonly shown: Tree | null;
  /** Signed checkpoints that are larger than what was on chain when they were seen. */
  readonly ahead: readonly SignedTree[];
  /** What happened in blocks that are not final yet and was told. */
  readonly told: readonly { readonly key: string; readonly blockNumber: number }[];
  readonly open: readonly OpenFinding[];
}

export interface Memory {
  readonly logs: Map<string, LogMemory>;
  save(): void;
}

const hex = (bytes: number) =>
  z
    .string()
    .regex(new RegExp(`^0x[0-9a-f]{${2 * bytes}}$`))
    .transform((text) => text as Hex);
const count = z.int().min(0);
const tree = z.object({ size: count, root: hex(32) });
const log = z.object({
  since: count.nullable(),
  place: z.object({ blockNumber: count, logIndex: count }),
  state: z.object({
    signer: hex(20),
    epoch: count,
    seq: count,
    period: count,
    treeSize: count,
    head: hex(32),
  }),
  sealed: tree.nullable(),
  shown: tree.nullable(),
  ahead: z.array(tree.extend({ checkpoint: z.string() })),
  told: z.array(z.object({ key: z.string(), blockNumber: count })),
  open: z.array(z.object({ name: z.string(), key: z.string(), since: z.string() })),
});
const file = z.object({
  format: z.literal('kiff.monitor/1'),
  registry: z.object({ chainId: count, contract: hex(20) }),
  logs: z.record(z.string(), log),
});

function read(path: string): z.infer<typeof file> | null {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw new UsageError(
      `the state cannot be read: ${error instanceof Error && 'code' in error ? String(error.code) : 'unreadable'}`,
    );
  }
  try {
    return file.parse(JSON.parse(text));
  } catch {
    throw new UsageError('the state is not a file that this program wrote');
  }
}

/** Written beside, made durable, and put in place in one step. */
function write(path: string, text: string): void {
  const beside = `${path}.new`;
  const descriptor = openSync(beside, 'w', 0o600);
  try {
    writeSync(descriptor, text);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  renameSync(beside, path);
  const folder = openSync(dirname(path), 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

/**
 * Opens the memory at `path`, or begins a new one.
 * @throws UsageError when the file is not a memory of this contract
 */
export function openMemory(path: string, { registry }: Policy): Memory {
  const { chainId, contract } = registry;
  const known = read(path);
  if (known !== null && (known.registry.chainId !== chainId || known.registry.contract !== contract)) {
    throw new UsageError("the state is of another contract than the policy's");
  }
  const logs = new Map<string, LogMemory>(Object.entries(known?.logs ?? {}));
  return {
    logs,
    save() {
      const stored = { format: 'kiff.monitor/1', registry: { chainId, contract }, logs: Object.fromEntries(logs) };
      write(path, `${JSON.stringify(stored)}\n`);
    },
  };
}
