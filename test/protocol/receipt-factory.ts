/**
 * Real receipts, made without `protocol/`: viem signs and hashes the typed data, node:crypto builds the tree, the
 * commitment and the checkpoint. What the verifier accepts is thereby checked against other people's code. Long because a
 * receipt joins all formats there are.
 */
import { createHash, createHmac, createPrivateKey, createPublicKey, sign } from 'node:crypto';
import { hashStruct, keccak256, encodeAbiParameters, stringToHex, type PrivateKeyAccount } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import type { Handover, HandoverAccept, Hex, Policy, Receipt, Registry, Seal } from '../../protocol/index.ts';

export type Mutable<T> = { -readonly [K in keyof T]: T[K] extends object | null | undefined ? Mutable<T[K]> : T[K] };

export const ORIGIN = 'kiff.dev/t/acme';
export const PERIOD_SECONDS = 3600;
export const PERIOD = 1_795_413_600;
export const REGISTRY: Registry = { chainId: 8453, contract: `0x${'c0'.repeat(20)}` };
export const CODE: Hex = '0x6080604052';
export const ZERO: Hex = `0x${'00'.repeat(32)}`;

/** The EIP-712 types as design sections 5 and 7 write them, in viem's form. */
export const TYPES = {
  Seal: fields('bytes32 logId,uint32 seq,uint64 period,uint48 treeSize,bytes32 root,bytes32 prev'),
  CustodyProof: fields('bytes32 logId,address newSigner,bytes32 nonce,uint64 expiresAt'),
  CustodyApproval: fields('bytes32 logId,address newSigner,uint8 custody,bytes32 nonce,uint64 expiresAt'),
  Handover: fields(
    'bytes32 logId,uint32 epochTo,address from,address to,uint8 custody,uint64 notBefore,uint64 expiresAt,bytes32 nonce',
  ),
  HandoverAccept: fields('bytes32 logId,uint32 epochTo,bytes32 handoverHash,uint32 seq,bytes32 head'),
  HandoverCancel: fields('bytes32 logId,uint32 epochTo,bytes32 handoverHash'),
};
export type TypeName = keyof typeof TYPES;

function fields(list: string): { name: string; type: string }[] {
  return list.split(',').map((field) => {
    const [type = '', name = ''] = field.split(' ');
    return { name, type };
  });
}

export function domainOf({ chainId, contract }: Registry) {
  return { name: 'KIFF Seal', version: '1', chainId, verifyingContract: contract };
}

/** Struct hash by viem. */
export function structHash(primaryType: TypeName, data: object): Hex {
  return hashStruct({ primaryType, types: TYPES, data: data as Record<string, unknown> });
}

/** A signature by viem. */
export async function signed(
  account: PrivateKeyAccount,
  registry: Registry,
  primaryType: TypeName,
  message: object,
): Promise<Hex> {
  return account.signTypedData({
    domain: domainOf(registry),
    types: TYPES,
    primaryType,
    message: message as Record<string, unknown>,
  });
}

/** A key that is always the same for a name. */
export function accountOf(name: string): PrivateKeyAccount {
  return privateKeyToAccount(keccak256(stringToHex(name)));
}

export function addressOf(account: PrivateKeyAccount): Hex {
  return account.address.toLowerCase() as Hex;
}

/** 32 bytes that are always the same for a name. */
export function bytesOf(name: string): Hex {
  return keccak256(stringToHex(name));
}

export function logIdOf(genesisSigner: Hex, origin: string): Hex {
  return keccak256(
    encodeAbiParameters([{ type: 'address' }, { type: 'bytes32' }], [genesisSigner, keccak256(stringToHex(origin))]),
  );
}

function sha256(...parts: readonly Uint8Array[]): Buffer {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
}

function hexOf(bytes: Uint8Array): Hex {
  return `0x${Buffer.from(bytes).toString('hex')}`;
}

/** RFC 9162 section 2.1.1, as it is written there. */
function treeHash(leaves: readonly Buffer[]): Buffer {
  const [only] = leaves;
  if (only === undefined) return sha256();
  if (leaves.length === 1) return sha256(Buffer.of(0), only);
  const k = largestPowerBelow(leaves.length);
  return sha256(Buffer.of(1), treeHash(leaves.slice(0, k)), treeHash(leaves.slice(k)));
}

