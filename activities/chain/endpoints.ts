/**
 * Several RPC endpoints read as one (design section 3, wall 3: "own RPC list"). What a majority answers counts, as long as nobody who
 * answers says something else (quorum.ts). For what must not be believed of one provider: the signer's look at its log, and `final`.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { PublicClient } from 'viem';
import type { Hex } from '../../protocol/hex.ts';
import { failure, type Alert } from '../failures.ts';
import { tellVendorError } from '../vendor-errors.ts';
import { judgeAnswers, newestCommonBlock, quorumOf } from './quorum.ts';

/** A contradiction that stays the same is told again after this long, and not at every read. */
const ALERT_AGAIN_MS = 60 * 60 * 1000;

/** Once a quorum has answered, the others have this long to contradict it. */
const STRAGGLERS_MS = 1_000;

export interface BlockName {
  number: bigint;
  hash: Hex;
}

export interface AgreedChain {
  /**
   * One read, put to every endpoint. It must name a block by number or hash, or read what never changes: at a tag like `latest` two
   * honest nodes differ. Answers are compared member by member, so it returns what is to be compared and nothing else.
   * @throws failure chain-unavailable when fewer than a quorum answer; chain-disagrees when two answers differ
   */
  read<T>(ask: (endpoint: PublicClient) => Promise<T>): Promise<T>;
  /** The newest block with this tag that a quorum has, and on whose hash all that have it agree. Throws as `read` does. */
  newest(blockTag: 'latest' | 'safe' | 'finalized'): Promise<BlockName>;
}

/** @param endpoints of one chain, at least one, in the order of the configuration: logs and alerts count them from 1 */
export function createAgreedChain(endpoints: readonly PublicClient[], alert: Alert): AgreedChain {
  const told = new Map<string, number>();
  const tell = (contradiction: string): void => {
    const before = told.get(contradiction);
    if (before !== undefined && performance.now() - before < ALERT_AGAIN_MS) return;
    told.set(contradiction, performance.now());
    alert('chain-disagrees', { endpoints: contradiction });
  };

  async function read<T>(call: (endpoint: PublicClient) => Promise<T>): Promise<T> {
    const verdict = judgeAnswers(await answers(endpoints, call));
    switch (verdict.kind) {
      case 'agreed':
        return verdict.answer;
      case 'too-few':
        throw failure('chain-unavailable');
      case 'disagreed': {
        const groups = verdict.groups.map((group) => group.map((endpoint) => endpoint + 1).join('+'));
        tell(groups.join(' against '));
        throw failure('chain-disagrees');
      }
    }
  }

  return {
    read,
    async newest(blockTag) {
      const heights = await answers(endpoints, async (endpoint) => (await endpoint.getBlock({ blockTag })).number);
      const number = newestCommonBlock(heights.map((height) => height?.value));
      if (number === undefined) throw failure('chain-unavailable');
      // Who has not come that far has no such block: it counts as not answering.
      const hash = await read(async (endpoint) => (await endpoint.getBlock({ blockNumber: number })).hash);
      return { number, hash };
    },
  };
}

/**
 * Puts a call to all endpoints at once. Waits for all, but once a quorum has answered only a moment longer: a dead endpoint must not make
 * every read as slow as its time-out.
 */
async function answers<T>(
  endpoints: readonly PublicClient[],
  call: (endpoint: PublicClient) => Promise<T>,
): Promise<({ value: T } | undefined)[]> {
  const got: ({ value: T } | undefined)[] = endpoints.map(() => undefined);
  const patience = new AbortController();
  let stragglers: Promise<unknown> | undefined;
  let missing = quorumOf(endpoints.length);
  await new Promise<void>((resolve) => {
    const asked = endpoints.map(async (endpoint, index) => {
      try {
        got[index] = { value: await call(endpoint) };
      } catch (error) {
        tellVendorError('chain', error, index + 1);
        return;
      }
      missing--;
      if (missing === 0)
        stragglers = delay(STRAGGLERS_MS, undefined, { signal: patience.signal }).then(resolve, () => undefined);
    });
    void Promise.all(asked).then(() => resolve());
  });
  patience.abort();
  await stragglers;
  // A copy: an answer that comes later must not change what is judged.
  return [...got];
}
