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
    const answer = await unlessAborted(pending, signal);
    if (signal.aborted) stdin.destroy?.();
    if (answer === null) throw new Held('unanswered', 'nobody was there to say yes');
    pending = null;
    return answer.trim().toLowerCase() === 'yes';
  };
}

function unlessAborted(line: Promise<string | null>, signal: AbortSignal): Promise<string | null> {
  return new Promise((resolve, reject) => {
    const stop = (): void => resolve(null);
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    void line.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}
