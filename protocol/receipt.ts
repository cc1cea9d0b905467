/**
 * `kiff.receipt/1` (design section 8): types and strict parser. What parses is well formed and nothing more: verify.ts
 * says whether it is true.
 */
import { UINT_MAX, type Handover, type HandoverAccept, type Registry, type Seal } from './eip712.ts';
import type { SignedHandover } from './handover.ts';
import type { Hex } from './hex.ts';
import { hex, integer, list, nullable, object, oneOf, origin, parseJson, text, type Reader } from './shape.ts';

/** Where an event stands on chain: block-wide `logIndex`, as JSON-RPC counts it. */
export interface ChainPosition {
  readonly txHash: Hex;
  readonly blockNumber: number;
  readonly blockHash: Hex;
  readonly logIndex: number;
}

/** A seal with the signature that the registry accepted. */
export interface SignedSeal extends Seal {
  readonly signer: Hex;
  readonly epoch: number;
  readonly signature: Hex;
}

/** A succession with the places of its two events. */
export interface AnchoredHandover extends SignedHandover {
  readonly proposed: ChainPosition;
  readonly accepted: ChainPosition;
}

/** What a commitment is over: the salt, and the body's bytes as text. */
export interface Disclosure {
  readonly salt: Hex;
  readonly body: string;
}

/** One receipt. `entry` and `body` are the exact bytes as text; `level` is a claim that no check relies on. */
export interface Receipt {
  readonly format: 'kiff.receipt/1';
  readonly origin: string;
  readonly genesisSigner: Hex;
  readonly registry: Registry;
  readonly entry: string;
  readonly disclosure: Disclosure | null;
  readonly leafIndex: number;
  readonly inclusion: readonly Hex[];
  readonly seal: SignedSeal;
  readonly checkpoint: string | null;
  readonly handovers: readonly AnchoredHandover[];
  readonly anchor: ChainPosition & { readonly level: 'included' | 'safe' | 'final' };
}

const count = integer(0, Number.MAX_SAFE_INTEGER);
const uint8 = integer(0, UINT_MAX.uint8);
const uint32 = integer(0, UINT_MAX.uint32);
const uint48 = integer(0, UINT_MAX.uint48);
const uint64 = integer(0, UINT_MAX.uint64);
const bytes32 = hex(32);
const address = hex(20);
const signature = hex(65);

const position = { txHash: bytes32, blockNumber: count, blockHash: bytes32, logIndex: count };

const handover = object<Handover>({
  logId: bytes32,
  epochTo: uint32,
  from: address,
  to: address,
  custody: uint8,
  notBefore: uint64,
  expiresAt: uint64,
  nonce: bytes32,
});

const accept = object<HandoverAccept>({
  logId: bytes32,
  epochTo: uint32,
  handoverHash: bytes32,
  seq: uint32,
  head: bytes32,
});

// A path in a tree of up to 2^48 leaves; a handover takes a day, so the other limit is out of reach too.
const MAX_PATH = 48;
const MAX_HANDOVERS = 10_000;

// Parts that a bundle (bundle.ts) has in the same form.
export const readRegistry: Reader<Registry> = object<Registry>({
  chainId: integer(1, Number.MAX_SAFE_INTEGER),
  contract: address,
});

export const readDisclosure: Reader<Receipt['disclosure']> = nullable(
  object<Disclosure>({ salt: bytes32, body: text }),
);

export const readSeal: Reader<SignedSeal> = object<SignedSeal>({
  logId: bytes32,
  seq: integer(1, UINT_MAX.uint32),
  period: uint64,
  treeSize: uint48,
  root: bytes32,
  prev: bytes32,
  signer: address,
  epoch: uint32,
  signature,
});

export const readPosition: Reader<ChainPosition> = object<ChainPosition>(position);

export const readHandover: Reader<AnchoredHandover> = object<AnchoredHandover>({
  handover,
  fromSignature: signature,
  toSignature: signature,
  accept,
  acceptSignature: signature,
  proposed: readPosition,
  accepted: readPosition,
});

const receipt: Reader<Receipt> = object<Receipt>({
  format: oneOf('kiff.receipt/1'),
  origin,
  genesisSigner: address,
  registry: readRegistry,
  entry: text,
  disclosure: readDisclosure,
  leafIndex: uint48,
  inclusion: list(bytes32, MAX_PATH),
  seal: readSeal,
  checkpoint: nullable(text),
  handovers: list(readHandover, MAX_HANDOVERS),
  anchor: object<Receipt['anchor']>({ ...position, level: oneOf('included', 'safe', 'final') }),
});

/**
 * Reads a parsed receipt: exactly the members of the format, each of its type.
 * @throws FormatError with the JSON pointer of the first problem.
 */
export function parseReceipt(value: unknown): Receipt {
  return receipt(value, '');
}

/**
 * Reads a receipt's text: as `parseReceipt`, and no name may stand twice in one object, at any depth.
 * @throws NotJsonError when the text is not JSON at all; FormatError.
 */
export function parseReceiptText(source: string): Receipt {
  return parseReceipt(parseJson(source));
}
