/** The kit as files: the cases, each in a file of its own, their policies, and the manifest. The same keys make the same bytes. */
import { createHash } from 'node:crypto';
import type { Policy } from '../protocol/index.ts';
import { makePolicy } from '../test/protocol/receipt-factory.ts';
import { bundleCases } from './bundle-cases.ts';
import type { CaseKind, ListedCase, MadeCase, Manifest } from './case.ts';
import { certificateCases } from './certificate-cases.ts';
import { receiptCases } from './receipt-cases.ts';
import { statementCases } from './statement-cases.ts';

const SUFFIX: Readonly<Record<CaseKind, string>> = {
  receipt: 'json',
  certificate: 'json',
  bundle: 'ndjson',
  promise: 'json',
  end: 'txt',
};

const nameOf = ({ kind, name }: MadeCase): string => `cases/${name}.${SUFFIX[kind]}`;

/** @returns path below conformance/ → content */
export async function kitFiles(): Promise<ReadonlyMap<string, string>> {
  const made = [
    ...(await receiptCases()),
    ...(await certificateCases()),
    ...(await bundleCases()),
    ...(await statementCases()),
  ];
  const files = new Map<string, string>();
  const byName = new Map(made.map((one) => [one.name, one]));
  if (byName.size !== made.length) throw new Error('two cases have one name');

  const policyFile = (policy: Policy | null): string | null => {
    if (policy === null) return null;
    const text = `${JSON.stringify(policy, null, 1)}\n`;
    const path = `policies/${createHash('sha256').update(text).digest('hex').slice(0, 12)}.json`;
    files.set(path, text);
    return path;
  };
  const cases = made.map((one): ListedCase => {
    const { name, kind, fails, why, receipts = [] } = one;
    files.set(nameOf(one), one.text);
    return {
      name,
      kind,
      file: nameOf(one),
      policy: policyFile(one.policy === undefined ? makePolicy() : one.policy),
      receipts: receipts.map((receipt) => nameOf(byName.get(receipt)!)),
      expect: fails.length === 0 ? 'accept' : 'reject',
      fails,
      why,
    };
  });
  const manifest: Manifest = { format: 'kiff.conformance/1', cases };
  return files.set('manifest.json', `${JSON.stringify(manifest, null, 1)}\n`);
}
