/** Remembers answers of the directory for a few seconds, so that a busy caller costs a lookup every few seconds and no more. */

export interface ShortMemoryOptions {
  /** How long an answer is believed: what changes takes effect within this time in every process. */
  milliseconds: number;
  /** At most so many answers; the oldest make room. */
  entries: number;
  /** Unix milliseconds. */
  now: () => number;
}

export interface ShortMemory<T> {
  /**
   * The remembered answer, or a new one. Questions at the same time share one lookup. "There is none" and errors are not
   * remembered: made-up names cannot push real ones out, and what comes to exist works at once.
   * @param fresh asks anew, whatever is remembered
   */
  recall(name: string, lookUp: () => Promise<T | undefined>, fresh?: boolean): Promise<T | undefined>;
  /** The remembered answer, if it is there now: nothing is asked and nobody waits. */
  peek(name: string): T | undefined;
}

export function createShortMemory<T>({ milliseconds, entries, now }: ShortMemoryOptions): ShortMemory<T> {
  const known = new Map<string, { until: number; answer: Promise<T | undefined>; found?: T }>();

  return {
    recall(name, lookUp, fresh = false) {
      const remembered = known.get(name);
      if (remembered !== undefined && remembered.until > now() && !fresh) return remembered.answer;

      const answer = lookUp();
      const entry: { until: number; answer: Promise<T | undefined>; found?: T } = {
        until: now() + milliseconds,
        answer,
      };
      known.delete(name);
      known.set(name, entry);
      for (const oldest of known.keys()) {
        if (known.size <= entries) break;
        known.delete(oldest);
      }
      const forget = (): void => {
        if (known.get(name) === entry) known.delete(name);
      };
      const keep = (found: T | undefined): void => {
        if (found === undefined) forget();
        else entry.found = found;
      };
      void answer.then(keep, forget);
      return answer;
    },
    peek(name) {
      const remembered = known.get(name);
      return remembered !== undefined && remembered.until > now() ? remembered.found : undefined;
    },
  };
}
