/** How a verification is shown. */
import type { Check, CheckStatus, ExpectedSeal, Report } from '../protocol/index.ts';
import { timeOf } from '../protocol/findings.ts';
import { printable } from './command.ts';

const MARKS: Readonly<Record<CheckStatus, { readonly mark: string; readonly colour: string }>> = {
  held: { mark: '✓', colour: '32' },
  failed: { mark: '✗', colour: '31' },
  waived: { mark: '–', colour: '33' },
  'not-run': { mark: '?', colour: '33' },
};

/** At least; a longer name makes all wider. */
const NAME_WIDTH = 10;

function line({ name, status, detail }: Check<string>, colours: boolean, width: number): string {
  const { mark, colour } = MARKS[status];
  const shown = colours ? `\u001b[${colour}m${mark}\u001b[0m` : mark;
  const said = status === 'held' ? detail : `${status.toUpperCase()}: ${detail}`;
  return `${shown} ${name.padEnd(width)}  ${printable(said)}`;
}

function section(title: string, sentences: readonly string[]): string[] {
  return sentences.length === 0 ? [] : ['', title, ...sentences.map((sentence) => `  ${printable(sentence)}`)];
}

function verdict({ ok, checks, rpcUnreachable }: Report<string>): string {
  const named = (status: CheckStatus): string =>
    checks
      .filter((check) => check.status === status)
      .map(({ name }) => name)
      .join(', ');
  if (ok) {
    const waived = named('waived');
    return waived === '' ? 'Verified: every check held.' : `Verified, as far as asked: waived were ${waived}.`;
  }
  const failed = named('failed');
  if (failed !== '') return `NOT verified. Failed: ${failed}.`;
  return rpcUnreachable ? 'NOT verified: the RPC is unreachable.' : `NOT verified. Not run: ${named('not-run')}.`;
}

/** A report, with what else some of them hold: everything that is wrong, and the seals that a chain has. */
type Told = Report<string> & {
  readonly findings?: readonly { readonly detail: string }[];
  readonly omitted?: number;
  readonly seals?: readonly ExpectedSeal[] | number;
};

/** What was found, each by itself, unless the checks say it all. */
function found({ findings = [], omitted = 0 }: Told): string[] {
  const lines = findings.map(({ detail }) => detail);
  if (omitted > 0) lines.push(`and ${omitted} more`);
  return lines.length > 1 ? section('Found:', lines) : [];
}

function onChain({ seals }: Told): string[] {
  if (seals === undefined || typeof seals === 'number') return [];
  const rows = seals.map(
    ({ seq, period, treeSize, root, place, anchoredAt }) =>
      `${String(seq).padStart(7)}  ${timeOf(period)}  ${String(treeSize).padStart(10)}  ${root}  block ${place.blockNumber}  ${timeOf(anchoredAt)}`,
  );
  return section('Seals on chain (seq, period, leaves, root, block, since):', rows);
}

/** One line per check by name, then what was found, what is proved and what is not. */
export function renderReport(verification: Told, colours: boolean): string {
  const width = Math.max(NAME_WIDTH, ...verification.checks.map(({ name }) => name.length));
  const lines = [
    ...verification.checks.map((check) => line(check, colours, width)),
    ...onChain(verification),
    ...found(verification),
    ...section('Proved:', verification.proved),
    ...section('Not proved:', verification.notProved),
    '',
    verdict(verification),
  ];
  return `${lines.join('\n')}\n`;
}
