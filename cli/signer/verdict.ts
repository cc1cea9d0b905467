/** What the signer can say to a request. */

/**
 * Why a statement is not signed, for good: told to the cloud with a sentence. Words are added to, never renamed: the cloud's operators
 * and the tenant's scripts read them.
 */
export type RefusalWord =
  | 'malformed'
  | 'wrong-log'
  | 'wrong-contract'
  | 'wrong-signer'
  | 'wrong-address'
  | 'wrong-epoch'
  | 'wrong-prev'
  | 'wrong-period'
  /** Another statement stands in the journal where this one would. */
  | 'second-statement'
  | 'not-an-extension'
  | 'records-differ'
  | 'chain-differs'
  /** A trial seal once the key signs for good, a handover that is not its to sign. */
  | 'out-of-turn'
  | 'expired'
  | 'unknown-handover'
  | 'handover-live'
  | 'declined';

export class Refused extends Error {
  override readonly name = 'Refused';
  readonly word: RefusalWord;

  constructor(word: RefusalWord, sentence: string) {
    super(sentence);
    this.word = word;
  }
}

/** Why a statement cannot be judged or signed now. Nothing is answered; it is tried again later. */
export type HoldWord =
  /** The journal is older than what is asked: its owner has to say where the log stands (`kiff signer declare`). */
  | 'journal-behind'
  | 'chain-behind'
  | 'head-unverified'
  | 'too-early'
  | 'log-unreachable'
  | 'rpc-unreachable'
  | 'records-unreadable'
  | 'key-unavailable'
  /** With --ask: nobody said yes or no. */
  | 'unanswered'
  /** An earlier seal has to be signed first. */
  | 'waits';

export class Held extends Error {
  override readonly name = 'Held';
  readonly word: HoldWord;

  constructor(word: HoldWord, sentence: string) {
    super(sentence);
    this.word = word;
  }
}
