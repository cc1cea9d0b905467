/** How a verification is shown. */
import type { Check, CheckStatus, Report } from '../protocol/index.ts';
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

/** One line per check by name, then what is proved and what is not. */
export function renderReport(verification: Report<string>, colours: boolean): string {
  const width = Math.max(NAME_WIDTH, ...verification.checks.map(({ name }) => name.length));
  const lines = [
    ...verification.checks.map((check) => line(check, colours, width)),
    ...section('Proved:', verification.proved),
    ...section('Not proved:', verification.notProved),
    '',
    verdict(verification),
  ];
  return `${lines.join('\n')}\n`;
}
