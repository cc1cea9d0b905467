/** `kiff.policy/1`: the verifier's trust root (design section 8). */
import { CHECK_NAMES, type CheckName } from './checks.ts';
import { UINT_MAX, type Registry } from './eip712.ts';
import type { Hex } from './hex.ts';
import { FormatError, hex, integer, list, object, oneOf, origin, parseJson, type Reader } from './shape.ts';

/** From `epoch` on, after seal `afterSeq`, the log's signer is `signer`. */
export interface SuccessionEntry {
  readonly epoch: number;
  readonly signer: Hex;
  readonly afterSeq: number;
}

/** One log that the verifier knows. Keys are raw Ed25519 public keys, 32 bytes. */
export interface PolicyLog {
  readonly origin: string;
  readonly genesisSigner: Hex;
  readonly checkpointKeys?: readonly Hex[];
  readonly promiseKeys?: readonly Hex[];
  readonly succession?: readonly SuccessionEntry[];
}

/** What a verifier trusts before it sees a receipt. `codeHash` is keccak256 of the contract's runtime code. */
export interface Policy {
  readonly format: 'kiff.policy/1';
  readonly registry: Registry & {
    readonly codeHash: Hex;
    readonly fromBlock: number;
    readonly periodSeconds: number;
  };
  readonly logs: readonly PolicyLog[];
  /** Checks that nothing may waive. */
  readonly require: readonly CheckName[];
}

const MAX_LOGS = 100_000;
const MAX_KEYS = 100;
const MAX_SUCCESSIONS = 10_000;

const address = hex(20);
const keys = list(hex(32), MAX_KEYS);
const uint32 = integer(0, UINT_MAX.uint32);
const entries = list(object<SuccessionEntry>({ epoch: uint32, signer: address, afterSeq: uint32 }), MAX_SUCCESSIONS);

const succession: Reader<readonly SuccessionEntry[]> = (value, pointer) => {
  const read = entries(value, pointer);
  for (const [index, entry] of read.entries()) {
    const last = read[index - 1];
    if (last !== undefined && entry.epoch <= last.epoch) {
      throw new FormatError(`${pointer}/${index}/epoch`, 'must be higher than the one before');
    }
    if (last !== undefined && entry.afterSeq < last.afterSeq) {
      throw new FormatError(`${pointer}/${index}/afterSeq`, 'must not be lower than the one before');
    }
    if (entry.epoch === 0 && entry.afterSeq !== 0) {
      throw new FormatError(`${pointer}/${index}/afterSeq`, 'must be 0 for epoch 0');
    }
  }
  return read;
};

const policy: Reader<Policy> = object<Policy>({
  format: oneOf('kiff.policy/1'),
  registry: object<Policy['registry']>({
    chainId: integer(1, Number.MAX_SAFE_INTEGER),
    contract: address,
    codeHash: hex(32),
    fromBlock: integer(0, Number.MAX_SAFE_INTEGER),
    periodSeconds: integer(1, UINT_MAX.uint32),
  }),
  logs: list(
    object<PolicyLog>({ origin, genesisSigner: address, checkpointKeys: keys, promiseKeys: keys, succession }, [
      'checkpointKeys',
      'promiseKeys',
      'succession',
    ]),
    MAX_LOGS,
  ),
  require: list(oneOf(...CHECK_NAMES), CHECK_NAMES.length),
});

/**
 * Reads a parsed policy: exactly the members of the format, each of its type.
 * @throws FormatError with the JSON pointer of the first problem.
 */
export function parsePolicy(value: unknown): Policy {
  return policy(value, '');
}

/**
 * Reads a policy's text: as `parsePolicy`, and no name may stand twice in one object, at any depth.
 * @throws NotJsonError when the text is not JSON at all; FormatError.
 */
export function parsePolicyText(source: string): Policy {
  return parsePolicy(parseJson(source));
}
