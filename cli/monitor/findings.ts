/** What a look at a log can find. Words and shapes here are what scripts read: they are added to, never renamed. */
/** Lasts until a later look finds it gone. */
type Standing =
  /** A period is over since more than another one, and its seal is not on chain. */
  | 'seal-overdue'
  /** The node's newest block is old. */
  | 'rpc-behind'
  | 'rpc-unreachable'
  | 'public-log-unreachable'
  /** What is published covers less than what is sealed on chain. */
  | 'public-log-behind'
  /** A checkpoint without a valid signature by a key of the policy. */
  | 'checkpoint-unsigned'
  /** The published tiles do not show that a tree extends the one before it. */
  | 'not-an-extension';

/** Lasts for good: what was seen once cannot be unseen. */
type Lasting =
  /** The contract, or its events, are not what was final before, or do not fit together. */
  | 'chain-differs'
  /** A signed checkpoint of a tree that the contract does not have. */
  | 'checkpoint-differs';

/** Happened, and is told once. */
type Happening =
  | 'seal-late'
  | 'handover-proposed'
  | 'handover-cancelled'
  /** Another key signs this log from now on, and the policy does not name it. */
  | 'signer-changed';

type FindingName = Standing | Lasting | Happening;

/** Facts beside the sentence: numbers, hashes, a signed checkpoint as evidence. */
type Facts = Readonly<Record<string, string | number>>;

export interface Finding {
  readonly name: FindingName;
  /** Tells two findings of one name apart. */
  readonly key: string;
  readonly says: string;
  readonly facts: Facts;
}

/** A finding that happened, and in which block. */
export interface Event extends Finding {
  readonly name: Happening;
  readonly blockNumber: number;
}

const LASTING: ReadonlySet<string> = new Set<Lasting>(['chain-differs', 'checkpoint-differs']);

export function isLasting(name: string): boolean {
  return LASTING.has(name);
}
