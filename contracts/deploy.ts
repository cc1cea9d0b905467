/**
 * Deploys SealRegistry on anvil, Base Sepolia or Base: `node dist/contracts/deploy.js`, configured by env.ts. Prints
 * the `registry` member of a verifier's policy on stdout, and what a block explorer wants to know on stderr.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import {
  BaseError,
  RpcRequestError,
  concatHex,
  createPublicClient,
  createWalletClient,
  defineChain,
  getContractAddress,
  http,
  keccak256,
  type Account,
  type Hex,
  type PublicClient,
} from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { registrySource } from './build.ts';
import { compile } from './compile.ts';
import { readDeployEnv } from './env.ts';
import { registryBytecode, registryConstructorArguments } from './registry.ts';
import { packageRoot } from './root.ts';

/**
 * The CREATE2 proxy that is on Base, Base Sepolia and anvil alike. With it the address follows from code and
 * constructor arguments alone: a deployment that is repeated, or whose answer was lost, finds the contract that is
 * there, and it does not matter who deploys.
 */
const create2Proxy = '0x4e59b44847b379578588920ca78fbf26c0b4956c';
const salt: Hex = `0x${'00'.repeat(32)}`;

export interface DeployOptions {
  rpcUrl: string;
  /** Checked against the endpoint's. */
  chainId: number;
  /** Pays for the deployment; gets no power by it. */
  account: Account;
  periodSeconds: number;
  coolingOffSeconds: number;
}

/** What a verifier's policy says of the registry (design section 8), but for the chain. */
export interface DeployedRegistry {
  /** Lower case. */
  address: Hex;
  /** keccak256 of the runtime code, which holds the immutables: it differs between chains and period lengths. */
  codeHash: Hex;
  /** First block with the code in it; 0 when it was there before and the endpoint keeps no history. */
  fromBlock: number;
  periodSeconds: number;
}

/** The address at which `deployRegistry` puts the contract, on every chain. Lower case. */
export function registryAddress(periodSeconds: number, coolingOffSeconds: number): Hex {
  const bytecode = initCode(periodSeconds, coolingOffSeconds);
  return getContractAddress({ opcode: 'CREATE2', from: create2Proxy, salt, bytecode }).toLowerCase() as Hex;
}

/**
 * Deploys the registry with these lengths, or finds the one that is there. Safe to repeat and to race.
 *
 * @throws Error when the endpoint serves another chain, the chain has no CREATE2 proxy, the lengths are no uint32,
 *   the period is zero (the deployment reverts), or the endpoint fails
 */
export async function deployRegistry(options: DeployOptions): Promise<DeployedRegistry> {
  const { rpcUrl, chainId, account, periodSeconds, coolingOffSeconds } = options;
  const chain = defineChain({
    id: chainId,
    name: `chain ${chainId}`,
    nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 },
    rpcUrls: { default: { http: [rpcUrl] } },
  });
  const client = createPublicClient({ chain, transport: http(), cacheTime: 0 });
  const served = await client.getChainId();
  if (served !== chainId) throw new Error(`${new URL(rpcUrl).host} serves chain ${served}, not ${chainId}`);

  const address = registryAddress(periodSeconds, coolingOffSeconds);
  const before = await findRegistry(client, address, periodSeconds);
  if (before !== null) return before;
  if ((await client.getCode({ address: create2Proxy })) === undefined) {
    throw new Error(`chain ${chainId} has no CREATE2 proxy at ${create2Proxy}`);
  }

  const wallet = createWalletClient({ account, chain, transport: http() });
  const data = concatHex([salt, initCode(periodSeconds, coolingOffSeconds)]);
  try {
    const hash = await wallet.sendTransaction({ to: create2Proxy, data });
    const { blockNumber, status } = await client.waitForTransactionReceipt({ hash });
    const code = await client.getCode({ address, blockNumber });
    if (status !== 'success' || code === undefined)
      throw new Error(`deployment ${hash} left no new code at ${address}`);
    return { address, codeHash: keccak256(code), fromBlock: Number(blockNumber), periodSeconds };
  } catch (error) {
    // The proxy refuses to create what exists: somebody else's deployment may have come in between.
    const meanwhile = await findRegistry(client, address, periodSeconds);
    if (meanwhile !== null) return meanwhile;
    throw error;
  }
}

async function findRegistry(
  client: PublicClient,
  address: Hex,
  periodSeconds: number,
): Promise<DeployedRegistry | null> {
  const code = await client.getCode({ address });
  if (code === undefined) return null;
  return { address, codeHash: keccak256(code), fromBlock: await firstBlock(client, address), periodSeconds };
}

function initCode(periodSeconds: number, coolingOffSeconds: number): Hex {
  return concatHex([registryBytecode(), registryConstructorArguments(periodSeconds, coolingOffSeconds)]);
}

/** The first block in which `address`, which has code by now, has code; 0 from an endpoint that keeps no history. */
async function firstBlock(client: PublicClient, address: Hex): Promise<number> {
  try {
    await client.getCode({ address, blockNumber: 0n });
  } catch (error) {
    // Only the endpoint's own refusal means that it has forgotten; a lost connection means nothing.
    if (error instanceof BaseError && error.walk((cause) => cause instanceof RpcRequestError) !== null) return 0;
    throw error;
  }
  let without = 0;
  let withCode = Number(await client.getBlockNumber());
  while (withCode - without > 1) {
    const middle = Math.floor((without + withCode) / 2);
    const code = await client.getCode({ address, blockNumber: BigInt(middle) });
    if (code === undefined) without = middle;
    else withCode = middle;
  }
  return withCode;
}

async function main(): Promise<void> {
  const { privateKey, verificationFolder, ...lengths } = readDeployEnv();
  const deployed = await deployRegistry({ ...lengths, account: privateKeyToAccount(privateKey) });
  const { address: contract, codeHash, fromBlock, periodSeconds } = deployed;
  console.log(JSON.stringify({ chainId: lengths.chainId, contract, codeHash, fromBlock, periodSeconds }, null, 2));

  const { compiler, standardInput } = compile([registrySource]);
  const folder = path.resolve(packageRoot, verificationFolder);
  mkdirSync(folder, { recursive: true });
  const inputFile = path.join(folder, 'SealRegistry.standard-input.json');
  writeFileSync(inputFile, `${JSON.stringify(standardInput, null, 2)}\n`);
  console.error(
    [
      `verification input: ${inputFile}`,
      `compiler: v${compiler.replace('.Emscripten.clang', '')}`,
      `contract: ${registrySource}:SealRegistry`,
      `constructor arguments: ${registryConstructorArguments(periodSeconds, lengths.coolingOffSeconds)}`,
    ].join('\n'),
  );
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) await main();
