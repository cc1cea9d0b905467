/** Events at the places that a receipt names: their transaction succeeded, and their block is the canonical one. */
import { CheckFailed } from './checks.ts';
import type { Hex } from './hex.ts';
import type { ChainPosition } from './receipt.ts';
import type { Block, ChainReader, Log } from './rpc.ts';

/** Fails the check unless it holds. */
export function claim(holds: boolean, otherwise: string): asserts holds {
  if (!holds) throw new CheckFailed(otherwise);
}

/** Name of the first member of `expected` that has another value in `actual`; undefined if none has. */
export function differingMember<T extends object>(
  actual: T,
  expected: { readonly [K in keyof T]?: T[K] },
): string | undefined {
  return Object.keys(expected).find((name) => actual[name as keyof T] !== expected[name as keyof T]);
}

/** The canonical block at a position, which must have the position's hash. */
export async function blockAt(chain: ChainReader, what: string, position: ChainPosition): Promise<Block> {
  const block = await chain.block(position.blockNumber);
  claim(block !== null, `the chain has no block ${position.blockNumber}, where ${what} should be`);
  claim(
    block.hash === position.blockHash,
    `block ${position.blockNumber} of the chain is not the one that ${what} names`,
  );
  return block;
}

/** The contract's event at a position, with its transaction successful and its block canonical. */
export async function eventAt(
  chain: ChainReader,
  contract: Hex,
  what: string,
  position: ChainPosition,
): Promise<{ readonly log: Log; readonly block: Block }> {
  const receipt = await chain.receipt(position.txHash);
  claim(receipt !== null, `the chain does not know the transaction of ${what}`);
  claim(receipt.txHash === position.txHash, `the RPC answered with another transaction than that of ${what}`);
  claim(receipt.succeeded, `the transaction of ${what} failed`);
  claim(
    receipt.blockNumber === position.blockNumber && receipt.blockHash === position.blockHash,
    `the transaction of ${what} is in another block (${receipt.blockNumber})`,
  );
  const log = receipt.logs.find((item) => item.logIndex === position.logIndex);
  claim(log !== undefined, `the transaction of ${what} has no event ${position.logIndex}`);
  claim(
    log.blockHash === position.blockHash && log.txHash === position.txHash,
    `event ${position.logIndex} is not of the transaction of ${what}`,
  );
  claim(log.address === contract, `event ${position.logIndex} of ${what} is not the contract's`);
  return { log, block: await blockAt(chain, what, position) };
}
