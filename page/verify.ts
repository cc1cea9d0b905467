/** The page: takes a receipt, verifies it with protocol/, and shows each check. It asks nobody but the node that is named. */
import { createHttpRpc, rpcUrl } from '../cli/rpc.ts';
import {
  parseBody,
  parseEntry,
  parseReceiptText,
  verifyReceiptText,
  NotJsonError,
  parsePolicyText,
  FormatError,
  type Check,
  type CheckStatus,
  type Policy,
  type Receipt,
  type Verification,
} from '../protocol/index.ts';
import { drawPath } from './picture.ts';

/** As the command line has it: what is larger is no receipt. */
const MAX_BYTES = 16 * 1024 * 1024;

const MARKS: Readonly<Record<CheckStatus, { mark: string; word: string }>> = {
  held: { mark: '✓', word: 'Held' },
  failed: { mark: '✗', word: 'Failed' },
  waived: { mark: '–', word: 'Waived' },
  'not-run': { mark: '?', word: 'Not run' },
};

function part(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no ${id}`);
  return found;
}

const input = (id: string): HTMLInputElement => part(id) as HTMLInputElement;

function element(name: string, text: string, className = ''): HTMLElement {
  const made = document.createElement(name);
  made.textContent = text;
  if (className !== '') made.className = className;
  return made;
}

/** What the visitor gave cannot be used; the message says why. */
class Unusable extends Error {}

async function textOf(what: string, file: File): Promise<string> {
  if (file.size > MAX_BYTES) throw new Unusable(`The ${what} is larger than ${MAX_BYTES} bytes: it is none.`);
  const bytes = await file.arrayBuffer().catch(() => {
    throw new Unusable(`The ${what} cannot be read: it is gone, or was changed since it was chosen.`);
  });
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new Unusable(`The ${what} is not UTF-8 text.`);
  }
}

function policyOf(source: string): Policy {
  try {
    return parsePolicyText(source);
  } catch (error) {
    if (error instanceof FormatError || error instanceof NotJsonError)
      throw new Unusable(`The policy is unusable: ${error.message}.`);
    throw error;
  }
}

let receiptFile: File | undefined;
let policyFile: File | undefined;

async function verify(): Promise<{ report: Verification; receipt: Receipt | undefined }> {
  if (receiptFile === undefined) throw new Unusable('Choose a receipt first.');
  const source = await textOf('receipt', receiptFile);
  const policy = policyFile === undefined ? null : policyOf(await textOf('policy', policyFile));
  const address = input('rpc').value.trim();
  const rpc = address === '' ? undefined : createHttpRpc(usableUrl(address));
  const options = { trustReceipt: policy === null && input('trust').checked, offline: rpc === undefined };
  try {
    const report = await verifyReceiptText(source, policy, { ...options, ...(rpc && { rpc }) });
    return { report, receipt: receiptOf(source) };
  } catch (error) {
    if (error instanceof NotJsonError) throw new Unusable('The receipt is not JSON.');
    throw error;
  }
}

function usableUrl(address: string): URL {
  try {
    return rpcUrl(address);
  } catch {
    throw new Unusable('The node’s address is no http or https URL.');
  }
}

function receiptOf(source: string): Receipt | undefined {
  try {
    return parseReceiptText(source);
  } catch (error) {
    if (error instanceof FormatError) return undefined;
    throw error;
  }
}

function checkItem({ name, status, detail }: Check): HTMLElement {
  const { mark, word } = MARKS[status];
  const item = element('li', '', status);
  const shown = element('span', mark, 'mark');
  shown.setAttribute('aria-hidden', 'true');
  const said = element('span', '', 'detail');
  said.append(element('span', `${word}: `, 'word'), detail);
  item.append(shown, element('span', name, 'name'), said);
  return item;
}

function verdictOf({ ok, checks, rpcUnreachable }: Verification): { text: string; kind: string } {
  const named = (status: CheckStatus): string =>
    checks
      .filter((check) => check.status === status)
      .map(({ name }) => name)
      .join(', ');
  if (ok) {
    const waived = named('waived');
    return {
      text: waived === '' ? 'Verified: every check held.' : `Verified, as far as asked. Left out: ${waived}.`,
      kind: 'held',
    };
  }
  const failed = named('failed');
  if (failed !== '') return { text: `Not verified. Failed: ${failed}.`, kind: 'failed' };
  return {
    text: rpcUnreachable ? 'Not verified: the node is unreachable.' : `Not verified. Not run: ${named('not-run')}.`,
    kind: 'open',
  };
}

function say(text: string, kind: string): void {
  const verdict = part('verdict');
  verdict.textContent = text;
  verdict.className = kind;
}

/** The record as it was posted, where its commitment held; nothing else is shown as the record. */
function showRecord(receipt: Receipt, { checks }: Verification): void {
  const held = (name: string): boolean => checks.some((check) => check.name === name && check.status === 'held');
  const facts: [string, string][] = [
    ['Log', receipt.origin],
    ['Leaf', `${receipt.leafIndex} of ${receipt.seal.treeSize}`],
    ['Seal', `${receipt.seal.seq}, signed by ${receipt.seal.signer}`],
    ['Transaction', receipt.anchor.txHash],
  ];
  if (held('leaf')) {
    const { id, receivedAt } = parseEntry(receipt.entry);
    facts.unshift(['Record', id], ['Received', receivedAt]);
  }
  part('facts').replaceChildren(...facts.flatMap(([name, value]) => [element('dt', name), element('dd', value)]));
  const { disclosure } = receipt;
  part('record').textContent =
    disclosure === null
      ? 'Not disclosed: withheld, or erased. The proofs stand without it.'
      : held('commitment')
        ? parseBody(disclosure.body).recordText
        : 'Not shown: what the receipt discloses is not what the log committed to.';
}

function show({ report, receipt }: { report: Verification; receipt: Receipt | undefined }): void {
  part('checks').replaceChildren(...report.checks.map(checkItem));
  part('proved').replaceChildren(...report.proved.map((sentence) => element('li', sentence)));
  part('open').replaceChildren(...report.notProved.map((sentence) => element('li', sentence)));
  part('place').hidden = receipt === undefined;
  part('said').hidden = receipt === undefined;
  if (receipt !== undefined) {
    const statusOf = (name: string): CheckStatus | undefined =>
      report.checks.find((check) => check.name === name)?.status;
    part('picture').replaceChildren(drawPath(receipt, statusOf));
    showRecord(receipt, report);
  }
  part('result').hidden = false;
  const { text, kind } = verdictOf(report);
  say(text, kind);
}

/** Only the last run is shown, however long an earlier one takes. */
let runs = 0;

async function run(): Promise<void> {
  const own = ++runs;
  part('result').hidden = true;
  say('Verifying …', 'open');
  try {
    const result = await verify();
    if (own === runs) show(result);
  } catch (error) {
    if (own !== runs) return;
    if (!(error instanceof Unusable)) {
      say('Not verified: this page has a fault.', 'failed');
      throw error;
    }
    say(`Not verified. ${error.message}`, 'failed');
  }
}

part('form').addEventListener('submit', (event) => {
  event.preventDefault();
  void run().then(() => part('verdict').focus());
});
input('receipt').addEventListener('change', () => {
  receiptFile = input('receipt').files?.[0];
  if (receiptFile !== undefined) void run();
});
input('policy').addEventListener('change', () => {
  policyFile = input('policy').files?.[0];
  if (receiptFile !== undefined) void run();
});
document.addEventListener('dragover', (event) => {
  event.preventDefault();
  document.body.classList.add('over');
});
document.addEventListener('dragleave', () => document.body.classList.remove('over'));
document.addEventListener('drop', (event) => {
  event.preventDefault();
  document.body.classList.remove('over');
  const file = event.dataTransfer?.files[0];
  if (file === undefined) return;
  receiptFile = file;
  void run();
});
