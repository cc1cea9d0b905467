import { readFileSync } from 'node:fs';
import path from 'node:path';
import { encodeAbiParameters, type Hex } from 'viem';
import { packageRoot } from './root.ts';

export { registryAbi } from './registry-abi.ts';

/** What `anchor` made of one item: the names of the contract's `Outcome`, by its numbers. */
export const outcomes = [
  'Sealed',
  'Stale',
  'UnknownLog',
  'Gap',
  'BadPeriod',
  'TooEarly',
  'BadTreeSize',
  'BadSignature',
] as const;
export type Outcome = (typeof outcomes)[number];

/** Creation bytecode of SealRegistry from the checked-in artefact, without constructor arguments. */
export function registryBytecode(): Hex {
  const file = path.join(packageRoot, 'contracts/artifacts/SealRegistry.json');
  return (JSON.parse(readFileSync(file, 'utf8')) as { bytecode: Hex }).bytecode;
}

/**
 * The constructor's arguments, ABI-encoded: period length and cooling-off in seconds.
 *
 * @throws viem's IntegerOutOfRangeError when one is no uint32
 */
export function registryConstructorArguments(periodSeconds: number, coolingOffSeconds: number): Hex {
  return encodeAbiParameters([{ type: 'uint32' }, { type: 'uint32' }], [periodSeconds, coolingOffSeconds]);
}
