/** A node that is some blocks behind: what came later is not there for it, and its tags are older. */
import { toHex, type Hex } from 'viem';
import type { Answer, Call, Upstream } from './upstream.ts';

/** Which parameter names the block that a call reads at. */
const BLOCK_PARAMETER: Readonly<Record<string, number>> = {
  eth_call: 1,
  eth_estimateGas: 1,
  eth_getBalance: 1,
  eth_getCode: 1,
  eth_getTransactionCount: 1,
  eth_getStorageAt: 2,
  eth_getBlockByNumber: 0,
};

type BlockParameter = Hex | 'latest' | 'pending' | 'safe' | 'finalized' | 'earliest' | object | undefined;

/** The answer of a node that is `blocks` blocks behind. */
export async function laggingAnswer(upstream: Upstream, call: Call, blocks: number): Promise<Answer> {
  const { method, params } = call;
  const behind = (block: Hex): bigint => {
    const number = BigInt(block) - BigInt(blocks);
    return number < 0n ? 0n : number;
  };
  const head = behind(await upstream.result<Hex>('eth_blockNumber'));
  const numberOf = async (block: BlockParameter): Promise<bigint> => {
    if (block === undefined || block === 'latest' || block === 'pending') return head;
    if (block === 'earliest') return 0n;
    if (block === 'safe' || block === 'finalized') {
      return behind((await upstream.result<{ number: Hex }>('eth_getBlockByNumber', block, false)).number);
    }
    return BigInt(block as Hex);
  };

  if (method === 'eth_blockNumber') return { result: toHex(head) };
  if (method === 'eth_getLogs') return laggingLogs(upstream, params[0] as LogFilter, head, numberOf);

  const position = BLOCK_PARAMETER[method];
  if (position !== undefined && typeof params[position] !== 'object') {
    const number = await numberOf(params[position]);
    if (number > head) {
      if (method === 'eth_getBlockByNumber') return { result: null };
      return { error: { code: -32000, message: 'header not found' } };
    }
    return askOne(upstream, method, params.toSpliced(position, 1, toHex(number)));
  }

  const answer = await askOne(upstream, method, params);
  if (!('result' in answer)) return answer;
  const found = answer.result as { number?: Hex; blockNumber?: Hex | null } | null;
  const inBlock = { eth_getBlockByHash: found?.number, eth_getTransactionReceipt: found?.blockNumber }[method];
  return inBlock != null && BigInt(inBlock) > head ? { result: null } : answer;
}

interface LogFilter {
  fromBlock?: Hex;
  toBlock?: Hex;
}

async function laggingLogs(
  upstream: Upstream,
  filter: LogFilter,
  head: bigint,
  numberOf: (block: BlockParameter) => Promise<bigint>,
): Promise<Answer> {
  const from = await numberOf(filter.fromBlock);
  const to = await numberOf(filter.toBlock);
  if (from > head) return { result: [] };
  const seen = { ...filter, fromBlock: toHex(from), toBlock: toHex(to > head ? head : to) };
  return askOne(upstream, 'eth_getLogs', [seen]);
}

async function askOne(upstream: Upstream, method: string, params: readonly unknown[]): Promise<Answer> {
  const [answer] = await upstream.ask([{ method, params }]);
  if (answer === undefined) throw new Error(`the chain did not answer ${method}`);
  return answer;
}
