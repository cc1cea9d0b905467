/**
 * The published checkpoint: the operator's note, and one line more that carries the tenant's seal over the same size and
 * root, so that who follows the log has both from one place. The line is a signature of a private type (c2sp.org/signed-note,
 * type 0xff), which other tools pass over: what is signed is the seal's EIP-712 digest, made of the note's text and the line.
 */
import { concatBytes, fromHex, toHex, utf8, type Hex } from './hex.ts';
import type { Registry } from './eip712.ts';
import { logId } from './logid.ts';
import { keyIdOf, parseCheckpoint, signatureLine, splitNote, type Checkpoint } from './note.ts';
import type { SignedSeal } from './receipt.ts';
import { sealDigest } from './seal.ts';
import { recoverSigner, SignatureError } from './signature.ts';

/** Identifies the private signature type; it stands behind 0xff in the key id's preimage. */
const TYPE = concatBytes(Uint8Array.of(0xff), utf8('kiff.seal/1'));

// seq (4), period (8), prev (32), epoch (4), signer (20), signature (65); integers big-endian.
const SIZE = 133;

/** Whose published checkpoint it is: the log, as policies and receipts name it. */
export interface LogNames {
  readonly origin: string;
  readonly genesisSigner: Hex;
}

/** The line's key id. The log's id stands for the key: it is one for all of the log's signers, and fixes the first of them. */
function sealKeyId(origin: string, id: Hex): Hex {
  return keyIdOf(origin, concatBytes(TYPE, fromHex(id, 32)));
}

/**
 * Adds the seal's line to the operator's note over the same tree.
 * @throws TypeError if the note is malformed or says another size or root than the seal
 */
export function publishedCheckpoint(note: string, seal: SignedSeal): string {
  const { origin, size, root } = parseCheckpoint(note);
  if (size !== seal.treeSize || root !== seal.root)
    throw new TypeError('checkpoint: it is of another tree than the seal');
  const bytes = new Uint8Array(SIZE);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, seal.seq);
  view.setBigUint64(4, BigInt(seal.period));
  bytes.set(fromHex(seal.prev, 32), 12);
  view.setUint32(44, seal.epoch);
  bytes.set(fromHex(seal.signer, 20), 48);
  bytes.set(fromHex(seal.signature, 65), 68);
  return note + signatureLine(origin, sealKeyId(origin, seal.logId), bytes);
}

/** A published checkpoint that was read: the note's text, the operator's note alone, and the seal. */
export interface PublishedCheckpoint {
  readonly checkpoint: Checkpoint;
  /** The note without the seal's line: as receipts carry it. */
  readonly note: string;
  /** Undefined where the tenant has not signed (yet): the operator's signature alone publishes a tree. */
  readonly seal: SignedSeal | undefined;
}

/**
 * Reads a published checkpoint of a log. Nothing is verified.
 * @throws TypeError if it is malformed, of another log, or has two lines with a seal
 */
export function parsePublishedCheckpoint(text: string, { origin, genesisSigner }: LogNames): PublishedCheckpoint {
  const checkpoint = parseCheckpoint(text);
  if (checkpoint.origin !== origin) throw new TypeError('checkpoint: it is of another log');
  const id = logId(genesisSigner, origin);
  const keyId = sealKeyId(origin, id);
  const at = checkpoint.signatures.flatMap(({ name, keyId: each }, line) =>
    name === origin && each === keyId ? [line] : [],
  );
  if (at.length > 1) throw new TypeError('checkpoint: it has more than one seal');
  const index = at[0];
  if (index === undefined) return { checkpoint, note: text, seal: undefined };
  const { text: head, signatureLines } = splitNote(text);
  const others = signatureLines.filter((_, line) => line !== index);
  return {
    checkpoint,
    note: `${head}\n${others.map((line) => `${line}\n`).join('')}`,
    seal: readSeal(id, checkpoint, fromHex(checkpoint.signatures[index]!.signature)),
  };
}

function readSeal(id: Hex, { size, root }: Checkpoint, bytes: Uint8Array): SignedSeal {
  if (bytes.length !== SIZE) throw new TypeError('checkpoint: the seal has not its length');
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const period = Number(view.getBigUint64(4));
  if (!Number.isSafeInteger(period)) throw new TypeError('checkpoint: the period is too large');
  return {
    logId: id,
    seq: view.getUint32(0),
    period,
    treeSize: size,
    root,
    prev: toHex(bytes.subarray(12, 44)),
    signer: toHex(bytes.subarray(48, 68)),
    epoch: view.getUint32(44),
    signature: toHex(bytes.subarray(68)),
  };
}

/**
 * Whether a seal is signed by the signer that it names; in epoch 0 that must be the log's first. The epoch itself is not
 * signed. Whether that signer was the log's at this seq, only the chain or a policy's succession shows. Contracts as signers (ERC-1271) give false.
 */
export function sealIsSigned(seal: SignedSeal, registry: Registry, genesisSigner: Hex): boolean {
  if (seal.epoch === 0 && seal.signer !== genesisSigner) return false;
  try {
    return recoverSigner(sealDigest(registry, seal), seal.signature) === seal.signer;
  } catch (error) {
    if (error instanceof SignatureError) return false;
    throw error;
  }
}
