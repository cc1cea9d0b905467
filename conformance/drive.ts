/**
 * Drives a verifier through the kit. One process gets all cases, each as one line, and answers each with one line:
 *
 *     verify KIND FILE POLICY [RECEIPT …]        POLICY is `-` where there is none; paths have no spaces
 *     accept
 *
 *     verify receipt /kit/cases/x.json /kit/policies/y.json
 *     reject leaf,period                         every check that failed, in the order of the specification
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { ListedCase, Manifest } from './case.ts';

/** How a verifier did at one case. */
export interface CaseResult {
  readonly name: string;
  readonly why: string;
  readonly expected: string;
  readonly answered: string;
  readonly passed: boolean;
}

/** A verifier that does not answer for so long is given up. */
const PATIENCE_MS = 60_000;

export function readManifest(kit: string): Manifest {
  return JSON.parse(readFileSync(join(kit, 'manifest.json'), 'utf8')) as Manifest;
}

function request(kit: string, { kind, file, policy, receipts }: ListedCase): string {
  const paths = [file, ...(policy === null ? [] : [policy]), ...receipts].map((path) => join(kit, path));
  if (policy === null) paths.splice(1, 0, '-');
  return `verify ${kind} ${paths.join(' ')}\n`;
}

const expectedOf = ({ expect, fails }: ListedCase): string =>
  expect === 'accept' ? 'accept' : `reject ${fails.join(',')}`;

/**
 * Runs every case of the manifest through a verifier.
 * @param kit the folder that the manifest is in
 * @param command the program and its arguments
 * @throws Error when it ends, or does not answer, before the last case
 */
export async function drive(kit: string, [program = '', ...args]: readonly string[]): Promise<CaseResult[]> {
  const verifier = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  let failed: Error | undefined;
  verifier.on('error', (error) => (failed = error));
  verifier.stdin.on('error', (error) => (failed ??= error));
  const lines = createInterface({ input: verifier.stdout })[Symbol.asyncIterator]();
  const results: CaseResult[] = [];
  try {
    for (const listed of readManifest(kit).cases) {
      verifier.stdin.write(request(kit, listed));
      const timer = setTimeout(() => verifier.kill('SIGKILL'), PATIENCE_MS);
      const answer = await lines.next();
      clearTimeout(timer);
      if (answer.done === true) throw new Error(`the verifier ended at ${listed.name}`, { cause: failed });
      const [expected, answered] = [expectedOf(listed), answer.value.trim()];
      results.push({ name: listed.name, why: listed.why, expected, answered, passed: expected === answered });
    }
  } finally {
    verifier.stdin.end();
    if (failed === undefined && verifier.exitCode === null && verifier.signalCode === null)
      await once(verifier, 'close');
  }
  return results;
}
