import type { Runner } from 'mocha';
import { EXIT_CODES } from '../dev/lanes.ts';
import { stopParts } from './parts.ts';

/**
 * Makes Ctrl-C end the parts before the tests end: mocha itself would die at once. A Ctrl-C under npm arrives twice, from
 * the terminal and from npm, so the listeners stay and stopping is repeatable. Parts start when a test first asks for them.
 */
export function mochaGlobalSetup(this: Runner): void {
  for (const [signal, code] of Object.entries(EXIT_CODES)) {
    process.on(signal, () => {
      this.abort(); // or the remaining tests would fail for want of their parts, at length
      stopParts().then(
        () => process.exit(code),
        (error: unknown) => {
          process.stderr.write(`${String(error)}\n`);
          process.exit(code);
        },
      );
    });
  }
}

/** Silent: the reporter's last line comes before it. */
export async function mochaGlobalTeardown(): Promise<void> {
  await stopParts();
}
