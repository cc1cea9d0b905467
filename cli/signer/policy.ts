/**
 * The signer's policy file, `kiff.signer-policy/1`: what its owner typed in. Nothing outside of it is ever signed, whoever asks;
 * it is the signer's only root of trust besides its own journal.
 */
import { UINT_MAX, type Registry } from '../../protocol/eip712.ts';
import type { Hex } from '../../protocol/index.ts';
import {
  FormatError,
  hex,
  integer,
  list,
  NotJsonError,
  object,
  oneOf,
  origin,
  parseJson,
} from '../../protocol/shape.ts';
import { UsageError } from '../command.ts';
import { readText } from '../input.ts';

export interface SignerPolicy {
  readonly format: 'kiff.signer-policy/1';
  readonly origin: string;
  readonly logId: Hex;
  /** The one contract that statements are made for; `periodSeconds` is its constant. */
  readonly registry: Registry & { readonly periodSeconds: number };
  /** The address of the key that signs here. */
  readonly signer: Hex;
  /** Whom this key may hand the log over to. Empty: nobody. */
  readonly handOverTo: readonly Hex[];
}

const MAX_SUCCESSORS = 100;

const read = object<SignerPolicy>({
  format: oneOf('kiff.signer-policy/1'),
  origin,
  logId: hex(32),
  registry: object<SignerPolicy['registry']>({
    chainId: integer(1, Number.MAX_SAFE_INTEGER),
    contract: hex(20),
    periodSeconds: integer(1, UINT_MAX.uint32),
  }),
  signer: hex(20),
  handOverTo: list(hex(20), MAX_SUCCESSORS),
});

/** @throws UsageError when the file cannot be read or breaks its format */
export async function readSignerPolicy(path: string, stdin: AsyncIterable<Uint8Array>): Promise<SignerPolicy> {
  const text = await readText('policy', path, stdin);
  try {
    return read(parseJson(text), '');
  } catch (error) {
    if (error instanceof FormatError || error instanceof NotJsonError) {
      throw new UsageError(`the policy is unusable: ${error.message}`);
    }
    throw error;
  }
}
