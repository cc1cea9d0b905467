/** Addresses as people write them: mixed case that carries a checksum (EIP-55). Everywhere else here they are lower case. */
import { keccak_256 } from '@noble/hashes/sha3.js';
import { isHex, toHex, utf8, type Hex } from './hex.ts';

/**
 * The one mixed-case spelling of an address.
 * @throws TypeError unless `address` is 20 bytes of lower-case 0x hex
 */
export function checksumAddress(address: Hex): string {
  if (!isHex(address, 20)) throw new TypeError('not a lower-case address');
  const digits = address.slice(2);
  const hash = toHex(keccak_256(utf8(digits))).slice(2);
  const cased = Array.from(digits, (digit, at) => (hash.charAt(at) >= '8' ? digit.toUpperCase() : digit));
  return `0x${cased.join('')}`;
}
