import mocha from 'mocha';
import { lastLine } from '../dev/lanes.ts';

/** The specification reporter, with one last line that a person or a script can read alone. */
export default class Reporter extends mocha.reporters.Spec {
  override epilogue(): void {
    super.epilogue();
    const { passes: passed, failures: failed, pending: skipped } = this.stats;
    process.stdout.write(`${lastLine({ passed, failed, skipped })}\n`);
  }
}
