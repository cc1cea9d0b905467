/**
 * The checks that need nothing but the receipt (and keys and lengths that a policy knows). Each returns what it found, or throws CheckFailed with the
 * sentence that says what is wrong; the order and the bookkeeping are verify.ts's.
 */
import { CheckFailed, held, type Outcome } from './checks.ts';
import { commit, leafHash, parseBody, parseEntry, type Entry } from './entry.ts';
import { handoverFault } from './handover.ts';
import { fromHex, toHex, utf8, type Hex } from './hex.ts';
import { JsonError } from './json.ts';
import { logId } from './logid.ts';
import { parseCheckpoint, verifyCheckpoint, type Checkpoint } from './note.ts';
import { isPeriodStart, unixMillis } from './period.ts';
import type { PolicyLog } from './policy.ts';
import { verifyInclusion } from './proof.ts';
import type { Receipt } from './receipt.ts';
import { sealDigest } from './seal.ts';
import { recoverSigner, SignatureError } from './signature.ts';

/** Longest period that exists (design section 2): an upper bound where the log's own is not known. */
const LONGEST_PERIOD = 3600;

function entryOf(receipt: Receipt): Entry | undefined {
  try {
    return parseEntry(receipt.entry);
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}

const NO_ENTRY: Outcome = { status: 'not-run', detail: 'the entry could not be read' };

/** Whether the disclosed body is exactly one body, and the one that the entry commits to. */
export function checkCommitment(receipt: Receipt): Outcome {
  const { disclosure } = receipt;
  if (disclosure === null) {
    return { status: 'waived', detail: 'the receipt discloses no record (withheld or erased)' };
  }
  try {
    parseBody(disclosure.body);
  } catch (error) {
    if (error instanceof TypeError || error instanceof JsonError) {
      throw new CheckFailed(`the disclosed body is not acceptable: ${error.message}`);
    }
    throw error;
  }
  const entry = entryOf(receipt);
  if (entry === undefined) return NO_ENTRY;
  const commitment = toHex(commit(fromHex(disclosure.salt, 32), utf8(disclosure.body)));
  if (commitment !== `0x${entry.commitment}`) throw new CheckFailed('the entry commits to another salt or body');
  return held('the disclosed record is the one that the entry commits to');
}

/** Whether the entry is one, byte for byte in the only spelling that there is. */
export function checkLeaf(receipt: Receipt): Outcome {
  try {
    const entry = parseEntry(receipt.entry);
    return held(`entry of record ${entry.id}, received at ${entry.receivedAt}`);
  } catch (error) {
    if (error instanceof TypeError) throw new CheckFailed(error.message);
    throw error;
  }
}

/**
 * Whether the entry was received within the sealed period. `length` is the log's period length in seconds, or undefined
 * when neither a policy nor a chain told it: then the longest that exists bounds it.
 */
export function checkPeriod(receipt: Receipt, length: number | undefined): Outcome {
  const entry = entryOf(receipt);
  if (entry === undefined) return NO_ENTRY;
  const { period } = receipt.seal;
  const seconds = length ?? LONGEST_PERIOD;
  if (length !== undefined && !isPeriodStart(period, length)) {
    throw new CheckFailed(`period ${period} is no multiple of the log's ${length} seconds`);
  }
  const received = unixMillis(entry.receivedAt);
  if (received < period * 1000) {
    throw new CheckFailed(`the entry says ${entry.receivedAt}, which is before the sealed period ${period}`);
  }
  if (received >= (period + seconds) * 1000) {
    throw new CheckFailed(
      `the entry says ${entry.receivedAt}, which is after the sealed period ${period} + ${seconds} s`,
    );
  }
  return held(
    length === undefined
      ? `received at ${entry.receivedAt}, less than ${seconds} s after period ${period} began (its exact length is not known)`
      : `received at ${entry.receivedAt}, within ${seconds} s from ${period}`,
  );
}

/** Whether the entry is that leaf of the sealed tree (RFC 9162 section 2.1.3.2). */
export function checkInclusion({ entry, leafIndex, inclusion, seal }: Receipt): Outcome {
  const { treeSize, root } = seal;
  if (leafIndex >= treeSize) throw new CheckFailed(`leaf ${leafIndex} is not in a tree of ${treeSize} leaves`);
  if (!verifyInclusion({ leafHash: leafHash(entry), leafIndex, treeSize, inclusion, root })) {
    throw new CheckFailed(`the path does not lead from the entry at leaf ${leafIndex} to the sealed root`);
  }
  return held(`the entry is leaf ${leafIndex} of the sealed tree of ${treeSize}`);
}

/** Whether the log's id is the one of this origin and this genesis signer. */
export function checkLogId({ genesisSigner, origin, seal }: Receipt): Outcome {
  if (logId(genesisSigner, origin) !== seal.logId) {
    throw new CheckFailed('the log id is not that of this origin and genesis signer');
  }
  return held(`the log id is that of ${origin} with genesis signer ${genesisSigner}`);
}

function parsedCheckpoint(note: string): Checkpoint {
  try {
    return parseCheckpoint(note);
  } catch (error) {
    if (error instanceof TypeError) throw new CheckFailed(error.message);
    throw error;
  }
}

/** The operator's note must say exactly what the seal says; returns whether its signature could be judged, and held. */
export function checkCheckpoint(
  { origin, seal }: Pick<Receipt, 'origin' | 'seal'>,
  note: string,
  keys: readonly Hex[] | undefined,
): boolean {
  const checkpoint = parsedCheckpoint(note);
  if (checkpoint.origin !== origin || checkpoint.size !== seal.treeSize || checkpoint.root !== seal.root) {
    throw new CheckFailed('the checkpoint is of another origin, size or root than the seal');
  }
  if (checkpoint.extensions.length > 0) throw new CheckFailed('the checkpoint says more than origin, size and root');
  const [line, ...more] = checkpoint.signatures;
  // 64 bytes: the signature without its key id.
  if (line === undefined || more.length > 0 || line.name !== origin || line.signature.length !== 2 + 2 * 64) {
    throw new CheckFailed("the checkpoint does not carry exactly one Ed25519 signature in the origin's name");
  }
  if (keys === undefined) return false;
  if (!keys.some((publicKey) => verifyCheckpoint(note, { origin, publicKey }) !== undefined)) {
    throw new CheckFailed("the checkpoint's signature is by none of the policy's checkpoint keys");
  }
  return true;
}

/** How far the operator's checkpoint was judged. */
export type CheckpointFinding = 'absent' | 'key-unknown' | 'verified';

/** Whether the seal is signed by the signer it names, and the operator's checkpoint, if there is one, says the same. */
export function checkSignature(
  receipt: Receipt,
  log: PolicyLog | undefined,
): Outcome & { readonly checkpoint: CheckpointFinding } {
  const { registry, seal, genesisSigner, checkpoint } = receipt;
  let recovered: Hex;
  try {
    recovered = recoverSigner(sealDigest(registry, seal), seal.signature);
  } catch (error) {
    if (error instanceof SignatureError) throw new CheckFailed(`the seal's signature is none: ${error.message}`);
    throw error;
  }
  if (recovered !== seal.signer) throw new CheckFailed(`the seal is signed by ${recovered}, not by ${seal.signer}`);
  if (seal.epoch === 0 && seal.signer !== genesisSigner) {
    throw new CheckFailed(`in epoch 0 only the genesis signer ${genesisSigner} seals, not ${seal.signer}`);
  }
  const signed = `seal ${seal.seq} is signed by ${seal.signer}`;
  if (checkpoint === null) return { ...held(signed), checkpoint: 'absent' };
  return checkCheckpoint(receipt, checkpoint, log?.checkpointKeys)
    ? { ...held(`${signed}, and its tree by the operator`), checkpoint: 'verified' }
    : {
        ...held(`${signed}; the operator's checkpoint says the same, its key is not known`),
        checkpoint: 'key-unknown',
      };
}

/** Whether an unbroken line of handovers leads from the genesis signer to the seal's. */
export function checkHandovers(receipt: Receipt): Outcome {
  const fault = handoverFault(receipt);
  if (fault !== undefined) throw new CheckFailed(fault);
  const { epoch, signer } = receipt.seal;
  return held(
    epoch === 0
      ? 'epoch 0: the genesis signer, so there is none to check'
      : `${epoch} handover${epoch === 1 ? '' : 's'} lead${epoch === 1 ? 's' : ''} from the genesis signer to ${signer}`,
  );
}
