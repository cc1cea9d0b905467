/** What `kiff anchor` may be told: a seal, a node, and the key that pays. */
import { parseArgs } from 'node:util';
import { privateKeyToAccount, type PrivateKeyAccount } from 'viem/accounts';
import { z } from 'zod';
import type { Hex } from '../protocol/index.ts';
import { UsageError } from './command.ts';
import { readAnchorEnv } from './env.ts';
import { readText } from './input.ts';
import { openKeystore } from './keystore.ts';
import { rpcUrl } from './rpc.ts';

export const USAGE = `Usage: kiff anchor SEAL.json --rpc URL [--keystore FILE] [--json]

  SEAL.json        a seal as GET /v1/seals/{seq} answers it; - reads it from standard input
  --rpc URL        an Ethereum JSON-RPC node of the seal's chain
  --keystore FILE  the key that pays, as an encrypted file (Web3 Secret Storage, version 3)
  --json           prints one JSON object

The key that pays is read from KIFF_ANCHOR_KEY (0x and 64 hex digits), or with --keystore the file's password from
KIFF_KEYSTORE_PASSWORD. It needs money for gas and nothing else: whoever sends a seal, it counts the same.

Exit code: 0 the seal stands on chain, 1 it was refused, 2 the input is unusable, 3 the node is unreachable, or the
transaction was not seen in a block in time: then asking again is safe, since a seal counts once.
`;

const bytes = (length: number) =>
  z
    .string()
    .regex(new RegExp(`^0x[0-9a-fA-F]{${2 * length}}$`), `must be ${length} bytes of 0x hex`)
    .transform((text) => text.toLowerCase() as Hex);
const whole = (bits: number) =>
  z
    .int()
    .min(0)
    .max(2 ** bits - 1);

const seal = z.object({
  registry: z.object({ chainId: z.int().positive(), contract: bytes(20) }),
  sealInput: z.object({
    logId: bytes(32),
    seq: whole(32),
    period: z.int().min(0),
    treeSize: whole(48),
    root: bytes(32),
    signature: z
      .string()
      .regex(/^0x([0-9a-fA-F]{2})*$/, 'must be 0x hex')
      .transform((text) => text.toLowerCase() as Hex),
  }),
});

/** A seal as the contract takes it, and which contract that is. */
export type RelayedSeal = z.infer<typeof seal>;

export interface Arguments {
  readonly seal: RelayedSeal;
  readonly rpc: URL;
  readonly account: PrivateKeyAccount;
}

/** @throws UsageError that says what is missing, unreadable or wrong; never what a key or a password is */
export async function readArguments(args: readonly string[], stdin: AsyncIterable<Uint8Array>): Promise<Arguments> {
  const { values, positionals } = parse(args);
  const [file, ...more] = positionals;
  if (file === undefined) throw new UsageError('no seal was given');
  if (more.length > 0) throw new UsageError('one seal at a time');
  if (values.rpc === undefined) throw new UsageError('give --rpc URL: a node of the seal’s chain');
  const rpc = rpcUrl(values.rpc);
  const account = await readAccount(values.keystore, stdin);
  return { seal: parseSeal(await readText('seal', file, stdin)), rpc, account };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { rpc: { type: 'string' }, keystore: { type: 'string' }, json: { type: 'boolean', default: false } },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : 'the arguments are wrong');
  }
}

async function readAccount(keystore: string | undefined, stdin: AsyncIterable<Uint8Array>): Promise<PrivateKeyAccount> {
  const { key, password } = readAnchorEnv();
  if (keystore === undefined) {
    if (key === undefined) throw new UsageError('set KIFF_ANCHOR_KEY, or give --keystore FILE: the key that pays gas');
    if (!/^0x[0-9a-fA-F]{64}$/.test(key)) throw new UsageError('KIFF_ANCHOR_KEY must be 0x and 64 hex digits');
    return accountOf(key as Hex);
  }
  if (keystore === '-') throw new UsageError('the keystore is a file: standard input is the seal’s');
  if (password === undefined) throw new UsageError('set KIFF_KEYSTORE_PASSWORD: the keystore’s password');
  return accountOf(openKeystore(await readText('keystore', keystore, stdin), password));
}

/** Zero and numbers past the curve's order are no keys. */
function accountOf(key: Hex): PrivateKeyAccount {
  try {
    return privateKeyToAccount(key);
  } catch {
    throw new UsageError('that is not a private key of secp256k1');
  }
}

function parseSeal(text: string): RelayedSeal {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new UsageError('the seal is unusable: it is not JSON');
  }
  if (typeof json === 'object' && json !== null && 'sealInput' in json && json.sealInput === null) {
    throw new UsageError('the seal is not signed yet');
  }
  const parsed = seal.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new UsageError(`the seal is unusable: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`);
}
