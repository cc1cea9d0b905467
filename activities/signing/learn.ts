/**
 * Successions, learned from the chain and from nobody else (design section 7): a final HandoverAccepted, whoever sent it, is hashed
 * into the head that it makes and held against what the journal has stated.
 *
 * Crash boundary: a succession is one row of the journal. Before it, the old key's epoch goes on and nothing new is stated, since
 * the chain is in another one; after it, the new key's.
 */
import type { Pool } from 'pg';
import { handoverAcceptHash } from '../../protocol/handover.ts';
import type { Hex } from '../../protocol/hex.ts';
import type { AgreedChain } from '../chain/endpoints.ts';
import { readLogEvents, type HandoverLogEvent } from '../chain/log-events.ts';
import { failure } from '../failures.ts';
import { headAt, readChain, type AgreementDependencies } from './agreement.ts';
import type { CustodyJournal } from './custody/journal.ts';
import type { Journal, JournalLog } from './journal.ts';
import { CLOUD, currentKey, TENANT_AGENT, type SignerKey } from './signer-key.ts';

export interface LearnDependencies extends AgreementDependencies {
  custodyJournal: CustodyJournal;
  /** The contract's first block: where a search for its events begins at the earliest. */
  fromBlock: bigint;
  /** The product database, with the signing login. */
  pool: Pool;
  /** Tells Temporal that the search goes on: the block that it has reached. */
  heartbeat: (reached: { block: number }) => void;
}

/**
 * Learns what is final and not known yet.
 * @returns the key that signs from now on
 * @throws failure chain-differs when the chain has accepted what this journal's statements cannot lead to; those of the chain
 */
export async function learnSuccessions(deps: LearnDependencies, log: JournalLog): Promise<SignerKey> {
  const { journal, custodyJournal } = deps;
  const final = await readChain(deps, log, 'finalized');
  for (;;) {
    const key = await currentKey(journal, log);
    if (final.epoch <= key.epoch) return key;
    const event = await acceptanceOf(deps, log, key, final.block);
    await requireFollows(journal, log, key, event);
    const terms = await custodyJournal.handover(log.logId, event.handoverHash);
    // A cloud key's signature is made here and nowhere else: a handover that it gave and this journal never released is a theft.
    if (key.custody === CLOUD && !(await custodyJournal.isReleased(log.logId, event.handoverHash))) {
      throw failure('chain-differs', { epoch: event.epoch });
    }
    await custodyJournal.succeed(log.logId, {
      epoch: event.epoch,
      signer: event.signer,
      // What a handover that we did not sign claims may be anything: a key that we do not call is the tenant's.
      custody: terms === null ? TENANT_AGENT : terms.handover.custody,
      keyRef: terms?.keyRef ?? null,
      handoverHash: event.handoverHash,
      acceptSeq: event.seq,
      head: event.head,
      acceptedBlock: event.at.blockNumber,
    });
  }
}

/** The acceptance that began the epoch after the key's. */
async function acceptanceOf(
  deps: LearnDependencies,
  log: JournalLog,
  key: SignerKey,
  through: bigint,
): Promise<HandoverLogEvent> {
  const { chain, registry, fromBlock } = deps;
  // Where the anchoring worker says that it stands: a hint, looked at with the signer's own eyes.
  const { rows } = await deps.pool.query<{ accepted_block: number }>(
    'SELECT accepted_block FROM kiff.handovers WHERE tenant = $1 AND epoch_to = $2 AND accepted_block IS NOT NULL',
    [log.tenantId, key.epoch + 1],
  );
  for (const { accepted_block } of rows) {
    const at = BigInt(accepted_block);
    if (at > through) continue;
    const found = await searched(chain, registry.contract, log, key.epoch + 1, { from: at, to: at });
    if (found !== null) return found;
  }
  const from = key.began === null ? fromBlock : BigInt(key.began.acceptedBlock);
  for (let at = from; at <= through; at += SEARCH_RANGE) {
    const to = at + SEARCH_RANGE - 1n < through ? at + SEARCH_RANGE - 1n : through;
    const found = await searched(chain, registry.contract, log, key.epoch + 1, { from: at, to });
    if (found !== null) return found;
    deps.heartbeat({ block: Number(to) });
  }
  // The contract is in that epoch: an endpoint that has no such event keeps something from us.
  throw failure('chain-unavailable');
}

/** As many blocks as providers give at once (chain/log-events.ts). */
const SEARCH_RANGE = 10_000n;

function searched(
  chain: AgreedChain,
  contract: Hex,
  log: JournalLog,
  epoch: number,
  range: { from: bigint; to: bigint },
): Promise<HandoverLogEvent | null> {
  return chain.read(async (endpoint) => {
    for await (const events of readLogEvents(endpoint, contract, [log.logId], range)) {
      for (const event of events) if (event.kind === 'handover' && event.epoch === epoch) return event;
    }
    return null;
  });
}

/** The acceptance binds to a head that this journal knows, and hands over from the key that it knows. */
async function requireFollows(
  journal: Journal,
  log: JournalLog,
  key: SignerKey,
  event: HandoverLogEvent,
): Promise<void> {
  const before = await headAt(journal, log, key, event.seq);
  const hash =
    before === null
      ? null
      : handoverAcceptHash({
          logId: log.logId,
          epochTo: event.epoch,
          handoverHash: event.handoverHash,
          seq: event.seq,
          head: before,
        });
  if (hash !== event.head || event.from !== key.signer) {
    throw failure('chain-differs', { epoch: event.epoch, seq: event.seq });
  }
}
