/** Answers that are not the chain's: a twin that sees other blocks or another state, and receipts of nothing. */
import { keccak256, parseTransaction, recoverTransactionAddress, toHex, type Hex } from 'viem';
import type { Answer, Upstream } from './upstream.ts';

/** The hash that the twin shows for a block. */
export const twinHash = (hash: Hex): Hex => keccak256(hash);

/** The same answer over blocks with other hashes. */
export function otherBlocks(answer: Answer): Answer {
  return 'result' in answer ? { result: withOtherHashes(answer.result) } : answer;
}

function withOtherHashes(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withOtherHashes);
  if (typeof value !== 'object' || value === null) return value;
  const isBlock = 'parentHash' in value;
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => {
      const isHash = name === 'blockHash' || name === 'parentHash' || (isBlock && name === 'hash');
      return [name, isHash && typeof inner === 'string' ? twinHash(inner as Hex) : withOtherHashes(inner)];
    }),
  );
}

/** Another result of a call: its last bit is turned over. */
export function otherState(method: string, answer: Answer): Answer {
  if (method !== 'eth_call' || !('result' in answer) || !/^0x.*[0-9a-f]$/.test(String(answer.result))) return answer;
  const result = answer.result as Hex;
  return { result: `${result.slice(0, -1)}${(Number.parseInt(result.at(-1) ?? '0', 16) ^ 1).toString(16)}` };
}

interface Simulated {
  calls: { status: Hex; gasUsed: Hex; logs: { address: Hex; topics: Hex[]; data: Hex }[] }[];
}

/** The receipt that a transaction would have had in the newest block. */
export async function inventReceipt(upstream: Upstream, raw: Hex): Promise<unknown> {
  const { to, data } = parseTransaction(raw);
  const from = await recoverTransactionAddress({ serializedTransaction: raw as never });
  const transactionHash = keccak256(raw);
  const simulation = { blockStateCalls: [{ calls: [{ from, to, input: data }] }] };
  const [block] = await upstream.result<Simulated[]>('eth_simulateV1', simulation, 'latest');
  const call = block?.calls[0];
  const { number, hash } = await upstream.result<{ number: Hex; hash: Hex }>('eth_getBlockByNumber', 'latest', false);
  const place = { transactionHash, transactionIndex: '0x0', blockNumber: number, blockHash: hash };
  return {
    ...place,
    from,
    to,
    contractAddress: null,
    status: '0x1',
    type: '0x2',
    gasUsed: call?.gasUsed ?? toHex(21_000),
    cumulativeGasUsed: call?.gasUsed ?? toHex(21_000),
    effectiveGasPrice: '0x3b9aca00',
    logsBloom: `0x${'00'.repeat(256)}`,
    logs: (call?.logs ?? []).map(({ address, topics, data: words }, index) => ({
      address,
      topics,
      data: words,
      ...place,
      logIndex: toHex(index),
      removed: false,
    })),
  };
}
