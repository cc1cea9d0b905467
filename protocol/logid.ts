/** A log's name on chain (design section 5). */
import { keccak_256 } from '@noble/hashes/sha3.js';
import { addressWord } from './eip712.ts';
import { concatBytes, toHex, utf8, type Hex } from './hex.ts';

/** keccak256 of the origin's UTF-8: all that the contract ever sees of it. */
export function originHash(origin: string): Hex {
  return toHex(keccak_256(utf8(origin)));
}

/**
 * `keccak256(abi.encode(address genesisSigner, keccak256(origin)))`, 32 bytes of hex. It names the first signer, so
 * whoever registers our origin with another key gets another log.
 */
export function logId(genesisSigner: Hex, origin: string): Hex {
  return toHex(keccak_256(concatBytes(addressWord(genesisSigner), keccak_256(utf8(origin)))));
}
