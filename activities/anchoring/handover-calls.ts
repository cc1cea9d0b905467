/**
 * The wallet's second queue: proposals, acceptances and cancellations that are signed and not on chain. Each is one transaction.
 * The contract is asked first; what it would not take is noted with its word for it, and looked at again later.
 */
import {
  BaseError,
  ContractFunctionRevertedError,
  decodeFunctionData,
  encodeFunctionData,
  type PublicClient,
} from 'viem';
import { registryAbi } from '../../contracts/registry.ts';
import { handoverHash } from '../../protocol/handover.ts';
import type { Hex } from '../../protocol/hex.ts';
import { failure } from '../failures.ts';
import { tellVendorError } from '../vendor-errors.ts';
import { CONTRACT_CALL_GAS } from './batch.ts';
import { handoverOf } from './handover-events.ts';
import type { DueCall } from './handovers.ts';

/** A call that the contract takes now. */
export interface HandoverCall {
  kind: DueCall['call'];
  data: Hex;
}

interface CallDependencies {
  chain: PublicClient;
  contract: Hex;
  relayer: { address: Hex };
}

/** What a simulation may use: two accounts with code are asked at most, and four slots written. */
const MAX_GAS = 600_000n;

/** The limit of a transaction: signers that have code may use more of their allowance than they did in the estimate. */
export const handoverGasLimit = (estimated: bigint): bigint => (estimated * 11n) / 10n + 2n * CONTRACT_CALL_GAS;

export function handoverCallData({ call, handover, signature, secondSignature }: DueCall): Hex {
  const struct = { ...handover, notBefore: BigInt(handover.notBefore), expiresAt: BigInt(handover.expiresAt) };
  switch (call) {
    case 'propose':
      return encodeFunctionData({
        abi: registryAbi,
        functionName: 'proposeHandover',
        args: [struct, signature, secondSignature ?? '0x'],
      });
    case 'accept':
      return encodeFunctionData({ abi: registryAbi, functionName: 'acceptHandover', args: [struct, signature] });
    case 'cancel':
      return encodeFunctionData({ abi: registryAbi, functionName: 'cancelHandover', args: [struct, signature] });
  }
}

/** Which handover a call of ours is about; null for calls about seals and registrations. */
export function handoverIn(data: Hex): { logId: Hex; handoverHash: Hex } | null {
  const call = decodeFunctionData({ abi: registryAbi, data });
  if (
    call.functionName !== 'proposeHandover' &&
    call.functionName !== 'acceptHandover' &&
    call.functionName !== 'cancelHandover'
  )
    return null;
  const [given] = call.args;
  return { logId: given.logId, handoverHash: handoverHash(handoverOf(given)) };
}

/** @returns null when the contract would take the call, else its error's name */
export async function refusalOf({ chain, contract, relayer }: CallDependencies, data: Hex): Promise<string | null> {
  const { functionName, args } = decodeFunctionData({ abi: registryAbi, data });
  try {
    // The types of one function's arguments are lost in the union of all; the call is one that was encoded here.
    await chain.simulateContract({
      address: contract,
      abi: registryAbi,
      functionName,
      args,
      account: relayer.address,
      gas: MAX_GAS,
    } as never);
    return null;
  } catch (error) {
    const reverted =
      error instanceof BaseError ? error.walk((cause) => cause instanceof ContractFunctionRevertedError) : null;
    if (reverted instanceof ContractFunctionRevertedError) return reverted.data?.errorName ?? 'reverted';
    tellVendorError('chain', error);
    throw failure('chain-unavailable');
  }
}
