import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  concatHex,
  createPublicClient,
  createTestClient,
  createWalletClient,
  decodeErrorResult,
  encodeFunctionData,
  formatTransactionReceipt,
  http,
  isHex,
  parseEventLogs,
  toHex,
  type Abi,
  type ContractFunctionArgs,
  type Hex,
  type LocalAccount,
} from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { anvil as anvilChain } from 'viem/chains';
import { deployRegistry, type DeployedRegistry } from '../../contracts/deploy.ts';
import { outcomes, registryAbi, registryConstructorArguments, type Outcome } from '../../contracts/registry.ts';
import { startAnvil } from '../../dev/anvil.ts';
import type { SealInput } from './statements.ts';

/** First account of the well-known test mnemonic, funded by anvil. */
const fundedKey = '0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80';

type HandoverCall = 'proposeHandover' | 'acceptHandover' | 'cancelHandover';

/** What a transaction did to one item: the names of `outcomes`; a stale one leaves no event. */
export interface Anchored {
  outcomes: Outcome[];
  gasUsed: number;
}

export type Devnet = Awaited<ReturnType<typeof startDevnet>>;

/** Lengths that the registry is deployed with, in seconds. */
export interface Lengths {
  periodSeconds: number;
  coolingOffSeconds: number;
}

/**
 * An anvil of its own with one SealRegistry. Every transaction is mined at once, at the time set by `at`.
 *
 * @param mutant creation bytecode of a registry that lacks a rule, in place of the real one
 */
