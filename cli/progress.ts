/** One line on a terminal that is written over as work goes on. Where there is no terminal, nothing is written. */
import type { Terminal } from './command.ts';

const EVERY_MS = 200;

export interface Progress {
  show(text: string): void;
  /** Takes the line away. */
  end(): void;
}

export function createProgress(stderr: Terminal['stderr']): Progress {
  let shownAt = 0;
  let shown = false;
  return {
    show(text) {
      const now = performance.now();
      if (stderr.isTTY !== true || now - shownAt < EVERY_MS) return;
      shownAt = now;
      shown = true;
      stderr.write(`\r\u001b[K${text}`);
    },
    end() {
      if (shown) stderr.write('\r\u001b[K');
      shown = false;
    },
  };
}

const BAR_WIDTH = 30;

/** `[####----] 42 %`, for a share of 0…1. */
export function bar(share: number): string {
  const within = Math.min(1, Math.max(0, share));
  const full = Math.floor(within * BAR_WIDTH);
  return `[${'#'.repeat(full)}${'-'.repeat(BAR_WIDTH - full)}] ${Math.floor(within * 100)} %`;
}
