/**
 * Makes the compose file's devnet usable: the contract, and money for the relayer. Safe to repeat. While the key
 * administrator has not made the relayer's key yet it ends with exit code 1, and is simply run again.
 */
import { createTestClient, http, parseEther } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { keyAddress, RELAYER_ALIAS } from '../../activities/kms/keys.ts';
import { deployRegistry } from '../../contracts/deploy.ts';
import { createKms } from '../../workers/kms.ts';
import { readDevnetEnv } from './env.ts';

const env = readDevnetEnv();
const { address } = await deployRegistry({
  rpcUrl: env.BASE_RPC_URL,
  chainId: env.CHAIN_ID,
  account: privateKeyToAccount(env.DEPLOYER_PRIVATE_KEY),
  periodSeconds: env.PERIOD_SECONDS,
  coolingOffSeconds: env.COOLING_OFF_SECONDS,
});
if (address !== env.CONTRACT) throw new Error(`the contract of this version is ${address}: set CONTRACT to it`);

const kms = createKms();
try {
  const relayer = await keyAddress(kms, RELAYER_ALIAS);
  const devnet = createTestClient({ mode: 'anvil', transport: http(env.BASE_RPC_URL) });
  await devnet.setBalance({ address: relayer, value: parseEther('100') });
  console.log(`contract ${address}, relayer ${relayer} has money`);
} finally {
  kms.destroy();
}
