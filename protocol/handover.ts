/** Successions of a log's signer: hashes, digests, and what their signatures prove without a chain (design 7 and 8). */
import {
  HANDOVER,
  HANDOVER_ACCEPT,
  HANDOVER_CANCEL,
  hashStruct,
  typedDigest,
  type Handover,
  type HandoverAccept,
  type HandoverCancel,
  type Registry,
  type Seal,
} from './eip712.ts';
import type { Hex } from './hex.ts';
import { NO_HEAD } from './seal.ts';
import { recoverSigner, SignatureError } from './signature.ts';

/** One succession as the two keys signed it. */
export interface SignedHandover {
  readonly handover: Handover;
  readonly fromSignature: Hex;
  readonly toSignature: Hex;
  readonly accept: HandoverAccept;
  readonly acceptSignature: Hex;
}

/** A log's history of signers up to one of its seals: what `handoverFault` judges. */
export interface Succession {
  readonly registry: Registry;
  readonly genesisSigner: Hex;
  readonly seal: Seal & { readonly signer: Hex; readonly epoch: number };
  readonly handovers: readonly SignedHandover[];
}

const ZERO_ADDRESS: Hex = `0x${'00'.repeat(20)}`;

/** Struct hash of a handover: what the contract calls `handoverHash`. */
export function handoverHash(handover: Handover): Hex {
  return hashStruct(HANDOVER, handover);
}

/** The digest that both keys sign, the new one first. */
export function handoverDigest(registry: Registry, handover: Handover): Hex {
  return typedDigest(registry, handoverHash(handover));
}

/** Struct hash of an acceptance: the log's head after it. */
export function handoverAcceptHash(accept: HandoverAccept): Hex {
  return hashStruct(HANDOVER_ACCEPT, accept);
}

/** The digest that the new key signs. Signing it is the point of no return. */
export function handoverAcceptDigest(registry: Registry, accept: HandoverAccept): Hex {
  return typedDigest(registry, handoverAcceptHash(accept));
}

/** Struct hash of a cancellation. */
export function handoverCancelHash(cancel: HandoverCancel): Hex {
  return hashStruct(HANDOVER_CANCEL, cancel);
}

/** The digest that either key signs to kill a handover. */
export function handoverCancelDigest(registry: Registry, cancel: HandoverCancel): Hex {
  return typedDigest(registry, handoverCancelHash(cancel));
}

function signatureFault(what: string, signer: Hex, digest: Hex, signature: Hex): string | undefined {
  try {
    const recovered = recoverSigner(digest, signature);
    return recovered === signer ? undefined : `${what} is by ${recovered}, not by ${signer}`;
  } catch (error) {
    if (error instanceof SignatureError) return `${what} is no signature: ${error.message}`;
    throw error;
  }
}

/** Where a log stood before a handover: its signer, and the head right after the seal (or the acceptance) at `seq`. */
export interface Standing {
  readonly signer: Hex;
  readonly seq: number;
  readonly head: Hex;
}

/** What is wrong with the handover to `epochTo`, given where the log stood at the statement before it that is known. */
export function oneHandoverFault(
  { registry, logId }: { readonly registry: Registry; readonly logId: Hex },
  item: SignedHandover,
  epochTo: number,
  before: Standing,
): string | undefined {
  const { handover, accept } = item;
  if (handover.logId !== logId || accept.logId !== logId) return 'it is about another log';
  if (handover.epochTo !== epochTo || accept.epochTo !== epochTo) return `its place in the list is epoch ${epochTo}`;
  if (handover.from !== before.signer)
    return `it hands over from ${handover.from}, but the signer was ${before.signer}`;
  if (handover.to === handover.from || handover.to === ZERO_ADDRESS) return 'its successor is nobody new';
  if (handover.custody < 1 || handover.custody > 3) return `there is no custody ${handover.custody}`;
  if (handover.notBefore >= handover.expiresAt) return 'it expires before it may begin';
  if (accept.handoverHash !== handoverHash(handover)) return 'the acceptance is of another handover';
  if (accept.seq < before.seq) return `it was accepted at seq ${accept.seq}, after one accepted at seq ${before.seq}`;
  // No seal in between: the head that it names is known.
  if (accept.seq === before.seq && accept.head !== before.head)
    return 'the acceptance does not follow the head before it';
  const digest = handoverDigest(registry, handover);
  return (
    signatureFault('fromSignature', handover.from, digest, item.fromSignature) ??
    signatureFault('toSignature', handover.to, digest, item.toSignature) ??
    signatureFault('acceptSignature', handover.to, handoverAcceptDigest(registry, accept), item.acceptSignature)
  );
}

/**
 * Follows the log's signers from genesis to the seal's (design section 8) and returns what breaks the line, or undefined.
 * It needs no chain, and so proves that the seal's signer once was the log's, not that it still was at this seq.
 */
export function handoverFault(succession: Succession): string | undefined {
  const { registry, genesisSigner, seal, handovers } = succession;
  if (handovers.length !== seal.epoch) {
    return `the seal is of epoch ${seal.epoch}, which takes as many handovers, but there are ${handovers.length}`;
  }
  let before: Standing = { signer: genesisSigner, seq: 0, head: NO_HEAD };
  for (const [index, item] of handovers.entries()) {
    const epochTo = index + 1;
    const fault = oneHandoverFault({ registry, logId: seal.logId }, item, epochTo, before);
    if (fault !== undefined) return `handover to epoch ${epochTo}: ${fault}`;
    before = { signer: item.handover.to, seq: item.accept.seq, head: handoverAcceptHash(item.accept) };
  }
  if (seal.signer !== before.signer) return `the signer of epoch ${seal.epoch} is ${before.signer}, not ${seal.signer}`;
  if (seal.seq <= before.seq)
    return `epoch ${seal.epoch} began after seq ${before.seq}, so seal ${seal.seq} is not of it`;
  if (seal.seq === before.seq + 1 && seal.prev !== before.head) {
    return seal.epoch === 0
      ? 'the first seal follows no head, but names one'
      : 'the seal does not follow the last acceptance';
  }
  return undefined;
}
