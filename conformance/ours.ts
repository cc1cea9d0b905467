/** This project's verifier as the kit drives it (drive.ts): `node dist/conformance/ours.js`. */
import { createReadStream, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import {
  NotJsonError,
  parsePolicyText,
  verifyBundle,
  verifyCertificateText,
  verifyEndText,
  verifyPromiseText,
  verifyReceiptText,
  type Policy,
  type Report,
} from '../protocol/index.ts';

const text = (path: string): string => readFileSync(path, 'utf8');
const offline = { offline: true };

async function judge(
  kind: string,
  file: string,
  policy: Policy | null,
  receipts: readonly string[],
): Promise<Report<string>> {
  if (kind === 'receipt') return verifyReceiptText(text(file), policy, offline);
  if (kind === 'certificate') return verifyCertificateText(text(file), policy, offline);
  if (policy === null) throw new Error(`a ${kind} needs a policy`);
  if (kind === 'bundle') return verifyBundle(createReadStream(file) as AsyncIterable<Uint8Array>, policy);
  const given = receipts.map(text);
  if (kind === 'end') return verifyEndText(text(file), policy, { ...offline, receipts: given });
  const [receipt] = given;
  return verifyPromiseText(text(file), policy, { ...offline, ...(receipt !== undefined && { receipt }) });
}

async function answer(line: string): Promise<string> {
  const [, kind = '', file = '', policy = '-', ...receipts] = line.split(' ');
  try {
    const report = await judge(kind, file, policy === '-' ? null : parsePolicyText(text(policy)), receipts);
    const failed = report.checks.filter(({ status }) => status === 'failed').map(({ name }) => name);
    return report.ok ? 'accept' : `reject ${failed.join(',')}`;
  } catch (error) {
    if (error instanceof NotJsonError) return 'reject format';
    throw error;
  }
}

for await (const line of createInterface({ input: process.stdin })) process.stdout.write(`${await answer(line)}\n`);
