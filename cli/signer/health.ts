/** How the signer is, as one line: for SIGUSR1, for `kiff signer status`, for whoever watches it. */
import type { Said } from './standing.ts';

const MOST_WORDS = 300;

export interface Health {
  /** Seals that could not be signed in the last round. */
  waiting: number;
  heard(requests: number): void;
  lost(why: string): void;
  answered(): void;
  signed(kind: string): void;
  refused(word: string, says: string): void;
  held(word: string, says: string): void;
  /** The cloud did not take an answer. */
  notTaken(word: string, says: string): void;
  /** JSON, one line. */
  line(): string;
}

interface Trouble {
  readonly at: string;
  readonly word: string;
  readonly says: string;
}

/** @param now as `Date` */
export function createHealth(origin: string, said: () => Said, now: () => Date): Health {
  const since = now();
  let lastHeard: Date | null = null;
  let unreachable: string | null = null;
  let refusal: Trouble | null = null;
  let hold: Trouble | null = null;
  let lastNotTaken: Trouble | null = null;
  /** In the last round. */
  let answersTaken = true;
  const counts = { seals: 0, others: 0, answers: 0, refusals: 0 };
  const trouble = (word: string, says: string): Trouble => ({
    at: now().toISOString(),
    word,
    says: says.slice(0, MOST_WORDS),
  });
  return {
    waiting: 0,
    heard() {
      lastHeard = now();
      unreachable = null;
      hold = null;
      answersTaken = true;
    },
    lost(why) {
      unreachable = why;
    },
    answered() {
      counts.answers++;
    },
    signed(kind) {
      if (kind === 'seal') counts.seals++;
      else counts.others++;
    },
    refused(word, says) {
      counts.refusals++;
      refusal = trouble(word, says);
    },
    held(word, says) {
      hold = trouble(word, says);
    },
    notTaken(word, says) {
      answersTaken = false;
      lastNotTaken = trouble(word, says);
    },
    line() {
      const { standing } = said();
      return JSON.stringify({
        log: origin,
        ok: unreachable === null && hold === null && answersTaken,
        since: since.toISOString(),
        heard: lastHeard?.toISOString() ?? null,
        ...(unreachable !== null && { unreachable }),
        epoch: standing?.epoch ?? null,
        seq: standing?.seq ?? null,
        head: standing?.head ?? null,
        waiting: this.waiting,
        ...counts,
        ...(hold !== null && { held: hold }),
        ...(refusal !== null && { lastRefusal: refusal }),
        ...(lastNotTaken !== null && { lastNotTaken }),
      });
    },
  };
}
