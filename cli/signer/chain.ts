/** The contract's word on the log, by a node of the signer's owner: held against the journal before anything is signed. */
import {
  createChainReader,
  RpcMalformed,
  RpcRefused,
  RpcUnreachable,
  type ChainReader,
  type LogState,
} from '../../protocol/index.ts';
import { readLogState } from '../../protocol/registry.ts';
import { createHttpRpc } from '../rpc.ts';
import type { SignerPolicy } from './policy.ts';
import { sealKey, type Said } from './standing.ts';
import { Held, Refused } from './verdict.ts';

export interface OwnChain {
  readonly reader: ChainReader;
  /** The log's standing in the newest block. @throws Held rpc-unreachable; Refused chain-differs */
  state(): Promise<LogState>;
}

export function createOwnChain(url: URL, { registry, logId }: SignerPolicy): OwnChain {
  const reader = createChainReader(createHttpRpc(url));
  return {
    reader,
    async state() {
      try {
        const chainId = await reader.chainId();
        if (chainId !== registry.chainId) throw new Held('rpc-unreachable', `the node serves chain ${chainId}`);
        const latest = await reader.block('latest');
        if (latest === null) throw new Held('rpc-unreachable', 'the node has no block');
        return await readLogState(reader, registry.contract, logId, latest.number);
      } catch (error) {
        if (error instanceof RpcUnreachable || error instanceof RpcRefused || error instanceof RpcMalformed) {
          throw new Held('rpc-unreachable', `the node: ${error.message}`);
        }
        throw error;
      }
    },
  };
}

/**
 * Before a seal: the contract knows this key, and nothing that the journal does not.
 * @throws Held journal-behind, chain-behind; Refused chain-differs
 */
export function requireAgrees(state: LogState, said: Said, { signer }: SignerPolicy): void {
  const { standing, seals } = said;
  if (standing === null) return;
  if (state.epoch < standing.epoch) throw new Held('chain-behind', 'this key’s acceptance is not on chain yet');
  if (state.epoch > standing.epoch) throw new Held('journal-behind', `the chain is in epoch ${state.epoch}`);
  if (state.signer !== signer) throw new Refused('chain-differs', `the log’s signer on chain is ${state.signer}`);
  if (state.seq > standing.seq) {
    throw new Held('journal-behind', `the chain has seal ${state.seq}, and the journal ends with ${standing.seq}`);
  }
  const known = state.seq === standing.seq ? standing.head : seals.get(sealKey(state.epoch, state.seq));
  // What lies before the journal's own beginning it does not know.
  if (known !== undefined && known !== state.head) {
    throw new Refused('chain-differs', `seal ${state.seq} on chain is not the one that was signed here`);
  }
}
