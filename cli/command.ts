/** What a subcommand of `kiff` is. */

/** Where a command reads and writes; a stream's `isTTY` decides on colour. */
export interface Terminal {
  /** Who waits at it and goes without an answer destroys it: else the process would go on waiting. */
  readonly stdin: AsyncIterable<Uint8Array> & { destroy?(): unknown };
  readonly stdout: { write(text: string): unknown; readonly isTTY?: boolean };
  readonly stderr: { write(text: string): unknown; readonly isTTY?: boolean };
}

/**
 * A subcommand: takes the arguments behind its name, resolves to the exit code.
 */
export interface Command {
  /** What `--help` prints; a command without it answers by itself. */
  readonly usage?: string;
  run(args: readonly string[], terminal: Terminal): Promise<number>;
}

/** Input that a command cannot use: wrong arguments, unreadable files. Exit code 2. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'UsageError';
  }
}

/**
 * Text as it may be shown on a terminal: what came from files and nodes could otherwise move the cursor or recolour
 * a line.
 */
export function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '?');
}
