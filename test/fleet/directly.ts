/** The registry used without the wallet, by anybody with money: to bring many logs to where a test begins. */
import {
  createPublicClient,
  createWalletClient,
  encodeFunctionData,
  http,
  parseAbi,
  type Hex,
  type LocalAccount,
  type TransactionReceipt,
} from 'viem';
import { anvil as anvilChain } from 'viem/chains';
import { compile } from '../../contracts/compile.ts';
import { registryAbi } from '../../contracts/registry.ts';
import { anchorData } from '../contracts/devnet.ts';
import type { SealInput } from '../contracts/statements.ts';
import type { FleetLog } from './logs.ts';

/** At about 48,000 gas each, in one transaction, this stays below half of a block. */
const REGISTRATIONS_AT_ONCE = 250;

export interface Directly {
  /** Registers logs, many in one transaction. */
  register(logs: readonly FleetLog[]): Promise<void>;
  /** Anchors seals, all in one transaction. */
  anchor(seals: readonly SealInput[]): Promise<TransactionReceipt>;
}

/** @param rpcUrl of a chain that mines a block for every transaction */
export async function useDirectly(rpcUrl: string, account: LocalAccount, contract: Hex): Promise<Directly> {
  const source = 'contracts/test/Runner.sol';
  const abi = parseAbi(['function run(address target, bytes[] calls)']);
  const transport = http(rpcUrl);
  const client = createPublicClient({ chain: anvilChain, transport, pollingInterval: 20 });
  const wallet = createWalletClient({ chain: anvilChain, transport, account });
  const mined = async (transaction: { to?: Hex; data: Hex }): Promise<TransactionReceipt> => {
    const hash = await wallet.sendTransaction({ ...transaction, gas: 16_000_000n });
    const receipt = await client.waitForTransactionReceipt({ hash });
    if (receipt.status !== 'success') throw new Error(`transaction ${hash} reverted`);
    return receipt;
  };
  const { contractAddress: runner } = await mined({ data: compile([source]).contract(source, 'Runner').bytecode });
  if (runner == null) throw new Error('no contract was created');
  return {
    async register(logs) {
      for (let from = 0; from < logs.length; from += REGISTRATIONS_AT_ONCE) {
        const calls = logs
          .slice(from, from + REGISTRATIONS_AT_ONCE)
          .map(({ account: { address }, originHash }) =>
            encodeFunctionData({ abi: registryAbi, functionName: 'register', args: [address, originHash] }),
          );
        await mined({ to: runner, data: encodeFunctionData({ abi, functionName: 'run', args: [contract, calls] }) });
      }
    },
    anchor: (seals) => mined({ to: contract, data: anchorData(seals) }),
  };
}
