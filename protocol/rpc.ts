/**
 * Ethereum JSON-RPC as a verifier meets it: one injected function, and not one answer taken as it comes. A node may be
 * down, wrong or hostile; each of the three gets its own error.
 */
import { isHex, type Hex } from './hex.ts';

/**
 * Sends one JSON-RPC call and resolves to its `result`. It should throw RpcRefused when the node answers with an error
 * object; anything else it throws counts as no answer at all.
 */
export type Rpc = (method: string, params: readonly unknown[]) => Promise<unknown>;

/** No answer: the node could not be reached, or what came back was not JSON-RPC. Nothing is known about the receipt. */
export class RpcUnreachable extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'RpcUnreachable';
  }
}

/** The answer was more than is read: asking for less may help. */
export class RpcTooLarge extends RpcUnreachable {
  constructor(maxBytes: number) {
    super(`its answer is larger than ${maxBytes} bytes`);
    this.name = 'RpcTooLarge';
  }
}

/** The node answered with a JSON-RPC error object. */
export class RpcRefused extends Error {
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.name = 'RpcRefused';
    this.code = code;
  }
}

/** The node's answer does not have the form that Ethereum's execution API gives it. */
export class RpcMalformed extends Error {
  constructor(source: string, problem: string) {
    super(`the RPC answered with something malformed (${source}): ${problem}`);
    this.name = 'RpcMalformed';
  }
}

export interface Block {
  readonly number: number;
  readonly hash: Hex;
  /** Unix seconds. */
  readonly timestamp: number;
}

export interface Log {
  readonly address: Hex;
  readonly topics: readonly Hex[];
  readonly data: Hex;
  readonly logIndex: number;
  readonly blockNumber: number;
  readonly blockHash: Hex;
  readonly txHash: Hex;
}

interface TransactionReceipt {
  readonly txHash: Hex;
  readonly blockNumber: number;
  readonly blockHash: Hex;
  readonly succeeded: boolean;
  readonly logs: readonly Log[];
}

/** A block number, or the tag of the last finalized block or of the last block there is. */
type BlockTag = number | 'finalized' | 'latest';

/**
 * Validated reads. Each throws RpcUnreachable, RpcRefused or RpcMalformed; `null` means that the node says it has no such
 * thing.
 */
export interface ChainReader {
  chainId(): Promise<number>;
  code(contract: Hex, block: number): Promise<Hex>;
  block(tag: BlockTag): Promise<Block | null>;
  receipt(txHash: Hex): Promise<TransactionReceipt | null>;
  /** Output of a read-only call on the state after a block. */
  call(contract: Hex, data: Hex, block: number): Promise<Hex>;
  /** The contract's logs from one block to another (both included), in order. A topic list holds alternatives. */
  logs(
    contract: Hex,
    topics: readonly (Hex | readonly Hex[])[],
    fromBlock: number,
    toBlock: number,
  ): Promise<readonly Log[]>;
}

function quantityHex(value: number): Hex {
  return `0x${value.toString(16)}`;
}

function tagOf(block: BlockTag): string {
  return typeof block === 'number' ? quantityHex(block) : block;
}

/** Reads one answer's parts; every complaint names the method. */
function partsOf(method: string) {
  const fail = (problem: string): never => {
    throw new RpcMalformed(method, problem);
  };
  const data = (value: unknown, what: string, length?: number): Hex => {
    const lower = typeof value === 'string' ? value.toLowerCase() : value;
    return isHex(lower, length)
      ? lower
      : fail(`${what} is not hex data${length === undefined ? '' : ` of ${length} bytes`}`);
  };
  const quantity = (value: unknown, what: string): number => {
    if (typeof value !== 'string' || !/^0x[0-9a-f]{1,16}$/iu.test(value)) return fail(`${what} is not a quantity`);
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : fail(`${what} is too large`);
  };
  const record = (value: unknown, what: string): Record<string, unknown> =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : fail(`${what} is not an object`);
  const array = (value: unknown, what: string): unknown[] =>
    Array.isArray(value) ? (value as unknown[]) : fail(`${what} is not an array`);
  const log = (value: unknown): Log => {
    const item = record(value, 'a log');
    if (item['removed'] === true) return fail('a log is marked as removed');
    return {
      address: data(item['address'], 'a log address', 20),
      topics: array(item['topics'], 'topics').map((topic) => data(topic, 'a topic', 32)),
      data: data(item['data'], 'log data'),
      logIndex: quantity(item['logIndex'], 'logIndex'),
      blockNumber: quantity(item['blockNumber'], 'a log blockNumber'),
      blockHash: data(item['blockHash'], 'a log blockHash', 32),
      txHash: data(item['transactionHash'], 'a log transactionHash', 32),
    };
  };
  return { fail, data, quantity, record, array, log };
}

