/** What a notice says to a person. Facts are public: addresses, hashes and times; nothing here was written by a tenant. */

export type NoticeKind =
  | 'migration-started'
  | 'handover-proposed'
  | 'acceptance-requested'
  | 'handover-accepted'
  | 'handover-cancelled'
  | 'migration-undone'
  | 'passkey-registered'
  | 'passkey-removed';

export interface Notice {
  /** The notice's number: the same for everybody who is told. */
  readonly notice: number;
  readonly tenant: string;
  readonly migration: string | null;
  readonly kind: NoticeKind;
  readonly facts: Readonly<Record<string, string | number>>;
  readonly madeAt: Date;
}

/** Where a person can go from here; null when there is nothing to do any more. */
export interface Links {
  readonly veto: string | null;
  readonly migration: string | null;
}

const HOLDERS: Readonly<Record<string, string>> = {
  1: 'a key in KIFF Cloud’s KMS',
  2: 'a key in your own KMS, which KIFF Cloud may use until you revoke it',
  3: 'a key that only you can use',
};

const time = (seconds: string | number | undefined): string =>
  seconds === undefined
    ? 'an unknown time'
    : `${new Date(Number(seconds) * 1000).toISOString().slice(0, 19).replace('T', ' ')} UTC`;

const TEXTS: Readonly<Record<NoticeKind, { subject: string; says: (facts: Notice['facts']) => string[] }>> = {
  'migration-started': {
    subject: 'Somebody asked to change who signs your log',
    says: (facts) => [
      `An admin of your organisation asked that your log be signed by another key: ${HOLDERS[facts['custody'] ?? ''] ?? 'another key'}.`,
      `Now: ${facts['oldSigner']}`,
      `Then: ${facts['newSigner']}`,
      `Two admins have to approve it with their passkeys by ${time(facts['approvalsExpireAt'])}. Compare the new address with what you know before you do.`,
    ],
  },
  'handover-proposed': {
    subject: 'A new key for your log was proposed on chain',
    says: (facts) => [
      `Both keys have signed, and the proposal stands on chain (transaction ${facts['transaction']}).`,
      `Now: ${facts['oldSigner']}`,
      `Then: ${facts['newSigner']}`,
      `It can take effect from ${time(facts['eta'])} on. Until then any of you can stop it.`,
    ],
  },
  'acceptance-requested': {
    subject: 'The new key is about to take your log over',
    says: (facts) => [
      `The waiting time is over, and the new key, ${facts['newSigner']}, is asked to accept. As soon as it has signed, there is no way back but a new handover.`,
    ],
  },
  'handover-accepted': {
    subject: 'Your log has a new signer',
    says: (facts) => [
      `The chain accepted the new key, ${facts['newSigner']} (epoch ${facts['epoch']}, transaction ${facts['transaction']}), and that is final. The old one, ${facts['oldSigner']}, can sign nothing any more.`,
    ],
  },
  'handover-cancelled': {
    subject: 'A change of your log’s signer was cancelled on chain',
    says: (facts) => [
      `The handover to ${facts['newSigner']} can never take effect (transaction ${facts['transaction']}). Your log goes on with ${facts['oldSigner']}.`,
    ],
  },
  'migration-undone': {
    subject: 'The change of your log’s signer was undone',
    says: (facts) => [`Nothing has changed: your log is signed by the same key as before. Reason: ${facts['reason']}.`],
  },
  'passkey-registered': {
    subject: 'A passkey for custody was registered',
    says: () => [
      'An admin of your organisation registered a passkey. In a day it can approve that your log gets another signer. If it was none of you, remove that admin now.',
    ],
  },
  'passkey-removed': {
    subject: 'A passkey for custody was removed',
    says: () => [
      'An admin of your organisation removed a passkey. What was approved with it does not count any more, and a migration that is left with fewer than two approvals is undone. If it was none of you, remove that admin now.',
    ],
  },
};

export function subjectOf({ kind, tenant }: Notice): string {
  return `${TEXTS[kind].subject} (${tenant})`;
}

/** Plain text: what has no markup can hide nothing. */
export function textOf(notice: Notice, { veto, migration }: Links): string {
  const { kind, facts, tenant, madeAt } = notice;
  return [
    ...TEXTS[kind].says(facts),
    ...(veto === null ? [] : [`To stop it, open this link and confirm. It works once, without signing in:\n${veto}`]),
    ...(migration === null ? [] : [`Where it stands: ${migration}`]),
    `Tenant ${tenant}, notice ${notice.notice}, ${time(madeAt.getTime() / 1000)}.`,
  ].join('\n\n');
}

/** The same for a program. */
export function objectOf({ notice, tenant, migration, kind, facts, madeAt }: Notice, links: Links): object {
  return {
    type: `custody.${kind}`,
    timestamp: madeAt.toISOString(),
    data: {
      notice,
      tenant,
      migration,
      ...facts,
      ...(links.veto !== null && { vetoUrl: links.veto }),
      ...(links.migration !== null && { url: links.migration }),
    },
  };
}
