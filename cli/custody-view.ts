/** How a migration and a custody are shown. */
import { printable } from './command.ts';

export interface MigrationSeen {
  id: string;
  state: 'requested' | 'active' | 'undoing' | 'completed' | 'undone';
  says: string;
  custody: string;
  newSigner: string | null;
  approvals: { user: string; state: string }[];
  steps: { step: string; state: string; at: string }[];
}

export interface CustodySeen {
  origin: string;
  logId: string;
  holder: {
    custody: string;
    meaning: string;
    signer: string;
    epoch: number;
    keyRef: string | null;
    since: string | null;
  };
  epochs: { epoch: number; custody: string; signer: string; since: string | null; afterSeq: number }[];
  /** How far the tenant's own signer is behind; null of other custody. */
  ownSigner: { seen: string | null; waiting: number; since: string | null; declined: string | null } | null;
  migration: string | null;
}

const MARKS: Readonly<Record<string, string>> = { done: '✓', waiting: '…', begun: '…', failed: '✗', undone: '↶' };

/** One line a step, each as it stands last, in the order in which they were first seen. */
export function migrationLines({ id, state, says, custody, newSigner, approvals, steps }: MigrationSeen): string[] {
  const latest = new Map(steps.map((each) => [each.step, each]));
  const given = approvals.map(({ user, state: stands }) => `${user} (${stands})`).join(', ');
  return [
    `${id}  ${state}`,
    `  to           ${custody}`,
    `  new signer   ${newSigner ?? 'not known yet'}`,
    `  approvals    ${given === '' ? 'none' : given}`,
    ...Array.from(latest.values(), ({ step, state: stands, at }) => {
      return `  ${MARKS[stands] ?? '?'} ${step.padEnd(18)}${stands.padEnd(10)}${at.slice(0, 19)}Z`;
    }),
    `  ${says}`,
  ].map(printable);
}

function signerLines(own: CustodySeen['ownSigner']): string[] {
  if (own === null) return [];
  const { seen, waiting, since, declined } = own;
  return [
    `  your signer  last there ${seen ?? 'never'}; ${waiting} statements wait for it${since === null ? '' : ` since ${since}`}`,
    ...(declined === null ? [] : [`               it declined: ${declined}`]),
  ];
}

export function custodyLines({ origin, logId, holder, epochs, ownSigner, migration }: CustodySeen): string[] {
  return [
    origin,
    `  log id       ${logId}`,
    `  held by      ${holder.custody}, since ${holder.since ?? 'a time that is not known'}`,
    `  signer       ${holder.signer}, epoch ${holder.epoch}`,
    ...(holder.keyRef === null ? [] : [`  key          ${holder.keyRef}`]),
    ...signerLines(ownSigner),
    `  ${holder.meaning}`,
    ...epochs.map((each) => `  epoch ${each.epoch}      ${each.signer}  ${each.custody}, after seal ${each.afterSeq}`),
    `  migration    ${migration ?? 'none is under way'}`,
  ].map(printable);
}