/** RFC 9162 section 2.1.3.1. */
function treePath(index: number, leaves: readonly Buffer[]): Buffer[] {
  if (leaves.length === 1) return [];
  const k = largestPowerBelow(leaves.length);
  return index < k
    ? [...treePath(index, leaves.slice(0, k)), treeHash(leaves.slice(k))]
    : [...treePath(index - k, leaves.slice(k)), treeHash(leaves.slice(0, k))];
}

function largestPowerBelow(size: number): number {
  return 2 ** Math.floor(Math.log2(size - 1));
}

/** The operator's Ed25519 key, always the same for a name. */
export function operatorOf(name: string) {
  const seed = Buffer.from(bytesOf(name).slice(2), 'hex');
  const privateKey = createPrivateKey({
    key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]),
    format: 'der',
    type: 'pkcs8',
  });
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  return { privateKey, publicKey: hexOf(spki.subarray(-32)) };
}

/** A checkpoint as c2sp.org/tlog-checkpoint writes it. */
export function checkpointOf(origin: string, size: number, root: Hex, operator: ReturnType<typeof operatorOf>): string {
  const text = `${origin}\n${size}\n${Buffer.from(root.slice(2), 'hex').toString('base64')}\n`;
  return signedNoteOf(text, origin, operator);
}

/** A text signed under an origin, as c2sp.org/signed-note writes it. */
export function signedNoteOf(text: string, origin: string, operator: ReturnType<typeof operatorOf>): string {
  const key = Buffer.from(operator.publicKey.slice(2), 'hex');
  const keyId = sha256(Buffer.from(`${origin}\n`), Buffer.of(1), key).subarray(0, 4);
  const signature = sign(null, Buffer.from(text), operator.privateKey);
  return `${text}\n— ${origin} ${Buffer.concat([keyId, signature]).toString('base64')}\n`;
}

/** Root of the tree over entries, and the path of one. */
export function treeOf(entries: readonly string[], leafIndex: number) {
  const leaves = entries.map((entry) => Buffer.from(entry));
  return { root: hexOf(treeHash(leaves)), inclusion: treePath(leafIndex, leaves).map(hexOf) };
}

/** `size` entries, of which one commits to the body. */
function makeEntries(options: { size: number; leafIndex: number; receivedAt: string; salt: Hex; body: string }) {
  const { size, leafIndex, receivedAt, salt, body } = options;
  return Array.from({ length: size }, (_, index) => {
    const commitment =
      index === leafIndex
        ? createHmac('sha256', Buffer.from(salt.slice(2), 'hex'))
            .update(body)
            .digest('hex')
        : bytesOf(`commitment ${index}`).slice(2);
    return `{"v":1,"id":"evt_${index}","received_at":"${receivedAt}","key":"k0123456789abcde","commitment":"${commitment}"}`;
  });
}

const RECORD =
  '{"id":"evt_3","kind":"action_executed","entity_id":"o-1","entity_type":"order",' +
  '"created_at":"2026-11-23T02:00:00Z","data":{"amount":1e400,"note":"naïve \u{1F600}"}}';

export interface ReceiptOptions {
  readonly registry?: Registry;
  readonly origin?: string;
  /** Signers by epoch; the first one is the genesis signer. */
  readonly signers?: readonly PrivateKeyAccount[];
  readonly epoch?: number;
  /** `accept.seq` of each handover. */
  readonly acceptSeqs?: readonly number[];
  readonly seq?: number;
  readonly prev?: Hex;
  readonly period?: number;
  readonly size?: number;
  readonly leafIndex?: number;
  readonly receivedAt?: string;
  readonly body?: string;
  /** Who signs the seal, where it is not the signer of the epoch. */
  readonly sealedBy?: PrivateKeyAccount;
}

/** An operator that every receipt of these tests has its checkpoint from. */
export const OPERATOR = operatorOf('operator');

export function signersOf(...names: readonly string[]): PrivateKeyAccount[] {
  return names.map(accountOf);
}

/** Signs one handover and its acceptance. */
export async function makeHandover(
  registry: Registry,
  parties: { from: PrivateKeyAccount; to: PrivateKeyAccount },
  terms: {
    logId: Hex;
    epochTo: number;
    seq: number;
    head: Hex;
    notBefore?: number;
    expiresAt?: number;
    custody?: number;
  },
) {
  const { logId, epochTo, seq, head, notBefore = PERIOD - 400_000, expiresAt = PERIOD + 400_000, custody = 2 } = terms;
  const handover: Handover = {
    logId,
    epochTo,
    from: addressOf(parties.from),
    to: addressOf(parties.to),
    custody,
    notBefore,
    expiresAt,
    nonce: bytesOf(`nonce ${epochTo}`),
  };
  const accept: HandoverAccept = { logId, epochTo, handoverHash: structHash('Handover', handover), seq, head };
  return {
    handover,
    fromSignature: await signed(parties.from, registry, 'Handover', handover),
    toSignature: await signed(parties.to, registry, 'Handover', handover),
    accept,
    acceptSignature: await signed(parties.to, registry, 'HandoverAccept', accept),
  };
}

