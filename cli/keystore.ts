/** Encrypted key files: Web3 Secret Storage, version 3, as geth, Foundry and most wallets write them. */
import { createDecipheriv, pbkdf2Sync, timingSafeEqual } from 'node:crypto';
import { scrypt } from '@noble/hashes/scrypt.js';
import { keccak_256 } from '@noble/hashes/sha3.js';
import { z } from 'zod';
import { toHex, type Hex } from '../protocol/index.ts';
import { UsageError } from './command.ts';

/** What deriving a key may take: twice what the costliest wallets ask for. */
const MAX_SCRYPT_BYTES = 512 * 1024 * 1024;
const MAX_PBKDF2_ROUNDS = 10_000_000;

const bytes = (length?: number) =>
  z
    .string()
    .regex(length === undefined ? /^([0-9a-fA-F]{2})+$/ : new RegExp(`^[0-9a-fA-F]{${2 * length}}$`), 'must be hex')
    .transform((text) => Buffer.from(text, 'hex'));

const crypto = z.object({
  cipher: z.literal('aes-128-ctr'),
  cipherparams: z.object({ iv: bytes(16) }),
  ciphertext: bytes(32),
  mac: bytes(32),
});
const derivedBytes = z.int().min(32).max(64);
const keystore = z.object({
  version: z.literal(3),
  crypto: z.discriminatedUnion('kdf', [
    crypto.extend({
      kdf: z.literal('scrypt'),
      kdfparams: z.object({
        n: z.int().positive(),
        r: z.int().positive(),
        p: z.int().positive(),
        dklen: derivedBytes,
        salt: bytes(),
      }),
    }),
    crypto.extend({
      kdf: z.literal('pbkdf2'),
      kdfparams: z.object({
        c: z.int().positive().max(MAX_PBKDF2_ROUNDS),
        prf: z.literal('hmac-sha256'),
        dklen: derivedBytes,
        salt: bytes(),
      }),
    }),
  ]),
});

/**
 * The private key of an encrypted key file.
 * @throws UsageError when the file is none, asks for more than a bounded amount of work, or the password is another
 */
export function openKeystore(text: string, password: string): Hex {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new UsageError('the keystore is unusable: it is not JSON');
  }
  const parsed = keystore.safeParse(json);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new UsageError(`the keystore is unusable: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`);
  }
  const { crypto: sealed } = parsed.data;
  const derived = deriveKey(sealed, password);
  const mac = keccak_256(Buffer.concat([derived.subarray(16, 32), sealed.ciphertext]));
  if (!timingSafeEqual(mac, sealed.mac)) throw new UsageError('the keystore has another password');
  const decipher = createDecipheriv('aes-128-ctr', derived.subarray(0, 16), sealed.cipherparams.iv);
  return toHex(Buffer.concat([decipher.update(sealed.ciphertext), decipher.final()]));
}

function deriveKey({ kdf, kdfparams }: z.infer<typeof keystore>['crypto'], password: string): Buffer {
  if (kdf === 'pbkdf2') return pbkdf2Sync(password, kdfparams.salt, kdfparams.c, kdfparams.dklen, 'sha256');
  const { n, r, p, dklen, salt } = kdfparams;
  try {
    // Not Node's: OpenSSL refuses the specification's own vector (r = 1 with n = 2^18).
    return Buffer.from(scrypt(password, salt, { N: n, r, p, dkLen: dklen, maxmem: MAX_SCRYPT_BYTES }));
  } catch {
    throw new UsageError('the keystore is unusable: its scrypt parameters are not, or take too much memory');
  }
}
