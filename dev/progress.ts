/** Lines for a person who waits: what is being done, how long it has taken, what came of it. Plain text, one line each. */

/** Times in milliseconds: a part that is quicker than `quiet` says nothing before it is done. */
const quiet = 2_000;
const every = 5_000;
/** From the first minute on. */
const everyLater = 10_000;

export interface Part {
  /** Begins to time what is being done; said after two seconds and every few seconds from then on. */
  start(doing?: string): void;
  /** Changes what is being done, without a line of its own. */
  update(doing: string): void;
  /** The line that says that the part is ready. */
  done(detail?: string): void;
  /** The line that says that it is not. */
  fail(reason: string): void;
  /** Ends without a line. */
  stop(): void;
}

/** One part of the set-up. `write` takes a line without its end. */
export function part(name: string, write: (line: string) => void = toStdout): Part {
  let doing = 'starting';
  let began = performance.now();
  let timer: NodeJS.Timeout | undefined;

  const line = (text: string): void => write(`  ${name.padEnd(16)} ${text}`);
  const elapsed = (): number => (performance.now() - began) / 1000;
  const still = (): void => {
    line(`still ${doing} (${Math.round(elapsed())} s)`);
    timer = setTimeout(still, elapsed() < 60 ? every : everyLater);
    timer.unref();
  };
  const end = (text: string): void => {
    clearTimeout(timer);
    line(text);
  };

  return {
    start: (what = doing) => {
      clearTimeout(timer);
      doing = what;
      began = performance.now();
      timer = setTimeout(still, quiet);
      timer.unref();
    },
    update: (what) => {
      doing = what;
    },
    done: (detail) => end(`ready (${elapsed().toFixed(1)} s)${detail === undefined ? '' : `  ${detail}`}`),
    stop: () => clearTimeout(timer),
    fail: (reason) => end(`FAILED (${elapsed().toFixed(1)} s)  ${reason}`),
  };
}

function toStdout(line: string): void {
  process.stdout.write(`${line}\n`);
}
