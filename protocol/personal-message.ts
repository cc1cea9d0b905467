/** Texts that wallets sign for people: EIP-191, version 0x45. */
import { keccak_256 } from '@noble/hashes/sha3.js';
import { concatBytes, toHex, utf8, type Hex } from './hex.ts';

/** What a wallet signs when it signs `message`: keccak256("\x19Ethereum Signed Message:\n" || length in bytes || message). */
export function personalMessageDigest(message: string): Hex {
  const bytes = utf8(message);
  return toHex(keccak_256(concatBytes(utf8(`\u0019Ethereum Signed Message:\n${bytes.length}`), bytes)));
}
