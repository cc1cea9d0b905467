/** Hash and digest of a seal (design section 5). */
import { hashStruct, SEAL, typedDigest, type Registry, type Seal } from './eip712.ts';
import type { Hex } from './hex.ts';

/** A log's head before its first seal. */
export const NO_HEAD: Hex = `0x${'00'.repeat(32)}`;

/** Struct hash of a seal: the log's head once it is anchored, and `prev` of whatever comes next. */
export function sealHash(seal: Seal): Hex {
  return hashStruct(SEAL, seal);
}

/** The EIP-712 digest that the log's signer signs for a seal at this registry. */
export function sealDigest(registry: Registry, seal: Seal): Hex {
  return typedDigest(registry, sealHash(seal));
}