function positionOf(name: string, blockNumber: number, logIndex: number) {
  return { txHash: bytesOf(`tx ${name}`), blockNumber, blockHash: bytesOf(`block ${blockNumber}`), logIndex };
}

/** A receipt that holds in every check, of any epoch up to 2. */
export async function makeReceipt(options: ReceiptOptions = {}): Promise<Receipt> {
  const { registry = REGISTRY, origin = ORIGIN, epoch = 0, period = PERIOD, size = 7, leafIndex = 3 } = options;
  const signers = options.signers ?? signersOf('genesis', 'second', 'third');
  const acceptSeqs = options.acceptSeqs ?? [5, 9];
  const receivedAt = options.receivedAt ?? new Date((period + 59) * 1000 + 123).toISOString();
  const signerOf = (index: number): PrivateKeyAccount => signers[index] ?? accountOf(`signer ${index}`);
  const genesisSigner = addressOf(signerOf(0));
  const logId = logIdOf(genesisSigner, origin);

  const handovers: Mutable<Receipt['handovers'][number]>[] = [];
  let before = { seq: 0, head: ZERO };
  for (let epochTo = 1; epochTo <= epoch; epochTo++) {
    const seq = acceptSeqs[epochTo - 1] ?? before.seq + 1;
    const head = seq === before.seq ? before.head : bytesOf(`seal ${seq}`);
    const made = await makeHandover(
      registry,
      { from: signerOf(epochTo - 1), to: signerOf(epochTo) },
      { logId, epochTo, seq, head },
    );
    handovers.push({
      ...made,
      proposed: positionOf(`propose ${epochTo}`, 100 * epochTo, 4),
      accepted: positionOf(`accept ${epochTo}`, 100 * epochTo + 50, 2),
    });
    before = { seq, head: structHash('HandoverAccept', made.accept) };
  }

  const seq = options.seq ?? before.seq + 3;
  const salt = bytesOf('salt');
  const body = options.body ?? `{"attribution":null,"record":${RECORD}}`;
  const entries = makeEntries({ size, leafIndex, receivedAt, salt, body });
  const { inclusion, root } = treeOf(entries, leafIndex);
  const prev = options.prev ?? (seq === before.seq + 1 ? before.head : bytesOf(`seal ${seq - 1}`));
  const seal: Seal = { logId, seq, period, treeSize: size, root, prev };
  const sealedBy = options.sealedBy ?? signerOf(epoch);
  return {
    format: 'kiff.receipt/1',
    origin,
    genesisSigner,
    registry,
    entry: entries[leafIndex] ?? '',
    disclosure: { salt, body },
    leafIndex,
    inclusion,
    seal: { ...seal, signer: addressOf(sealedBy), epoch, signature: await signed(sealedBy, registry, 'Seal', seal) },
    checkpoint: checkpointOf(origin, size, root, OPERATOR),
    handovers,
    anchor: { ...positionOf('anchor', 1000, 7), level: 'final' },
  };
}

/** The policy that knows the log of `makeReceipt`. */
export function makePolicy(options: Partial<Policy['logs'][number]> & { require?: Policy['require'] } = {}): Policy {
  const { require = [], ...log } = options;
  return {
    format: 'kiff.policy/1',
    registry: { ...REGISTRY, codeHash: keccak256(CODE), fromBlock: 10, periodSeconds: PERIOD_SECONDS },
    logs: [
      { origin: ORIGIN, genesisSigner: addressOf(accountOf('genesis')), checkpointKeys: [OPERATOR.publicKey], ...log },
    ],
    require,
  };
}

/** A copy of a receipt with something changed. */
export function edited<T>(value: T, edit: (copy: Mutable<T>) => void): T {
  const copy = structuredClone(value);
  edit(copy);
  return copy;
}

/** Names of the checks with a status. */
export function named(checks: readonly { name: string; status: string }[], status: string): string[] {
  return checks.filter((check) => check.status === status).map(({ name }) => name);
}