/** Wraps an injected RPC function in validated reads. */
export function createChainReader(rpc: Rpc): ChainReader {
  const ask = async (method: string, params: readonly unknown[]): Promise<unknown> => {
    try {
      return await rpc(method, params);
    } catch (error) {
      if (error instanceof RpcRefused || error instanceof RpcUnreachable) throw error;
      throw new RpcUnreachable(error instanceof Error ? error.message : 'the RPC function failed', { cause: error });
    }
  };
  return {
    async chainId() {
      const method = 'eth_chainId';
      return partsOf(method).quantity(await ask(method, []), 'the chain id');
    },

    async code(contract, block) {
      const method = 'eth_getCode';
      return partsOf(method).data(await ask(method, [contract, tagOf(block)]), 'the code');
    },

    async block(tag) {
      const method = 'eth_getBlockByNumber';
      const answer = await ask(method, [tagOf(tag), false]);
      if (answer === null) return null;
      const { record, quantity, data, fail } = partsOf(method);
      const item = record(answer, 'the block');
      const number = quantity(item['number'], 'number');
      if (typeof tag === 'number' && number !== tag) return fail('it is another block');
      return { number, hash: data(item['hash'], 'hash', 32), timestamp: quantity(item['timestamp'], 'timestamp') };
    },

    async receipt(txHash) {
      const method = 'eth_getTransactionReceipt';
      const answer = await ask(method, [txHash]);
      if (answer === null) return null;
      const { record, quantity, data, array, log, fail } = partsOf(method);
      const item = record(answer, 'the receipt');
      const status = quantity(item['status'], 'status');
      if (status !== 0 && status !== 1) return fail('status is neither 0x0 nor 0x1');
      return {
        txHash: data(item['transactionHash'], 'transactionHash', 32),
        blockNumber: quantity(item['blockNumber'], 'blockNumber'),
        blockHash: data(item['blockHash'], 'blockHash', 32),
        succeeded: status === 1,
        logs: array(item['logs'], 'logs').map(log),
      };
    },

    async call(contract, callData, block) {
      const method = 'eth_call';
      return partsOf(method).data(await ask(method, [{ to: contract, data: callData }, tagOf(block)]), 'the output');
    },

    async logs(contract, topics, fromBlock, toBlock) {
      const method = 'eth_getLogs';
      const { array, log, fail } = partsOf(method);
      const filter = { address: contract, topics, fromBlock: quantityHex(fromBlock), toBlock: quantityHex(toBlock) };
      const answer = array(await ask(method, [filter]), 'the answer').map(log);
      for (const { address, blockNumber } of answer) {
        if (address !== contract || blockNumber < fromBlock || blockNumber > toBlock) fail('a log is of elsewhere');
      }
      return answer.toSorted((a, b) => a.blockNumber - b.blockNumber || a.logIndex - b.logIndex);
    },
  };
}

/**
 * Splits ABI-encoded static values into `count` words of 64 digits.
 * @throws RpcMalformed when there are more or fewer.
 */
export function abiWords(method: string, data: Hex, count: number): readonly string[] {
  if (data.length !== 2 + 64 * count) throw new RpcMalformed(method, `expected ${count} words`);
  return Array.from({ length: count }, (_, index) => data.slice(2 + 64 * index, 66 + 64 * index));
}

/** One ABI word as bytes32. */
export function wordHex(word: string): Hex {
  return `0x${word}`;
}

/** One ABI word as an integer up to 2^53-1, or throws RpcMalformed. */
export function wordUint(method: string, word: string): number {
  const value = BigInt(`0x${word}`);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new RpcMalformed(method, 'a number is too large');
  return Number(value);
}

/** One ABI word as an address, or throws RpcMalformed. */
export function wordAddress(method: string, word: string): Hex {
  if (!word.startsWith('0'.repeat(24))) throw new RpcMalformed(method, 'an address is too long');
  return `0x${word.slice(24)}`;
}
