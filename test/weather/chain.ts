/** The chain's own bad days: anvil's switches, each in the words of what it stands for. */
import { toHex, type Hex } from 'viem';
import { connectUpstream } from './upstream.ts';

export interface ChainSwitches {
  /**
   * The last `depth` blocks are replaced by as many empty ones: their transactions are in no block and in no pool. Two is the
   * most that leaves anvil's `finalized` (with one slot in an epoch) where it was.
   */
  reorg(depth: number): Promise<void>;
  /** One transaction, or all of them, are gone from the pool. */
  drop(hash?: Hex): Promise<void>;
  /** No block is made any more, until `resume`. */
  halt(): Promise<void>;
  /** A block for every transaction again, or one every `blockTime` seconds. */
  resume(blockTime?: number): Promise<void>;
  mine(blocks?: number): Promise<void>;
  /** The base fee of the next block, wei. */
  baseFee(wei: bigint): Promise<void>;
}

export function chainSwitches(rpcUrl: string): ChainSwitches {
  const chain = connectUpstream(rpcUrl);
  return {
    async reorg(depth) {
      await chain.result('anvil_reorg', depth, []);
    },
    async drop(hash) {
      if (hash === undefined) await chain.result('anvil_dropAllTransactions');
      else await chain.result('anvil_dropTransaction', hash);
    },
    async halt() {
      await chain.result('evm_setAutomine', false);
      await chain.result('evm_setIntervalMining', 0);
    },
    async resume(blockTime) {
      if (blockTime === undefined) await chain.result('evm_setAutomine', true);
      else await chain.result('evm_setIntervalMining', blockTime);
    },
    async mine(blocks = 1) {
      await chain.result('anvil_mine', toHex(blocks));
    },
    async baseFee(wei) {
      await chain.result('anvil_setNextBlockBaseFeePerGas', toHex(wei));
    },
  };
}
