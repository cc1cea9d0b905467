/** The contract's word on a log, held against the journal's (design section 3, wall 3). */
import type { Hex } from '../../protocol/hex.ts';
import { NO_HEAD } from '../../protocol/seal.ts';
import type { AgreedChain } from '../chain/endpoints.ts';
import { readLogState, type LogState } from '../chain/registry.ts';
import { failure } from '../failures.ts';
import type { Journal, JournalLog, Statement } from './journal.ts';
import { CLOUD, type SignerKey } from './signer-key.ts';

export interface AgreementDependencies {
  journal: Journal;
  /** The signer's own view of Base, of endpoints that the anchoring worker need not share. */
  chain: AgreedChain;
  registry: { chainId: number; contract: Hex };
}

/**
 * The log's standing in the contract. Read before the journal is: what another signer states in between only adds to that.
 * @throws failure log-unregistered, and those of the chain
 */
export async function readChain(
  { chain, registry }: AgreementDependencies,
  log: JournalLog,
  tag: 'latest' | 'finalized' = 'latest',
): Promise<LogState & { block: bigint }> {
  const { number } = await chain.newest(tag);
  const state = await chain.read((endpoint) => readLogState(endpoint, registry.contract, log.logId, number));
  if (/^0x0{40}$/.test(state.signer)) throw failure('log-unregistered');
  return { ...state, block: number };
}

/** The log's head once it stood at `seq` in the epoch of `key`, as the journal has it; null when it has none. */
export async function headAt(
  journal: Pick<Journal, 'at'>,
  log: Pick<JournalLog, 'logId'>,
  key: SignerKey,
  seq: number,
): Promise<Hex | null> {
  if (key.began !== null && seq === key.began.acceptSeq) return key.began.head;
  if (seq === 0) return NO_HEAD;
  const standing = await journal.at(log.logId, seq);
  return standing?.epoch === key.epoch ? standing.sealHash : null;
}

/**
 * The chain never knows more than the journal, and agrees with it where it knows something.
 * @throws failure held when the chain has a succession that is not final yet; chain-ahead, chain-differs; diverged when the key is
 *   the tenant's, and so what the chain has can be what the tenant anchored without us
 */
export async function requireAgreement(
  { journal }: Pick<AgreementDependencies, 'journal'>,
  log: JournalLog,
  key: SignerKey,
  state: LogState,
  last: Statement | null,
  seq: number,
): Promise<void> {
  if (state.epoch > key.epoch) throw failure('held');
  const agrees = state.signer === key.signer && state.epoch === key.epoch;
  const ours = key.custody === CLOUD;
  if (state.seq > (last?.seal.seq ?? 0)) throw failure(ours || !agrees ? 'chain-ahead' : 'diverged', { seq });
  if (!agrees) throw failure('chain-differs', { seq });
  if (state.head !== (await headAt(journal, log, key, state.seq)))
    throw failure(ours ? 'chain-differs' : 'diverged', { seq });
}
