/**
 * The work's outcome, or the signal's reason as soon as that comes. Work that is given up on goes on unheard: it must not
 * hold anything that somebody would have to end.
 */
export async function unlessAborted<T>(signal: AbortSignal | undefined, work: Promise<T> | T): Promise<T> {
  if (signal === undefined) return await work;
  let giveUp = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => {
    giveUp = () => reject(signal.reason as Error);
    if (signal.aborted) giveUp();
    else signal.addEventListener('abort', giveUp);
  });
  try {
    return await Promise.race([aborted, work]);
  } finally {
    signal.removeEventListener('abort', giveUp);
  }
}
