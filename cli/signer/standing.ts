/**
 * What this signer has said so far, and where its log stands by that: the journal's entries, folded. Pure: how entries get to disk
 * and back is the journal's.
 */
import type { CustodyProof, Handover, HandoverAccept, HandoverCancel, Seal } from '../../protocol/eip712.ts';
import { handoverAcceptHash, type Hex } from '../../protocol/index.ts';
import type { Tree } from '../monitor/memory.ts';

/** Where the log stands in the epoch in which this key signs. */
export interface Standing {
  readonly epoch: number;
  readonly seq: number;
  /** Of the seal `seq`; null when it is not known: then the first seal's is taken as it comes. */
  readonly period: number | null;
  readonly head: Hex;
}

/** One line of the journal. A statement is on disk before the key is asked; its signature before it leaves. */
export type Entry =
  | {
      readonly kind: 'begin';
      readonly origin: string;
      readonly logId: Hex;
      readonly chainId: number;
      readonly contract: Hex;
      readonly signer: Hex;
    }
  | StatedEntry
  | { readonly kind: 'signed'; readonly structHash: Hex; readonly signature: Hex }
  /** The operator's word on where the log stands, after a journal was lost or put back from a copy. */
  | { readonly kind: 'declared'; readonly standing: Standing; readonly tree: Tree };

export type StatedEntry = { readonly kind: 'stated'; readonly structHash: Hex } & (
  | { readonly what: 'seal' | 'shadow'; readonly epoch: number; readonly message: Seal }
  | { readonly what: 'proof'; readonly message: CustodyProof }
  | { readonly what: 'handover'; readonly message: Handover }
  /** `standing`: the seal that the acceptance goes on from; null when the log had none, or its head was known otherwise. */
  | {
      readonly what: 'accept';
      readonly message: HandoverAccept;
      readonly period: number | null;
      readonly tree: Tree | null;
    }
  | { readonly what: 'cancel'; readonly message: HandoverCancel }
);

export interface Said {
  /** By struct hash; null until the key has signed. */
  readonly signatures: Map<Hex, Hex | null>;
  readonly kinds: Map<Hex, StatedEntry['what']>;
  /** Seals and trial seals by `<epoch>/<seq>`: one each, for good. */
  readonly seals: Map<string, Hex>;
  /** The newest trial seal's number and hash. */
  shadow: { readonly seq: number; readonly hash: Hex } | null;
  /** The newest tree that was verified. */
  tree: Tree | null;
  /** Null until this key has accepted a log, or its owner has declared where it stands. */
  standing: Standing | null;
  readonly handovers: Map<Hex, Handover>;
  /** By the hash of the handover. */
  readonly accepted: Map<Hex, HandoverAccept>;
  readonly cancelled: Set<Hex>;
  /** Nonces of proofs and handovers → the struct hash that used it. */
  readonly nonces: Map<string, Hex>;
}

export function nothingSaid(): Said {
  return {
    signatures: new Map(),
    kinds: new Map(),
    seals: new Map(),
    shadow: null,
    tree: null,
    standing: null,
    handovers: new Map(),
    accepted: new Map(),
    cancelled: new Set(),
    nonces: new Map(),
  };
}

export const sealKey = (epoch: number, seq: number): string => `${epoch}/${seq}`;
export const nonceKey = (what: 'proof' | 'handover', nonce: Hex): string => `${what} ${nonce}`;

/** Adds an entry, which must be one that may follow. @throws Error when it contradicts what was said before */
export function say(said: Said, entry: Entry): void {
  switch (entry.kind) {
    case 'begin':
      return;
    case 'signed':
      if (!said.signatures.has(entry.structHash)) throw new Error('a signature without its statement');
      said.signatures.set(entry.structHash, entry.signature);
      return;
    case 'declared':
      said.standing = entry.standing;
      said.tree = entry.tree;
      return;
    case 'stated':
      state(said, entry);
  }
}

function state(said: Said, entry: StatedEntry): void {
  const { structHash } = entry;
  if (said.signatures.has(structHash)) throw new Error('a statement twice');
  // First what can fail: an entry counts whole or not at all.
  if (entry.what === 'seal' || entry.what === 'shadow') {
    const key = sealKey(entry.epoch, entry.message.seq);
    if (said.seals.has(key)) throw new Error('a second statement for one seal');
    said.seals.set(key, structHash);
    const { seq, period, treeSize: size, root } = entry.message;
    said.tree = { size, root };
    if (entry.what === 'shadow') said.shadow = { seq, hash: structHash };
    else said.standing = { epoch: entry.epoch, seq, period, head: structHash };
  }
  said.signatures.set(structHash, null);
  said.kinds.set(structHash, entry.what);
  switch (entry.what) {
    case 'seal':
    case 'shadow':
      break;
    case 'proof':
      said.nonces.set(nonceKey('proof', entry.message.nonce), structHash);
      break;
    case 'handover':
      said.nonces.set(nonceKey('handover', entry.message.nonce), structHash);
      said.handovers.set(structHash, entry.message);
      break;
    case 'accept': {
      const { epochTo: epoch, seq, handoverHash } = entry.message;
      said.accepted.set(handoverHash, entry.message);
      said.standing = { epoch, seq, period: entry.period, head: handoverAcceptHash(entry.message) };
      if (entry.tree !== null) said.tree = entry.tree;
      break;
    }
    case 'cancel':
      said.cancelled.add(entry.message.handoverHash);
  }
}
