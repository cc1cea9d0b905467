/** The second verifier, in Python (conformance/python/), and the interpreter that it takes. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { packageRoot } from '../dev/root.ts';

export const PYTHON = join(packageRoot, 'conformance/python/verifier.py');

/** Its path, or undefined where there is none of 3.9 or later. */
export async function python3(): Promise<string | undefined> {
  try {
    const { stdout } = await promisify(execFile)('python3', [
      '-c',
      'import sys; print(sys.executable if sys.version_info >= (3, 9) else "")',
    ]);
    return stdout.trim() || undefined;
  } catch {
    return undefined;
  }
}
