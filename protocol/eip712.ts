/**
 * The six statements that KIFF's keys sign, as EIP-712 typed data (design sections 5 and 7). Only their fixed field
 * types are implemented: every field is one 32-byte word, so a struct's hash is one Keccak over its type and its words.
 */
import { keccak_256 } from '@noble/hashes/sha3.js';
import { concatBytes, fromHex, toHex, utf8, type Hex } from './hex.ts';

/** Where a log is registered: EIP-155 chain id, and the SealRegistry's address there. */
export interface Registry {
  readonly chainId: number;
  readonly contract: Hex;
}

/** One period of one log. `period` is its first second (Unix time); `prev` the struct hash of the log's head before it. */
export interface Seal {
  readonly logId: Hex;
  readonly seq: number;
  readonly period: number;
  readonly treeSize: number;
  readonly root: Hex;
  readonly prev: Hex;
}

/** A new signer shows that it holds its key. `expiresAt` in Unix seconds. */
export interface CustodyProof {
  readonly logId: Hex;
  readonly newSigner: Hex;
  readonly nonce: Hex;
  readonly expiresAt: number;
}

/** What an admin approves with a passkey. `custody`: 1 cloud, 2 tenant-kms, 3 tenant-agent. */
export interface CustodyApproval {
  readonly logId: Hex;
  readonly newSigner: Hex;
  readonly custody: number;
  readonly nonce: Hex;
  readonly expiresAt: number;
}

/** The old and the new signer agree on a succession. Times in Unix seconds; `expiresAt` is the last one for acceptance. */
export interface Handover {
  readonly logId: Hex;
  readonly epochTo: number;
  readonly from: Hex;
  readonly to: Hex;
  readonly custody: number;
  readonly notBefore: number;
  readonly expiresAt: number;
  readonly nonce: Hex;
}

/** The new signer takes the log over at exactly this `seq` and `head`; its struct hash is the log's next head. */
export interface HandoverAccept {
  readonly logId: Hex;
  readonly epochTo: number;
  readonly handoverHash: Hex;
  readonly seq: number;
  readonly head: Hex;
}

/** Either signer kills a handover for ever. */
export interface HandoverCancel {
  readonly logId: Hex;
  readonly epochTo: number;
  readonly handoverHash: Hex;
}

/**
 * Largest value of each unsigned field type. uint64 ends at 2^53-1 here: receipts carry JSON numbers, and as seconds
 * that is 285 million years.
 */
export const UINT_MAX = {
  uint8: 2 ** 8 - 1,
  uint32: 2 ** 32 - 1,
  uint48: 2 ** 48 - 1,
  uint64: Number.MAX_SAFE_INTEGER,
} as const;

type FieldType = 'bytes32' | 'address' | keyof typeof UINT_MAX;

/** A struct type: its fields in signing order, and the hash of its `encodeType` string. */
export interface StructType<T> {
  readonly name: string;
  readonly fields: readonly (readonly [name: keyof T & string, type: FieldType])[];
  readonly typeHash: Uint8Array;
}

function structType<T>(name: string, fields: StructType<T>['fields']): StructType<T> {
  const members = fields.map(([field, type]) => `${type} ${field}`).join(',');
  return { name, fields, typeHash: keccak_256(utf8(`${name}(${members})`)) };
}

export const SEAL: StructType<Seal> = structType('Seal', [
  ['logId', 'bytes32'],
  ['seq', 'uint32'],
  ['period', 'uint64'],
  ['treeSize', 'uint48'],
  ['root', 'bytes32'],
  ['prev', 'bytes32'],
]);

export const CUSTODY_PROOF: StructType<CustodyProof> = structType('CustodyProof', [
  ['logId', 'bytes32'],
  ['newSigner', 'address'],
  ['nonce', 'bytes32'],
  ['expiresAt', 'uint64'],
]);

export const CUSTODY_APPROVAL: StructType<CustodyApproval> = structType('CustodyApproval', [
  ['logId', 'bytes32'],
  ['newSigner', 'address'],
  ['custody', 'uint8'],
  ['nonce', 'bytes32'],
  ['expiresAt', 'uint64'],
]);

export const HANDOVER: StructType<Handover> = structType('Handover', [
  ['logId', 'bytes32'],
  ['epochTo', 'uint32'],
  ['from', 'address'],
  ['to', 'address'],
  ['custody', 'uint8'],
  ['notBefore', 'uint64'],
  ['expiresAt', 'uint64'],
  ['nonce', 'bytes32'],
]);

export const HANDOVER_ACCEPT: StructType<HandoverAccept> = structType('HandoverAccept', [
  ['logId', 'bytes32'],
  ['epochTo', 'uint32'],
  ['handoverHash', 'bytes32'],
  ['seq', 'uint32'],
  ['head', 'bytes32'],
]);

export const HANDOVER_CANCEL: StructType<HandoverCancel> = structType('HandoverCancel', [
  ['logId', 'bytes32'],
  ['epochTo', 'uint32'],
  ['handoverHash', 'bytes32'],
]);

/** One ABI word of an unsigned integer, 0…2^53-1. */
export function uintWord(value: number, max: number = Number.MAX_SAFE_INTEGER): Uint8Array {
  if (!Number.isSafeInteger(value) || value < 0 || value > max) throw new RangeError(`not an integer in 0..${max}`);
  const word = new Uint8Array(32);
  for (let at = 31, rest = value; rest > 0; at--, rest = Math.floor(rest / 256)) word[at] = rest % 256;
  return word;
}

/** One ABI word of a 20-byte address. */
export function addressWord(address: Hex): Uint8Array {
  const word = new Uint8Array(32);
  word.set(fromHex(address, 20), 12);
  return word;
}

function fieldWord(type: FieldType, value: unknown): Uint8Array {
  if (type === 'bytes32') return fromHex(value as Hex, 32);
  if (type === 'address') return addressWord(value as Hex);
  return uintWord(value as number, UINT_MAX[type]);
}

/**
 * `hashStruct` of EIP-712: keccak256(typeHash || words), 32 bytes of hex.
 * @throws TypeError or RangeError when a field does not have its type.
 */
export function hashStruct<T>(type: StructType<T>, value: T): Hex {
  const words = type.fields.map(([field, fieldType]) => {
    try {
      return fieldWord(fieldType, value[field]);
    } catch (error) {
      const Failure = error instanceof RangeError ? RangeError : TypeError;
      const problem = error instanceof Error ? error.message : 'unreadable';
      throw new Failure(`${type.name}.${field}: ${problem}`, { cause: error });
    }
  });
  return toHex(keccak_256(concatBytes(type.typeHash, ...words)));
}

const DOMAIN_TYPE_HASH = keccak_256(
  utf8('EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)'),
);
const DOMAIN_NAME_HASH = keccak_256(utf8('KIFF Seal'));
const DOMAIN_VERSION_HASH = keccak_256(utf8('1'));

/** EIP-712 domain separator of one registry: a signature made for another chain or contract recovers to nobody here. */
export function domainSeparator(registry: Registry): Hex {
  const words = [DOMAIN_NAME_HASH, DOMAIN_VERSION_HASH, uintWord(registry.chainId), addressWord(registry.contract)];
  return toHex(keccak_256(concatBytes(DOMAIN_TYPE_HASH, ...words)));
}

/** The digest that is signed: keccak256(0x1901 || domain separator || struct hash). */
export function typedDigest(registry: Registry, structHash: Hex): Hex {
  return toHex(
    keccak_256(
      concatBytes(new Uint8Array([0x19, 0x01]), fromHex(domainSeparator(registry), 32), fromHex(structHash, 32)),
    ),
  );
}
