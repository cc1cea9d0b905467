/** Our statements as wallets and signers take them: the JSON of `eth_signTypedData_v4` (EIP-712). */
import type { Registry, StructType } from './eip712.ts';
import type { Hex } from './hex.ts';

interface TypedField {
  readonly name: string;
  readonly type: string;
}

/** As `eth_signTypedData_v4` takes it. Numbers are JSON numbers, 2⁵³−1 at most. */
export interface TypedData {
  readonly types: Readonly<Record<string, readonly TypedField[]>>;
  readonly primaryType: string;
  readonly domain: {
    readonly name: 'KIFF Seal';
    readonly version: '1';
    readonly chainId: number;
    readonly verifyingContract: Hex;
  };
  readonly message: Readonly<Record<string, string | number>>;
}

const DOMAIN_FIELDS: readonly TypedField[] = [
  { name: 'name', type: 'string' },
  { name: 'version', type: 'string' },
  { name: 'chainId', type: 'uint256' },
  { name: 'verifyingContract', type: 'address' },
];

/** What a key signs to make the statement `value`: its digest is `typedDigest(registry, hashStruct(type, value))`. */
export function typedData<T>(registry: Registry, { name, fields }: StructType<T>, value: T): TypedData {
  return {
    types: {
      EIP712Domain: DOMAIN_FIELDS,
      [name]: fields.map(([field, type]) => ({ name: field, type })),
    },
    primaryType: name,
    domain: { name: 'KIFF Seal', version: '1', chainId: registry.chainId, verifyingContract: registry.contract },
    message: Object.fromEntries(fields.map(([field]) => [field, value[field] as string | number])),
  };
}
