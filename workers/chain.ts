/** A process's view of Base. */
import { createPublicClient, defineChain, http, type PublicClient } from 'viem';

/** @throws Error when the RPC serves another chain than configured */
export async function connectChain(url: string, chainId: number): Promise<PublicClient> {
  const chain = defineChain({
    id: chainId,
    name: `chain ${chainId}`,
    nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 },
    rpcUrls: { default: { http: [url] } },
  });
  const client = createPublicClient({ chain, transport: http(url, { timeout: 10_000, retryCount: 1, batch: true }) });
  const served = await client.getChainId();
  if (served !== chainId) throw new Error(`the RPC serves chain ${served}, not ${chainId}`);
  return client;
}
