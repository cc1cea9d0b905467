/**
 * `npm run conformance`: drives the verifiers that are kept here through the kit, or with `-- PROGRAM ARGUMENTS…` any other one.
 * Ends with one line of JSON: `{verifier: {passed, failed}}`. Exit code 1 when any case failed.
 */
import { join } from 'node:path';
import { packageRoot } from '../dev/root.ts';
import { drive } from './drive.ts';
import { PYTHON, python3 } from './python.ts';

const kit = join(packageRoot, 'conformance');
const own = process.argv.slice(2);
const python = await python3();
const verifiers: Record<string, readonly string[]> =
  own.length > 0
    ? { [own.join(' ')]: own }
    : {
        protocol: [process.execPath, '--enable-source-maps', join(packageRoot, 'dist/conformance/ours.js')],
        ...(python !== undefined && { python: [python, PYTHON] }),
      };
if (own.length === 0 && python === undefined)
  process.stdout.write('python3 is not here: conformance/python is not driven\n');

const summary: Record<string, { passed: number; failed: number }> = {};
for (const [name, command] of Object.entries(verifiers)) {
  const results = await drive(kit, command);
  const failed = results.filter(({ passed }) => !passed);
  for (const { name: at, why, expected, answered } of failed) {
    process.stdout.write(`${name}: ${at} (${why}): expected ${expected}, answered ${answered}\n`);
  }
  summary[name] = { passed: results.length - failed.length, failed: failed.length };
}
process.stdout.write(`${JSON.stringify(summary)}\n`);
if (Object.values(summary).some(({ failed }) => failed > 0)) process.exitCode = 1;
