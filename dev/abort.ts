/**
 * The work's outcome, or the signal's reason as soon as that comes. Work that is given up on goes on unheard: it must not
 * hold anything that somebody would have to end.
 */
export async function unlessAborted<T>(signal: AbortSignal | undefined, work: Promise<T> | T): Promise<T> {
  if (signal === undefined) return await work;
  const settled = new AbortController();
  const aborted = new Promise<never>((_, reject) => {
    const giveUp = (): void => reject(signal.reason as Error);
    if (signal.aborted) giveUp();
    else signal.addEventListener('abort', giveUp, { signal: settled.signal });
  });
  try {
    return await Promise.race([aborted, work]);
  } finally {
    settled.abort();
  }
}
