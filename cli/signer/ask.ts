/** Asks the signer's owner at the terminal. Only a `yes` counts. */
import type { Terminal } from '../command.ts';
import { Held } from './verdict.ts';

type Asking = (words: string, signal: AbortSignal) => Promise<boolean>;

/** Lines of a stream, as they come; null at its end. */
function linesOf(stdin: AsyncIterable<Uint8Array>): () => Promise<string | null> {
  const chunks = stdin[Symbol.asyncIterator]();
  let rest = '';
  return async () => {
    for (;;) {
      const end = rest.indexOf('\n');
      if (end >= 0) {
        const line = rest.slice(0, end);
        rest = rest.slice(end + 1);
        return line;
      }
      const next = await chunks.next();
      if (next.done === true) return null;
      rest += Buffer.from(next.value).toString('utf8');
    }
  };
}

/** A terminal that is gone says nothing: nothing is signed, and nothing refused. */
export function createAsking({ stdin, stderr }: Terminal): Asking {
  const line = linesOf(stdin);
  let pending: Promise<string | null> | null = null;
  return async (_words, signal) => {
    stderr.write('Sign it? [yes/no] ');
    pending ??= line();
    const answer = await Promise.race([
      pending,
      new Promise<null>((resolve) => signal.addEventListener('abort', () => resolve(null), { once: true })),
    ]);
    if (signal.aborted) stdin.destroy?.();
    if (answer === null) throw new Held('unanswered', 'nobody was there to say yes');
    pending = null;
    return answer.trim().toLowerCase() === 'yes';
  };
}