export async function startDevnet(lengths: Lengths, mutant?: Hex) {
  const folder = mkdtempSync(path.join(tmpdir(), 'registry-'));
  const node = await startAnvil({ logFile: path.join(folder, 'anvil.log') });
  const { rpcUrl, chainId } = node;
  const transport = http(rpcUrl, { retryCount: 0 });
  const account = privateKeyToAccount(fundedKey);
  const client = createPublicClient({ chain: anvilChain, transport, cacheTime: 0, pollingInterval: 5 });
  const wallet = createWalletClient({ chain: anvilChain, transport, account });
  const chain = createTestClient({ chain: anvilChain, transport, mode: 'anvil' });
  let registry: DeployedRegistry;
  try {
    registry = await deployRegistry({ rpcUrl, chainId, account, ...lengths });
    if (mutant !== undefined) {
      const { periodSeconds, coolingOffSeconds } = lengths;
      const data = concatHex([mutant, registryConstructorArguments(periodSeconds, coolingOffSeconds)]);
      const { contractAddress } = await client.waitForTransactionReceipt({
        hash: await wallet.sendTransaction({ data }),
      });
      if (contractAddress == null) throw new Error('no mutant was created');
      registry = { ...registry, address: contractAddress.toLowerCase() as Hex };
    }
  } catch (error) {
    await node.stop();
    throw error;
  }
  const { address } = registry;

  /** Sends call data from an account of the node (no signing, no estimate); returns the receipt, reverted or not. */
  async function send(data: Hex, gas = 16_000_000n, to: Hex = address) {
    const receipt = await client.request({
      method: 'eth_sendTransactionSync' as never,
      params: [{ from: account.address, to, data, gas: toHex(gas) }] as never,
    });
    return formatTransactionReceipt(receipt);
  }

  return {
    rpcUrl,
    chainId,
    account,
    client,
    wallet,
    chain,
    registry,
    /** The registry as the protocol names it: chain and contract. */
    domain: { chainId, contract: address },
    send,

    async stop(): Promise<void> {
      await node.stop();
      rmSync(folder, { recursive: true });
    },

    /** Unix seconds of the newest block. */
    async now(): Promise<number> {
      return Number((await client.getBlock()).timestamp);
    },

    /** The next block, and with it the next transaction, gets exactly this time. */
    async at(timestamp: number): Promise<void> {
      await chain.setNextBlockTimestamp({ timestamp: BigInt(timestamp) });
    },

    async register(genesisSigner: Hex, originHash: Hex): Promise<void> {
      const { status } = await send(
        encodeFunctionData({ abi: registryAbi, functionName: 'register', args: [genesisSigner, originHash] }),
      );
      if (status !== 'success') throw new Error('register reverted');
    },

    /** Anchors in one transaction and reads what became of every item from its events. */
    async anchor(...items: SealInput[]): Promise<Anchored> {
      const receipt = await send(anchorData(items));
      if (receipt.status !== 'success') throw new Error('anchor reverted');
      const events = parseEventLogs({ abi: registryAbi, logs: receipt.logs }).values();
      let event = events.next().value;
      const found = items.map((item): Outcome => {
        if (event === undefined || (event.eventName !== 'Sealed' && event.eventName !== 'SealRefused')) return 'Stale';
        if (event.args.logId !== item.logId || event.args.seq !== item.seq) return 'Stale';
        const outcome = event.eventName === 'Sealed' ? 'Sealed' : outcomes[event.args.outcome];
        if (outcome === undefined) throw new Error('an outcome without a name');
        event = events.next().value;
        return outcome;
      });
      if (event !== undefined) throw new Error(`an event of no item: ${event.eventName}`);
      return { outcomes: found, gasUsed: Number(receipt.gasUsed) };
    },

    /** The outcomes that the call itself returns, without a transaction. */
    async simulate(items: readonly SealInput[], gas?: bigint): Promise<Outcome[]> {
      const { result } = await client.simulateContract({
        address,
        abi: registryAbi,
        functionName: 'anchor',
        args: [items],
        account,
        ...(gas === undefined ? {} : { gas }),
      });
      return result.map((number) => outcomes[number] as Outcome);
    },

    /** Sends a step of a handover; returns the name of the error that it reverted with, or null. */
    async handover<Call extends HandoverCall>(
      functionName: Call,
      ...args: ContractFunctionArgs<typeof registryAbi, 'nonpayable', Call> & readonly unknown[]
    ): Promise<string | null> {
      const data = encodeFunctionData<Abi, string>({ abi: registryAbi, functionName, args });
      const receipt = await send(data);
      if (receipt.status === 'success') return null;
      // The same call at the same time again, for the error: a receipt does not hold it.
      try {
        await client.call({ to: address, data, blockNumber: receipt.blockNumber });
      } catch (error) {
        return revertName(error);
      }
      throw new Error(`${functionName} reverted in block ${receipt.blockNumber} only`);
    },

    async state(logId: Hex) {
      const [signer, epoch, seq, period, treeSize, head] = await client.readContract({
        address,
        abi: registryAbi,
        functionName: 'logState',
        args: [logId],
      });
      return { signer: signer.toLowerCase() as Hex, epoch, seq, period: Number(period), treeSize, head };
    },

    async pending(logId: Hex) {
      const [hash, eta, expiresAt] = await client.readContract({
        address,
        abi: registryAbi,
        functionName: 'pendingHandover',
        args: [logId],
      });
      return { hash, eta: Number(eta), expiresAt: Number(expiresAt) };
    },

    /** Deploys a contract of the tests and returns its address. */
    async deploy(bytecode: Hex): Promise<Hex> {
      const hash = await wallet.sendTransaction({ data: bytecode, gas: 5_000_000n });
      const { contractAddress } = await client.waitForTransactionReceipt({ hash });
      if (contractAddress == null) throw new Error('no contract was created');
      return contractAddress.toLowerCase() as Hex;
    },
  };
}

/** Call data of `anchor`. */
export function anchorData(items: readonly SealInput[]): Hex {
  return encodeFunctionData({ abi: registryAbi, functionName: 'anchor', args: [items] });
}

/** `Name` or `Name(argument)` of the registry's custom error that a call failed with; other errors are thrown again. */
export function revertName(error: unknown): string {
  let data: Hex | undefined;
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if ('data' in cause && isHex(cause.data)) data = cause.data;
  }
  if (data === undefined) throw error;
  // viem's type says `args` is always there; for an error without arguments it is not.
  const decoded: { errorName: string; args?: readonly unknown[] } = decodeErrorResult({ abi: registryAbi, data });
  return decoded.args?.length ? `${decoded.errorName}(${decoded.args.join().toLowerCase()})` : decoded.errorName;
}

/** An account of the tests: the same number, the same key. */
export function key(number: number): LocalAccount {
  return privateKeyToAccount(`0x${number.toString(16).padStart(64, '0')}`);
}
