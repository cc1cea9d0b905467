/** The local stack's contract. Its period is a fact of the contract; a setting only decides which one is deployed. */
import { join } from 'node:path';
import { keccak256 } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { readPeriodSeconds } from '../activities/chain/registry.ts';
import { deployRegistry, type DeployedRegistry } from '../contracts/deploy.ts';
import { connectChain } from '../workers/chain.ts';
import type { StackEnv } from './env.ts';
import { readJson, writeJson } from './state.ts';

/** anvil's first account: a published test key, with money on devnets only. */
const DEVNET_KEY = '0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80';

/** The period of the local contract unless told otherwise: short, to see a receipt soon. */
const DEVNET_PERIOD_SECONDS = 60;

/** The cooling-off of the local contract: as many periods as a day has hours. */
const COOLING_OFF_PERIODS = 24;

/**
 * The contract that CONTRACT names, or one of our own, deployed if it is not there yet.
 * @throws Error when there is none at CONTRACT, or its period is not the one that was asked for
 */
export async function contractOn(state: string, rpcUrl: string, env: StackEnv): Promise<DeployedRegistry> {
  const chain = await connectChain(rpcUrl, env.CHAIN_ID);
  if (env.CONTRACT !== undefined) {
    const code = await chain.getCode({ address: env.CONTRACT });
    if (code === undefined) throw new Error(`there is no contract at ${env.CONTRACT}`);
    const periodSeconds = await readPeriodSeconds(chain, env.CONTRACT);
    if (env.KIFF_PERIOD_SECONDS !== undefined && env.KIFF_PERIOD_SECONDS !== periodSeconds) {
      throw new Error(
        `the contract's period is ${periodSeconds} s, and KIFF_PERIOD_SECONDS says ${env.KIFF_PERIOD_SECONDS}`,
      );
    }
    return { address: env.CONTRACT, codeHash: keccak256(code), fromBlock: env.FROM_BLOCK, periodSeconds };
  }
  const periodSeconds = env.KIFF_PERIOD_SECONDS ?? DEVNET_PERIOD_SECONDS;
  const deployed = await deployRegistry({
    rpcUrl,
    chainId: env.CHAIN_ID,
    account: privateKeyToAccount(env.DEPLOYER_PRIVATE_KEY ?? DEVNET_KEY),
    periodSeconds,
    coolingOffSeconds: env.KIFF_COOLING_OFF_SECONDS ?? COOLING_OFF_PERIODS * periodSeconds,
  });
  // A devnet forgets old states, and with them the block of its deployment: it is kept from the first time.
  const file = join(state, 'contract.json');
  const known = readJson(file) as DeployedRegistry | undefined;
  if (known?.address === deployed.address && known.codeHash === deployed.codeHash) return known;
  writeJson(file, deployed);
  return deployed;
}
