/** A process's view of Base: one endpoint, or several that are read as one. */
import { createPublicClient, defineChain, fallback, http, type PublicClient } from 'viem';
import { createAgreedChain, type AgreedChain } from '../activities/chain/endpoints.ts';
import { quorumOf } from '../activities/chain/quorum.ts';
import type { Alert } from '../activities/failures.ts';

/** Of one endpoint among several. Two reads, each tried twice, stay within an activity's heartbeat even when a quorum is silent. */
const ENDPOINT_TIMEOUT_MS = 5_000;

/** @throws Error when the RPC serves another chain than configured, or does not answer */
export async function connectChain(url: string, chainId: number): Promise<PublicClient> {
  const client = chainClient(url, chainId, 10_000);
  requireChain(await client.getChainId(), chainId);
  return client;
}

/**
 * Several endpoints of one chain as one reader. One that is away at the start may come later; what it serves is then compared block by block.
 * @throws Error when one serves another chain than configured, or fewer than a quorum answer
 */
export async function connectAgreedChain(urls: readonly string[], chainId: number, alert: Alert): Promise<AgreedChain> {
  return createAgreedChain(await connectEndpoints(urls, chainId), alert);
}

/** Several endpoints of one chain, as the wallet uses them. */
export interface Endpoints {
  /** One node's view, the first one's; the next one's while that is away. */
  tip: PublicClient;
  each: readonly PublicClient[];
  agreed: AgreedChain;
}

/** Throws as connectAgreedChain does. */
export async function connectAllEndpoints(urls: readonly string[], chainId: number, alert: Alert): Promise<Endpoints> {
  const each = await connectEndpoints(urls, chainId);
  const transport = fallback(urls.map((url) => transportTo(url, ENDPOINT_TIMEOUT_MS)));
  const tip = createPublicClient({ chain: chainOf(chainId), transport });
  return { tip, each, agreed: createAgreedChain(each, alert) };
}

async function connectEndpoints(urls: readonly string[], chainId: number): Promise<PublicClient[]> {
  const endpoints = urls.map((url) => chainClient(url, chainId, ENDPOINT_TIMEOUT_MS));
  const served = await Promise.allSettled(endpoints.map((endpoint) => endpoint.getChainId()));
  const answers = served.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []));
  for (const answer of answers) requireChain(answer, chainId);
  const quorum = quorumOf(urls.length);
  if (answers.length < quorum) {
    throw new Error(`${answers.length} of ${urls.length} RPC endpoints answer; ${quorum} are needed`);
  }
  return endpoints;
}

function chainClient(url: string, chainId: number, timeout: number): PublicClient {
  return createPublicClient({ chain: chainOf(chainId), transport: transportTo(url, timeout) });
}

const transportTo = (url: string, timeout: number) => http(url, { timeout, retryCount: 1, batch: true });

function chainOf(chainId: number) {
  return defineChain({
    id: chainId,
    name: `chain ${chainId}`,
    nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 },
    rpcUrls: { default: { http: [] } },
  });
}

function requireChain(served: number, chainId: number): void {
  if (served !== chainId) throw new Error(`the RPC serves chain ${served}, not ${chainId}`);
}
