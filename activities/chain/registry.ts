/** The contract, read. Each answer of the RPC is checked for shape by viem; a failed read is "ask again". */
import type { PublicClient } from 'viem';
import { registryAbi } from '../../contracts/registry.ts';
import { failure } from '../failures.ts';
import type { Hex } from '../../protocol/hex.ts';
import { tellVendorError } from '../vendor-errors.ts';

export interface LogState {
  signer: Hex;
  epoch: number;
  seq: number;
  period: number;
  treeSize: number;
  head: Hex;
}

/** A log's standing in the contract, at a block or at the newest one. All zero for a log that is not registered. */
export async function readLogState(
  client: PublicClient,
  contract: Hex,
  logId: Hex,
  blockNumber?: bigint,
): Promise<LogState> {
  const [signer, epoch, seq, period, treeSize, head] = await reachable(() =>
    client.readContract({
      address: contract,
      abi: registryAbi,
      functionName: 'logState',
      args: [logId],
      ...(blockNumber === undefined ? {} : { blockNumber }),
    }),
  );
  return { signer: signer.toLowerCase() as Hex, epoch, seq, period: Number(period), treeSize, head };
}

/** Period length in seconds: an immutable of the contract, and nowhere else a setting. */
export async function readPeriodSeconds(client: PublicClient, contract: Hex): Promise<number> {
  return reachable(() => client.readContract({ address: contract, abi: registryAbi, functionName: 'PERIOD' }));
}

/** Runs an RPC read; whatever goes wrong, it is asked again. */
export async function reachable<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    tellVendorError('chain', error);
    throw failure('chain-unavailable');
  }
}
