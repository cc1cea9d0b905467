/**
 * The owner's word on where the log stands, when the journal cannot say: it was lost, or put back from a copy. Taken from the chain, by
 * the owner's own node, and written into the journal once the owner has said yes.
 */
import {
  eventsBetween,
  RpcMalformed,
  RpcRefused,
  RpcUnreachable,
  type ChainReader,
  type Hex,
} from '../../protocol/index.ts';
import { decodeSealed, readLogState, SEALED_TOPIC } from '../../protocol/registry.ts';
import { UsageError, type Terminal } from '../command.ts';
import type { Tree } from '../monitor/memory.ts';
import { createAsking } from './ask.ts';
import type { SignerArguments } from './arguments.ts';
import { createOwnChain } from './chain.ts';
import { openJournal } from './journal.ts';
import { lockJournal } from './lock.ts';
import type { SignerPolicy } from './policy.ts';
import type { Said, Standing } from './standing.ts';
import { Held } from './verdict.ts';

type DeclareArguments = Extract<SignerArguments, { action: 'declare' }>;

const seqTopic = (seq: number): Hex => `0x${seq.toString(16).padStart(64, '0')}`;

/** Where the log stands after the newest block, and the tree of its last seal. @throws UsageError; what the reader throws */
async function standingOnChain(
  reader: ChainReader,
  { registry, logId, signer }: SignerPolicy,
  fromBlock: number,
): Promise<{ standing: Standing; tree: Tree }> {
  const chainId = await reader.chainId();
  if (chainId !== registry.chainId) throw new UsageError(`the node serves chain ${chainId}`);
  const latest = await reader.block('latest');
  if (latest === null) throw new UsageError('the node has no block');
  const { contract } = registry;
  const state = await readLogState(reader, contract, logId, latest.number);
  if (state.signer !== signer) throw new UsageError(`the log’s signer on chain is ${state.signer}, and not your key`);
  const topics = [SEALED_TOPIC, logId, seqTopic(state.seq)];
  for await (const event of eventsBetween(reader, contract, topics, fromBlock, latest.number)) {
    const sealed = decodeSealed(event);
    if (sealed?.seq !== state.seq || sealed.treeSize !== state.treeSize) continue;
    const { epoch, seq, period, head } = state;
    return { standing: { epoch, seq, period, head }, tree: { size: sealed.treeSize, root: sealed.root } };
  }
  throw new UsageError(`seal ${state.seq} is in no block from ${fromBlock} on: give an earlier --from-block`);
}

/** What the journal knows and the chain does not must not be forgotten by a declaration. */
function requireNews(said: Said, standing: Standing): void {
  const own = said.standing;
  if (own === null) return;
  if (standing.epoch < own.epoch || standing.seq <= own.seq) {
    throw new UsageError(`the journal ends with seal ${own.seq} already: there is nothing to declare`);
  }
}

/** @returns the exit code @throws UsageError */
export async function declare(args: DeclareArguments, policy: SignerPolicy, terminal: Terminal): Promise<number> {
  const lock = await lockJournal(args.journal, () => '{"declaring":true}');
  try {
    const journal = openJournal(args.journal, policy);
    try {
      const { reader } = createOwnChain(args.rpc, policy);
      const { standing, tree } = await standingOnChain(reader, policy, args.fromBlock);
      requireNews(journal.said, standing);
      terminal.stdout.write(
        `${policy.origin} stands at seal ${standing.seq} of epoch ${standing.epoch} on chain ${policy.registry.chainId}: ` +
          `${tree.size} records, root ${tree.root}, head ${standing.head}.\n` +
          'Seals that this key signed after that one, and that are on no chain yet, are known to nobody here: declare only when you\n' +
          'know that there are none, since another one could be signed in their place.\n',
      );
      if (!args.yes && !(await createAsking(terminal)('', new AbortController().signal))) return 1;
      journal.append({ kind: 'declared', standing, tree });
      terminal.stdout.write('It is in the journal now.\n');
      return 0;
    } finally {
      journal.close();
    }
  } catch (error) {
    if (error instanceof RpcUnreachable || error instanceof RpcRefused || error instanceof RpcMalformed) {
      throw new UsageError(`the node: ${error.message}`);
    }
    if (error instanceof Held) throw new UsageError(error.message);
    throw error;
  } finally {
    lock.release();
  }
}
