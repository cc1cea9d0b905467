/** The registry's statements, hashed and signed by viem: a second implementation beside the contract's. */
import { hashStruct, keccak256, encodeAbiParameters, toBytes, type Hex, type LocalAccount } from 'viem';

export const types = {
  Seal: [
    { name: 'logId', type: 'bytes32' },
    { name: 'seq', type: 'uint32' },
    { name: 'period', type: 'uint64' },
    { name: 'treeSize', type: 'uint48' },
    { name: 'root', type: 'bytes32' },
    { name: 'prev', type: 'bytes32' },
  ],
  Handover: [
    { name: 'logId', type: 'bytes32' },
    { name: 'epochTo', type: 'uint32' },
    { name: 'from', type: 'address' },
    { name: 'to', type: 'address' },
    { name: 'custody', type: 'uint8' },
    { name: 'notBefore', type: 'uint64' },
    { name: 'expiresAt', type: 'uint64' },
    { name: 'nonce', type: 'bytes32' },
  ],
  HandoverAccept: [
    { name: 'logId', type: 'bytes32' },
    { name: 'epochTo', type: 'uint32' },
    { name: 'handoverHash', type: 'bytes32' },
    { name: 'seq', type: 'uint32' },
    { name: 'head', type: 'bytes32' },
  ],
  HandoverCancel: [
    { name: 'logId', type: 'bytes32' },
    { name: 'epochTo', type: 'uint32' },
    { name: 'handoverHash', type: 'bytes32' },
  ],
} as const;

export interface Seal {
  logId: Hex;
  seq: number;
  period: number;
  treeSize: number;
  root: Hex;
  prev: Hex;
}

export interface Handover {
  logId: Hex;
  epochTo: number;
  from: Hex;
  to: Hex;
  custody: number;
  notBefore: bigint;
  expiresAt: bigint;
  nonce: Hex;
}

export interface Step {
  logId: Hex;
  epochTo: number;
  handoverHash: Hex;
}

export interface Acceptance extends Step {
  seq: number;
  head: Hex;
}

/** An argument of `anchor`. */
export interface SealInput {
  logId: Hex;
  seq: number;
  period: bigint;
  treeSize: number;
  root: Hex;
  signature: Hex;
}

export interface Domain {
  chainId: number;
  contract: Hex;
}

export const zero: Hex = `0x${'00'.repeat(32)}`;

/** keccak256 of a text: a root, a nonce or an origin hash that differs wherever it should. */
export function hashOf(text: string): Hex {
  return keccak256(toBytes(text));
}

export function logIdOf(genesisSigner: Hex, originHash: Hex): Hex {
  return keccak256(encodeAbiParameters([{ type: 'address' }, { type: 'bytes32' }], [genesisSigner, originHash]));
}

export function eip712Domain({ chainId, contract }: Domain) {
  return { name: 'KIFF Seal', version: '1', chainId, verifyingContract: contract } as const;
}

export function sealHash(seal: Seal): Hex {
  return hashStruct({ data: { ...seal, period: BigInt(seal.period) }, types, primaryType: 'Seal' });
}

export function handoverHash(handover: Handover): Hex {
  return hashStruct({ data: handover, types, primaryType: 'Handover' });
}

export function acceptHash(acceptance: Acceptance): Hex {
  return hashStruct({ data: acceptance, types, primaryType: 'HandoverAccept' });
}

export async function signSeal(domain: Domain, signer: LocalAccount, seal: Seal): Promise<SealInput> {
  const { prev, ...rest } = seal;
  const item = { ...rest, period: BigInt(seal.period) };
  const signature = await signer.signTypedData({
    domain: eip712Domain(domain),
    types,
    primaryType: 'Seal',
    message: { ...item, prev },
  });
  return { ...item, signature };
}

export async function signHandover(domain: Domain, signer: LocalAccount, message: Handover): Promise<Hex> {
  return await signer.signTypedData({ domain: eip712Domain(domain), types, primaryType: 'Handover', message });
}

export async function signAccept(domain: Domain, signer: LocalAccount, message: Acceptance): Promise<Hex> {
  return await signer.signTypedData({ domain: eip712Domain(domain), types, primaryType: 'HandoverAccept', message });
}

export async function signCancel(domain: Domain, signer: LocalAccount, message: Step): Promise<Hex> {
  return await signer.signTypedData({ domain: eip712Domain(domain), types, primaryType: 'HandoverCancel', message });
}
